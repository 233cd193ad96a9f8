#include "policy.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include <nlohmann/json.hpp>

#include "softmax.h"
#include "user_error.h"

namespace dsnet {
namespace {

constexpr std::uint64_t kMaxWidth = 255;
constexpr std::size_t kMaxGates = 8;
const std::string kPlace = "policy";

/// Returns what a policy asks that knows the first gate alone: which of all widths it is, if there are several.
std::vector<Question> first_gate(std::size_t widths) {
  if (widths < 2) return {};
  Question question;
  for (std::size_t position = 0; position < widths; ++position) question.positions.push_back(position);
  return {question};
}

/// Returns how many thresholds the gate's score is above.
std::size_t thresholds_below(Logits gate_logits, const std::vector<double>& thresholds) {
  const double found = score(gate_logits);
  // A score that is no number counts as hard.
  const auto below = [found](double threshold) { return !(threshold >= found); };
  return static_cast<std::size_t>(std::count_if(thresholds.begin(), thresholds.end(), below));
}

/// The first gate's score, compared with thresholds.
class ThresholdPolicy : public Policy {
 public:
  ThresholdPolicy(std::vector<std::uint64_t> widths, std::vector<double> thresholds)
      : Policy(std::move(widths), first_gate(thresholds.size() + 1)), thresholds_(std::move(thresholds)) {}

  Choice next(std::size_t, Logits gate_logits) const override {
    return {thresholds_below(gate_logits, thresholds_), std::nullopt};
  }

 private:
  std::vector<double> thresholds_;
};

/// The score of each gate in turn, compared with the thresholds of where the gates before it have led.
class TreePolicy : public Policy {
 public:
  struct Node {
    std::vector<double> thresholds;
    std::vector<Choice> next;
  };

  /// A node for every question.
  TreePolicy(std::vector<std::uint64_t> widths, std::vector<Question> questions, std::vector<Node> nodes)
      : Policy(std::move(widths), std::move(questions)), nodes_(std::move(nodes)) {}

  Choice next(std::size_t question, Logits gate_logits) const override {
    return nodes_[question].next[thresholds_below(gate_logits, nodes_[question].thresholds)];
  }

 private:
  std::vector<Node> nodes_;
};

/// Each width's chance of being right, less a price for its cost.
class UtilityPolicy : public Policy {
 public:
  UtilityPolicy(
      std::vector<std::uint64_t> widths, std::vector<std::vector<double>> weights, std::vector<double> biases,
      std::vector<double> penalties)
      : Policy(std::move(widths), first_gate(biases.size())),
        weights_(std::move(weights)),
        biases_(std::move(biases)),
        penalties_(std::move(penalties)) {}

  void check_gate(const std::string& unit, std::size_t count) const override {
    const std::size_t expected = weights_.front().size();
    if (expected != count)
      throw UserError(kPlace + ": " + std::to_string(expected) + " weights for each width, but unit " + unit +
                      " gives " + std::to_string(count) + " gate logits; calibrate this bundle again");
  }

  Choice next(std::size_t, Logits gate_logits) const override {
    std::size_t best = 0;
    double highest = 0;
    for (std::size_t position = 0; position < weights_.size(); ++position) {
      const double found = utility(position, gate_logits);
      // A utility that is no number counts as hard.
      if (std::isnan(found)) return {weights_.size() - 1, std::nullopt};
      if (position > 0 && found <= highest) continue;
      best = position;
      highest = found;
    }
    return {best, std::nullopt};
  }

 private:
  double utility(std::size_t position, Logits gate_logits) const {
    double sum = biases_[position];
    for (std::size_t j = 0; j < gate_logits.count; ++j)
      sum += weights_[position][j] * static_cast<double>(gate_logits.values[j]);
    return 1 / (1 + std::exp(-sum)) - penalties_[position];
  }

  std::vector<std::vector<double>> weights_;
  std::vector<double> biases_, penalties_;
};

/// The narrowest width answers; where it is unsure, the next one runs as well.
class CascadePolicy : public Policy {
 public:
  CascadePolicy(std::vector<std::uint64_t> widths, std::vector<double> confidences)
      : Policy(std::move(widths), {}), confidences_(std::move(confidences)) {}

  Choice next(std::size_t, Logits) const override { return {}; }
  bool stands(std::size_t position, Logits logits) const override {
    return position == confidences_.size() || confidence(logits) >= confidences_[position];
  }

 private:
  std::vector<double> confidences_;
};

std::vector<std::uint64_t> read_widths(const Fields& fields) {
  auto widths = fields.integers("widths", 0, kMaxWidth);
  if (widths.empty() || std::adjacent_find(widths.begin(), widths.end(), std::greater_equal<>()) != widths.end())
    throw UserError(kPlace + ": widths must ascend; give one or more, narrow to wide");
  return widths;
}

/// Returns numbers that decide between neighbouring widths: one fewer than widths.
std::vector<double> read_steps(const Fields& fields, const char* name, std::size_t widths) {
  auto steps = fields.numbers(name);
  if (steps.size() + 1 != widths)
    throw UserError(kPlace + ": " + std::to_string(widths) + " widths do not go with " + std::to_string(steps.size()) +
                    " " + name + "; give one fewer than widths");
  return steps;
}

void check_thresholds(const std::vector<double>& thresholds) {
  if (!std::is_sorted(thresholds.begin(), thresholds.end())) throw UserError(kPlace + ": thresholds must not decrease");
}

std::unique_ptr<const Policy> read_thresholds(const Fields& fields) {
  auto widths = read_widths(fields);
  auto thresholds = read_steps(fields, "thresholds", widths.size());
  check_thresholds(thresholds);
  return std::make_unique<ThresholdPolicy>(std::move(widths), std::move(thresholds));
}

/// Reads the nodes of a tree, those below a node before itself.
class TreeReader {
 public:
  explicit TreeReader(std::vector<std::uint64_t> widths) : widths_(std::move(widths)) {}

