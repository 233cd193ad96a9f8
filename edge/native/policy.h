/// Which width answers, as docs/policies.md defines it. edge/runtime/policy.py is the same in Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "logits.h"

namespace dsnet {

/// What a gate is asked: which of the widths at `positions`, at least two, or which further question, is next.
struct Question {
  /// The gates are numbered in the order in which they decide.
  std::size_t gate = 0;
  std::vector<std::size_t> positions;
};

/// What is known about the width that runs first.
struct Choice {
  /// Its position, or, while there is a question, that of any width that it may be.
  std::size_t position = 0;
  std::optional<std::size_t> question;
};

/// A rule that picks one of its widths, narrow to wide. Positions are indices into them.
class Policy {
 public:
  /// The last question is the first that is asked; without one, the narrowest width runs first.
  Policy(std::vector<std::uint64_t> widths, std::vector<Question> questions)
      : widths_(std::move(widths)), questions_(std::move(questions)) {}
  virtual ~Policy() = default;

  const std::vector<std::uint64_t>& widths() const { return widths_; }
  const std::vector<Question>& questions() const { return questions_; }
  bool asks_gate() const { return !questions_.empty(); }
  /// Throws a UserError unless the policy is made for as many gate logits as `unit` gives.
  virtual void check_gate(const std::string& /*unit*/, std::size_t /*count*/) const {}
  Choice first() const {
    return asks_gate() ? Choice{questions_.back().positions.front(), questions_.size() - 1} : Choice{};
  }
  /// Returns what the logits of a question's gate say.
  virtual Choice next(std::size_t question, Logits gate_logits) const = 0;
  /// Returns whether the answer of the width at `position` stands; if not, the next one runs as well.
  virtual bool stands(std::size_t /*position*/, Logits /*logits*/) const { return true; }

 private:
  std::vector<std::uint64_t> widths_;
  std::vector<Question> questions_;
};

/// Returns the policy in a JSON object, as a manifest's operating point has it; a UserError for one that is none.
std::unique_ptr<const Policy> read_policy(const Json& object);

}  // namespace dsnet
