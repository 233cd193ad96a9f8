#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "unit.h"

namespace dsnet {

/// What the network said about one image, and what it took.
struct Answer {
  std::size_t image = 0;
  /// The gate's score, from 0 (easy) up; nothing when no gate ran.
  std::optional<double> score;
  std::uint64_t width = 0;
  std::size_t class_index = 0;
  /// Time of what runs before the width is known, decision included; 0 when nothing does.
  double prefix_ms = 0;
  double tail_ms = 0;
  double total_ms = 0;
};

/// head → score → thresholds → exactly one body; edge/runtime/dynamic.py is the same in Python.
class Classifier {
 public:
  /// `bodies` are narrow → wide, one more than `thresholds`. `head` is null for a single net, which needs none.
  Classifier(Unit* head, std::vector<Unit*> bodies, std::vector<double> thresholds);

  /// Classifies every image of a raw float32 file; returns how many there were.
  std::size_t run(const std::string& images, const std::function<void(const Answer&)>& report);

 private:
  void warm_up();
  Answer answer(std::size_t index, const void* image);
  std::size_t image_bytes() const { return (head_ != nullptr ? *head_ : *bodies_.front()).input().bytes; }

  Unit* head_;
  std::vector<Unit*> bodies_;
  std::vector<double> thresholds_;
};

}  // namespace dsnet
