#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace dsnet {

/// A plain file, read-only in memory. It must not change while it is open: nobody reads a file twice to be sure.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

  /// Gives the pages back to the system; whoever touches one again reads it from the file again.
  void release_pages() const;

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace dsnet
