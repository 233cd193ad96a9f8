#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>

#include <executorch/runtime/core/named_data_map.h>

#include "nested_store.h"

namespace dsnet {

/// Serves a program's constants to the runtime, by key, as slices of a nested store.
///
/// Where a slice lies in the store as it is, the runtime reads the mapped file itself; everything else is copied, and
/// the runtime frees the copy once it has packed the weights. Keys are hashes of contents (docs/bundle.md): a weight
/// cache that shares packed weights by key alone then never takes one network's weights for another's. And as the
/// backend asks for a key without a size, the hash is what keeps it from reading past a slice that is too short.
class SlicedDataMap final : public executorch::runtime::NamedDataMap {
 public:
  struct Served {
    std::size_t copied_bytes = 0;
    std::size_t zero_copy = 0;
  };

  /// `check_keys`: refuse a slice whose SHA-256 is not its key.
  SlicedDataMap(std::unique_ptr<const NestedStore> store, bool check_keys);

  executorch::runtime::Result<const executorch::runtime::TensorLayout> get_tensor_layout(
      std::string_view key) const override;
  executorch::runtime::Result<executorch::runtime::FreeableBuffer> get_data(std::string_view key) const override;
  executorch::runtime::Error load_data_into(std::string_view key, void* buffer, std::size_t size) const override;
  executorch::runtime::Result<std::uint32_t> get_num_keys() const override;
  executorch::runtime::Result<const char*> get_key(std::uint32_t index) const override;

  /// Returns what was served since the last call: bytes that were copied, and slices that were not.
  Served take_served() const;
  void release_pages() const { store_->release_pages(); }

 private:
  const Slice* find(std::string_view key) const;
  bool is_named_by_content(const Slice& slice, const std::byte* data) const;

  std::unique_ptr<const NestedStore> store_;
  bool check_keys_;
  std::unordered_map<std::string_view, const Slice*> slices_;
  mutable Served served_;
};

}  // namespace dsnet
