#include "sliced_data_map.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include <executorch/runtime/platform/log.h>

#include "sha256.h"

namespace dsnet {

using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;
using executorch::runtime::TensorLayout;

namespace {

/// Of copies, in bytes: what the store's tensors have.
constexpr std::size_t kAlignment = 64;
/// Before the hash in the keys of per-channel scales.
constexpr std::string_view kScalePrefix = "scale_";

void free_copy(void*, void* data, std::size_t) { std::free(data); }

}  // namespace

SlicedDataMap::SlicedDataMap(std::unique_ptr<const NestedStore> store, bool check_keys)
    : store_(std::move(store)), check_keys_(check_keys) {
  for (const Slice& slice : store_->recipe().slices) slices_.emplace(slice.key, &slice);
}

Result<const TensorLayout> SlicedDataMap::get_tensor_layout(std::string_view) const {
  // The shape that a backend gives a constant is in its own blob; no delegate asks for it here.
  return Error::NotImplemented;
}

Result<FreeableBuffer> SlicedDataMap::get_data(std::string_view key) const {
  const Slice* slice = find(key);
  if (slice == nullptr) return Error::NotFound;
  const std::size_t bytes = store_->bytes(*slice);
  if (const std::byte* data = store_->in_place(*slice)) {
    if (!is_named_by_content(*slice, data)) return Error::InvalidExternalData;
    ++served_.zero_copy;
    return FreeableBuffer(data, bytes, nullptr);
  }
  void* copy = nullptr;
  if (::posix_memalign(&copy, kAlignment, bytes) != 0) return Error::MemoryAllocationFailed;
  FreeableBuffer owner(copy, bytes, free_copy);
  store_->copy(*slice, static_cast<std::byte*>(copy));
  if (!is_named_by_content(*slice, static_cast<std::byte*>(copy))) return Error::InvalidExternalData;
  served_.copied_bytes += bytes;
  return owner;
}

Error SlicedDataMap::load_data_into(std::string_view key, void* buffer, std::size_t size) const {
  const auto data = get_data(key);
  if (!data.ok()) return data.error();
  if (size > data->size()) return Error::InvalidArgument;
  std::memcpy(buffer, data->data(), size);
  return Error::Ok;
}

Result<std::uint32_t> SlicedDataMap::get_num_keys() const {
  return static_cast<std::uint32_t>(store_->recipe().slices.size());
}

Result<const char*> SlicedDataMap::get_key(std::uint32_t index) const {
  const auto& slices = store_->recipe().slices;
  if (index >= slices.size()) return Error::InvalidArgument;
  return slices[index].key.c_str();
}

SlicedDataMap::Served SlicedDataMap::take_served() const { return std::exchange(served_, {}); }

const Slice* SlicedDataMap::find(std::string_view key) const {
  const auto found = slices_.find(key);
  return found == slices_.end() ? nullptr : found->second;
}

bool SlicedDataMap::is_named_by_content(const Slice& slice, const std::byte* data) const {
  if (!check_keys_) return true;
  std::string_view hash = slice.key;
  if (hash.substr(0, kScalePrefix.size()) == kScalePrefix) hash.remove_prefix(kScalePrefix.size());
  if (sha256_hex(data, store_->bytes(slice)) == hash) return true;
  ET_LOG(Error, "slice %s is not what its key says; copy the bundle again", slice.key.c_str());
  return false;
}

}  // namespace dsnet
