#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "mapped_file.h"
#include "recipe.h"

namespace dsnet {

/// A store, memory-mapped, and the recipe that says what to cut from it.
class NestedStore {
 public:
  NestedStore(const std::string& store_path, const std::string& recipe_path);

  const Recipe& recipe() const { return recipe_; }
  std::size_t bytes(const Slice& slice) const;

  /// Returns where the slice's bytes lie in the store as they are, or null when they must be copied.
  const std::byte* in_place(const Slice& slice) const;
  /// Writes the slice's bytes to `out`, which holds `bytes(slice)` of them, aligned to 4 bytes.
  void copy(const Slice& slice, std::byte* out) const;

  void release_pages() const { store_.release_pages(); }

 private:
  const std::byte* start(std::size_t tensor) const { return store_.data() + recipe_.tensors[tensor].offset; }
  /// Returns the index in its tensor of the first element of a slice's row and position.
  std::size_t run(const Slice& slice, std::size_t row, std::size_t position) const;
  void copy_scaled(const Slice& slice, float* out) const;

  MappedFile store_;
  Recipe recipe_;
};

}  // namespace dsnet
