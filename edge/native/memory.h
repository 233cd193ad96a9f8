#pragma once

#include <cstdint>

namespace dsnet {

/// What the system says this process has in memory, in bytes.
struct Memory {
  std::uint64_t resident = 0;
  std::uint64_t peak = 0;
  /// The part of `resident` that is pages of files: the system can drop them and read them again.
  std::uint64_t file = 0;
};

Memory memory();

/// Gives back what was allocated and freed again. Loading frees copies of weights, and the allocator would keep them.
void release_freed_memory();

}  // namespace dsnet
