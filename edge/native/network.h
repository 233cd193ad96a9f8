#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "classifier.h"
#include "unit.h"

namespace dsnet {

/// The units that are resident, what they run on, and the ways to run them.
class Network {
 public:
  /// Where a unit's program and weights are.
  struct Source {
    std::string pte;
    /// Paths of the store and the recipe; none: the program has its weights inside.
    std::optional<std::pair<std::string, std::string>> weights;
    /// Whether every slice must have the SHA-256 that is its key.
    bool check_keys = true;
  };

  struct Loaded {
    const Unit& unit;
    SlicedDataMap::Served served;
  };

  Loaded load(Unit::Spec spec, const Source& source);

  /// Makes the raw float32 file the image of every run to come; without one it is Gaussian noise.
  void set_image(const std::string& path);

  /// Runs one unit, or several that follow one another, `runs` times in a row; returns milliseconds per run. What
  /// `policy` decides at the gates between them, or about the answer, is part of the time; the units are given, so the
  /// outcome does not matter. Null: nothing is decided.
  std::vector<double> run_block(const std::vector<std::string>& names, std::size_t runs, const Policy* policy);

  /// Classifies every image of a raw float32 file. Returns how many there were.
  std::size_t classify(
      const std::string& images, const Policy& policy, const std::function<void(const Answer&)>& report);

  /// Returns a unit; a UserError that lists the units there are when `name` is none of them.
  Unit& unit(const std::string& name);

 private:
  /// Returns what runs at a width, in the order in which it was loaded; a gate at the side only where it is asked.
  Chain path(std::uint64_t width, bool asks_gate) const;
  /// Returns what a unit reads that nothing runs before: the image, or the features that the one before it on the path
  /// of its first width made last, or makes now.
  const void* input_for(Unit& unit);
  const void* image_for(const Unit& unit);
  Unit& feeding(const Unit& unit) const;

  std::map<std::string, std::shared_ptr<const ProgramFile>> programs_;
  std::map<std::tuple<std::string, std::string, bool>, std::shared_ptr<const SlicedDataMap>> weights_;
  std::vector<std::unique_ptr<Unit>> units_;
  std::vector<float> image_;
  std::string image_path_;
};

}  // namespace dsnet
