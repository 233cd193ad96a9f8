#pragma once

#include <cstddef>

namespace dsnet {

/// The gate's logits, or a body's, where the unit that gave them holds them.
struct Logits {
  const float* values;
  std::size_t count;

  const float* begin() const { return values; }
  const float* end() const { return values + count; }
};

}  // namespace dsnet
