/// `dsnet-recipe/1` and `/2`: how to cut every constant of every width from a store. docs/bundle.md specifies it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsnet {

enum class DType { float32, int32, int8 };

/// Rows, kernel positions, columns; a vector is [1, 1, n].
using Shape = std::array<std::uint64_t, 3>;

/// A dense array in the store, at the widest range that any program uses.
struct StoredTensor {
  DType dtype;
  Shape shape;
  std::uint64_t offset;
};

/// A float32 vector, of which element i multiplies what lies at index i of an axis (0 or 2).
struct Scale {
  std::size_t tensor;
  std::size_t axis;
};

/// One constant of a program: tensor[:a, :b, :c], copied densely, times the scale where there is one.
struct Slice {
  std::string key;
  std::size_t tensor;
  Shape shape;
  std::optional<Scale> scale;
  /// Which position of the tensor each of the slice's is; empty where they are the first ones in their order.
  std::vector<std::uint64_t> positions;
};

/// What a runner needs of a recipe. Its plain files are checked and left out: they are for `dsnet hydrate`.
struct Recipe {
  std::uint64_t store_bytes = 0;
  std::vector<StoredTensor> tensors;
  std::vector<Slice> slices;
};

constexpr std::size_t item_bytes(DType dtype) { return dtype == DType::int8 ? 1 : 4; }

/// Returns the recipe in `text`; a UserError, which calls it `origin`, for anything that does not hold together.
Recipe parse_recipe(std::string_view text, const std::string& origin);

}  // namespace dsnet
