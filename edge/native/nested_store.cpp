#include "nested_store.h"

#include <cstring>

#include "user_error.h"

namespace dsnet {

NestedStore::NestedStore(const std::string& store_path, const std::string& recipe_path)
    : store_(store_path), recipe_(parse_recipe(MappedFile(recipe_path).text(), recipe_path)) {
  // Every offset of the recipe was checked against the size that it names.
  if (store_.size() != recipe_.store_bytes)
    throw UserError(store_path + ": the recipe is for a store of " + std::to_string(recipe_.store_bytes) +
                    " bytes, not " + std::to_string(store_.size()) + "; copy the bundle again");
}

std::size_t NestedStore::bytes(const Slice& slice) const {
  return slice.shape[0] * slice.shape[1] * slice.shape[2] * item_bytes(recipe_.tensors[slice.tensor].dtype);
}

std::size_t NestedStore::run(const Slice& slice, std::size_t row, std::size_t position) const {
  const Shape& whole = recipe_.tensors[slice.tensor].shape;
  return (row * whole[1] + (slice.positions.empty() ? position : slice.positions[position])) * whole[2];
}

const std::byte* NestedStore::in_place(const Slice& slice) const {
  const Shape& whole = recipe_.tensors[slice.tensor].shape;
  const bool whole_positions = slice.shape[2] == whole[2] || slice.shape[0] * slice.shape[1] == 1;
  const bool whole_rows = slice.shape[1] == whole[1] || slice.shape[0] == 1;
  return !slice.scale && slice.positions.empty() && whole_positions && whole_rows ? start(slice.tensor) : nullptr;
}

void NestedStore::copy(const Slice& slice, std::byte* out) const {
  if (slice.scale) return copy_scaled(slice, reinterpret_cast<float*>(out));
  const StoredTensor& tensor = recipe_.tensors[slice.tensor];
  const std::byte* source = start(slice.tensor);
  const std::size_t taken = slice.shape[2] * item_bytes(tensor.dtype);
  for (std::size_t row = 0; row < slice.shape[0]; ++row)
    for (std::size_t position = 0; position < slice.shape[1]; ++position, out += taken)
      std::memcpy(out, source + run(slice, row, position) * item_bytes(tensor.dtype), taken);
}

void NestedStore::copy_scaled(const Slice& slice, float* out) const {
  const auto* source = reinterpret_cast<const float*>(start(slice.tensor));
  const auto* scale = reinterpret_cast<const float*>(start(slice.scale->tensor));
  for (std::size_t row = 0; row < slice.shape[0]; ++row)
    for (std::size_t position = 0; position < slice.shape[1]; ++position) {
      const float* from = source + run(slice, row, position);
      for (std::size_t column = 0; column < slice.shape[2]; ++column)
        *out++ = from[column] * scale[slice.scale->axis == 0 ? row : column];
    }
}

}  // namespace dsnet
