#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
  };

  struct Loaded {
    const Unit& unit;
    SlicedDataMap::Served served;
  };

  /// What the network said about one image, and what it took.
  struct Answer {
    std::size_t image;
    std::optional<double> score;
    std::uint64_t width;
    std::size_t class_index;
    double prefix_ms;
    double tail_ms;
    double total_ms;
  };

  Loaded load(Unit::Spec spec, const Source& source);

  /// Makes the raw float32 file the image of every run to come; without one it is Gaussian noise.
  void set_image(const std::string& path);

  /// Runs the units, a head and a body or any one of them, `runs` times in a row; returns milliseconds per run.
  std::vector<double> run_block(
      const std::vector<std::string>& names, std::size_t runs, const std::vector<double>& thresholds);

  /// Classifies every image of a raw float32 file; each gets the body of one of `widths`. Returns how many there were.
  std::size_t classify(
      const std::string& images, const std::vector<std::uint64_t>& widths, const std::vector<double>& thresholds,
      const std::function<void(const Answer&)>& report);

  /// Returns a unit; a UserError that lists the units there are when `name` is none of them.
  Unit& unit(const std::string& name);

 private:
  Unit* resident_head() const;
  Unit& body(std::uint64_t width) const;
  void check_chain(const std::vector<Unit*>& chain) const;
  /// Returns where a unit reads its input from; runs a head first where nothing has made features yet.
  const void* input_of(const Unit& unit);
  const void* image_for(const Unit& unit);

  std::map<std::string, std::shared_ptr<const ProgramFile>> programs_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<const SlicedDataMap>> weights_;
  std::vector<std::unique_ptr<Unit>> units_;
  std::vector<float> image_;
  std::string image_path_;
  Unit* last_prefix_ = nullptr;
};

}  // namespace dsnet
