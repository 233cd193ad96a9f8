#pragma once

#include <cstddef>
#include <string>

namespace dsnet {

/// Returns the SHA-256 (FIPS 180-4) of `size` bytes in lower-case hexadecimal.
std::string sha256_hex(const std::byte* data, std::size_t size);

}  // namespace dsnet
