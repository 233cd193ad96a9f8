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
  /// The first gate's score, from 0 (easy) up; nothing when no gate ran.
  std::optional<double> score;
  /// The widths that ran, in their order; the last one answered.
  std::vector<std::uint64_t> ran;
  std::size_t class_index = 0;
  /// Time until the first gate's decision, which is included: of the prefix or a side gate; 0 when nothing ran.
  double prefix_ms = 0;
  /// Time of all that ran after it: stages and tail, or the whole net; of a cascade, of every width that ran.
  double tail_ms = 0;
  double total_ms = 0;
};

/// Programs and decisions of the policy in turns, until a width answers; edge/runtime/dynamic.py is the same in Python.
class Classifier {
 public:
  /// `paths` are what runs at each of the policy's widths, from the image to the answer.
  Classifier(std::vector<Chain> paths, const Policy& policy);

  /// Classifies every image of a raw float32 file; returns how many there were.
  std::size_t run(const std::string& images, const std::function<void(const Answer&)>& report);

 private:
  void check(const Question& question) const;
  void warm_up();
  Answer answer(std::size_t index, const void* image);
  /// Runs the first `count` units of a path, but for those that this image has been through already.
  void run_path(const Chain& path, std::size_t count, const void* image);
  std::size_t image_bytes() const { return paths_.front().front()->input().bytes; }

  std::vector<Chain> paths_;
  const Policy& policy_;
  /// What ran last for this image.
  Chain passed_;
};

}  // namespace dsnet
