#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "policy.h"
#include "unit.h"

namespace dsnet {

/// What the network said about one image, and what it took.
struct Answer {
  std::size_t image = 0;
  /// The gate's score, from 0 (easy) up; nothing when no gate ran.
  std::optional<double> score;
  /// The widths that ran, in their order; the last one answered.
  std::vector<std::uint64_t> ran;
  std::size_t class_index = 0;
  /// Time of what runs before the first width, the gate's decision included; 0 when nothing does.
  double prefix_ms = 0;
  /// Time of every width that ran.
  double tail_ms = 0;
  double total_ms = 0;
};

/// head → policy → one body, or several of a cascade; edge/runtime/dynamic.py is the same in Python.
class Classifier {
 public:
  /// `bodies` are the policy's widths. `head` is null where neither the policy nor a body needs one.
  Classifier(Unit* head, std::vector<Unit*> bodies, const Policy& policy);

  /// Classifies every image of a raw float32 file; returns how many there were.
  std::size_t run(const std::string& images, const std::function<void(const Answer&)>& report);

 private:
  void warm_up();
  Answer answer(std::size_t index, const void* image);
  void run_body(std::size_t position, const void* image);
  std::size_t image_bytes() const { return (head_ != nullptr ? *head_ : *bodies_.front()).input().bytes; }

  Unit* head_;
  std::vector<Unit*> bodies_;
  const Policy& policy_;
};

}  // namespace dsnet
