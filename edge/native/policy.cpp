#include "policy.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include <nlohmann/json.hpp>

#include "softmax.h"
#include "user_error.h"

namespace dsnet {
namespace {

constexpr std::uint64_t kMaxWidth = 255;
const std::string kPlace = "policy";

/// The gate's score, compared with thresholds.
class ThresholdPolicy : public Policy {
 public:
  ThresholdPolicy(std::vector<std::uint64_t> widths, std::vector<double> thresholds)
      : Policy(std::move(widths)), thresholds_(std::move(thresholds)) {}

  std::size_t first(Logits gate_logits) const override {
    const double found = score(gate_logits);
    // A score that is no number counts as hard.
    const auto below = [found](double threshold) { return !(threshold >= found); };
    return static_cast<std::size_t>(std::count_if(thresholds_.begin(), thresholds_.end(), below));
  }

 private:
  std::vector<double> thresholds_;
};

/// Each width's chance of being right, less a price for its cost.
class UtilityPolicy : public Policy {
 public:
  UtilityPolicy(
      std::vector<std::uint64_t> widths, std::vector<std::vector<double>> weights, std::vector<double> biases,
      std::vector<double> penalties)
      : Policy(std::move(widths)),
        weights_(std::move(weights)),
        biases_(std::move(biases)),
        penalties_(std::move(penalties)) {}

  void check_gate(const std::string& head, std::size_t count) const override {
    const std::size_t expected = weights_.front().size();
    if (expected != count)
      throw UserError(kPlace + ": " + std::to_string(expected) + " weights for each width, but unit " + head +
                      " gives " + std::to_string(count) + " gate logits; calibrate this bundle again");
  }

  std::size_t first(Logits gate_logits) const override {
    std::size_t best = 0;
    double highest = 0;
    for (std::size_t position = 0; position < weights_.size(); ++position) {
      const double found = utility(position, gate_logits);
      // A utility that is no number counts as hard.
      if (std::isnan(found)) return weights_.size() - 1;
      if (position > 0 && found <= highest) continue;
      best = position;
      highest = found;
    }
    return best;
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
      : Policy(std::move(widths)), confidences_(std::move(confidences)) {}

  bool asks_gate() const override { return false; }
  std::size_t first(Logits) const override { return 0; }
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

std::unique_ptr<const Policy> read_thresholds(const Fields& fields) {
  auto widths = read_widths(fields);
  auto thresholds = read_steps(fields, "thresholds", widths.size());
  if (!std::is_sorted(thresholds.begin(), thresholds.end())) throw UserError(kPlace + ": thresholds must not decrease");
  return std::make_unique<ThresholdPolicy>(std::move(widths), std::move(thresholds));
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
  if (kind == "utility") return read_utility(fields);
  if (kind == "cascade") return read_cascade(fields);
  fields.refuse("kind", "thresholds, utility or cascade", kind);
}

}  // namespace dsnet