  std::unique_ptr<const Policy> read(const Json& root) && {
    const auto positions = read_node(root, 0).positions;
    if (positions.size() != widths_.size())
      throw UserError(kPlace + ": the tree ends with " + std::to_string(positions.size()) + " of " +
                      std::to_string(widths_.size()) + " widths; name those that it ends with, and no others");
    return std::make_unique<TreePolicy>(std::move(widths_), std::move(questions_), std::move(nodes_));
  }

 private:
  struct Branch {
    Choice choice;
    /// Of the widths that it leads to, ascending.
    std::vector<std::size_t> positions;
  };

  Branch read_branch(const Json& value, std::size_t gate) {
    if (value.is_object()) return read_node(value, gate);
    const auto width = integer_in(value, 0, kMaxWidth);
    const auto found = std::find(widths_.begin(), widths_.end(), width);
    if (!width || found == widths_.end())
      throw UserError(kPlace + ": next: expected nodes, or widths that the policy has, found " + shown(value));
    if (++leaves_ > kMaxWidth + 1) throw UserError(kPlace + ": a tree may end with 256 widths at most");
    const auto position = static_cast<std::size_t>(found - widths_.begin());
    return {{position, std::nullopt}, {position}};
  }

  Branch read_node(const Json& value, std::size_t gate) {
    const Fields fields(value, kPlace);
    if (gate == kMaxGates) throw UserError(kPlace + ": more nodes below one another than a network may have gates, 8");
    TreePolicy::Node node{fields.numbers("thresholds"), {}};
    check_thresholds(node.thresholds);
    std::set<std::size_t> below;
    for (const Json& next : fields.array("next", kMaxWidth + 1)) {
      const Branch branch = read_branch(next, gate + 1);
      node.next.push_back(branch.choice);
      below.insert(branch.positions.begin(), branch.positions.end());
    }
    if (node.next.size() != node.thresholds.size() + 1)
      throw UserError(kPlace + ": " + std::to_string(node.next.size()) + " next do not go with " +
                      std::to_string(node.thresholds.size()) + " thresholds; give one threshold fewer");
    const std::vector<std::size_t> positions(below.begin(), below.end());
    // Where all ways lead to one width, nothing is asked.
    if (positions.size() == 1) return {{positions.front(), std::nullopt}, positions};
    questions_.push_back({gate, positions});
    nodes_.push_back(std::move(node));
    return {{positions.front(), questions_.size() - 1}, positions};
  }

  std::vector<std::uint64_t> widths_;
  std::vector<Question> questions_;
  std::vector<TreePolicy::Node> nodes_;
  std::uint64_t leaves_ = 0;
};

std::unique_ptr<const Policy> read_tree(const Fields& fields) {
  return TreeReader(read_widths(fields)).read(fields.field("root"));
}

std::unique_ptr<const Policy> read_utility(const Fields& fields) {
  auto widths = read_widths(fields);
  auto weights = fields.rows("weights");
  auto biases = fields.numbers("biases"), penalties = fields.numbers("penalties");
  const std::size_t count = widths.size();
  bool fits = weights.size() == count && biases.size() == count && penalties.size() == count;
  for (const auto& row : weights) fits = fits && !row.empty() && row.size() == weights.front().size();
  if (!fits)
    throw UserError(kPlace + ": " + std::to_string(count) +
                    " widths need as many weights (of equal length), biases and penalties");
  return std::make_unique<UtilityPolicy>(
      std::move(widths), std::move(weights), std::move(biases), std::move(penalties));
}

std::unique_ptr<const Policy> read_cascade(const Fields& fields) {
  auto widths = read_widths(fields);
  auto confidences = read_steps(fields, "confidences", widths.size());
  if (std::any_of(confidences.begin(), confidences.end(), [](double confidence) { return confidence < 0; }))
    throw UserError(kPlace + ": confidences must not be negative");
  return std::make_unique<CascadePolicy>(std::move(widths), std::move(confidences));
}

}  // namespace

std::unique_ptr<const Policy> read_policy(const Json& object) {
  const Fields fields(object, kPlace);
  const std::string kind = fields.text("kind");
  if (kind == "thresholds") return read_thresholds(fields);
  if (kind == "tree") return read_tree(fields);
  if (kind == "utility") return read_utility(fields);
  if (kind == "cascade") return read_cascade(fields);
  fields.refuse("kind", "thresholds, tree, utility or cascade", kind);
}

}  // namespace dsnet
