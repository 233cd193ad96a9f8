/// Which width answers, as docs/policies.md defines it. edge/runtime/policy.py is the same in Python.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "json.h"
#include "logits.h"

namespace dsnet {

/// A rule that picks one of its widths, narrow to wide. Positions are indices into them.
class Policy {
 public:
  explicit Policy(std::vector<std::uint64_t> widths) : widths_(std::move(widths)) {}
  virtual ~Policy() = default;

  const std::vector<std::uint64_t>& widths() const { return widths_; }
  /// Whether `first` reads the gate's logits.
  virtual bool asks_gate() const { return widths_.size() > 1; }
  /// Throws a UserError unless the policy is made for as many gate logits as `head` gives.
  virtual void check_gate(const std::string& /*head*/, std::size_t /*count*/) const {}
  /// Returns the position of the width that runs first. Only for a policy that asks its gate.
  virtual std::size_t first(Logits gate_logits) const = 0;
  /// Returns whether the answer of the width at `position` stands; if not, the next one runs as well.
  virtual bool stands(std::size_t /*position*/, Logits /*logits*/) const { return true; }

 private:
  std::vector<std::uint64_t> widths_;
};

/// Returns the policy in a JSON object, as a manifest's operating point has it; a UserError for one that is none.
std::unique_ptr<const Policy> read_policy(const Json& object);

}  // namespace dsnet
