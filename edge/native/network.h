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

  /// Runs one unit, or a head and a body, `runs` times in a row; returns milliseconds per run. What `policy` decides
  /// between a head and a body, or after a body, is part of the time; the units are given, so the outcome does not
  /// matter. Null: nothing is decided.
  std::vector<double> run_block(const std::vector<std::string>& names, std::size_t runs, const Policy* policy);

  /// Classifies every image of a raw float32 file. Returns how many there were.
  std::size_t classify(
      const std::string& images, const Policy& policy, const std::function<void(const Answer&)>& report);

  /// Returns a unit; a UserError that lists the units there are when `name` is none of them.
  Unit& unit(const std::string& name);

 private:
  Unit* resident_head() const;
  Unit& body(std::uint64_t width) const;
  const void* image_for(const Unit& unit);
  /// Returns the features that a tail reads when it runs alone: what a prefix made last, or makes now.
  const void* features_for(const Unit& tail);

  std::map<std::string, std::shared_ptr<const ProgramFile>> programs_;
  std::map<std::tuple<std::string, std::string, bool>, std::shared_ptr<const SlicedDataMap>> weights_;
  std::vector<std::unique_ptr<Unit>> units_;
  std::vector<float> image_;
  std::string image_path_;
  Unit* last_prefix_ = nullptr;
};

}  // namespace dsnet
