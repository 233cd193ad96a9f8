#include "mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "user_error.h"

namespace dsnet {

MappedFile::MappedFile(const std::string& path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) throw UserError(path + ": cannot be read: " + std::strerror(errno));
  struct stat status {};
  const bool plain = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  void* mapped = MAP_FAILED;
  if (plain && status.st_size > 0) {
    size_ = static_cast<std::size_t>(status.st_size);
    mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor, 0);
  }
  ::close(descriptor);
  if (!plain) throw UserError(path + ": not a plain file");
  if (status.st_size == 0) throw UserError(path + ": the file is empty");
  if (mapped == MAP_FAILED) throw UserError(path + ": cannot be mapped: " + std::strerror(errno));
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() { ::munmap(const_cast<std::byte*>(data_), size_); }

void MappedFile::release_pages() const { ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED); }

}  // namespace dsnet
