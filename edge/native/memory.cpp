#include "memory.h"

#include <malloc.h>

#include <fstream>
#include <string>

#include "user_error.h"

namespace dsnet {

Memory memory() {
  std::ifstream status("/proc/self/status");
  if (!status) throw UserError("/proc/self/status cannot be read: memory is measured on Linux and Android only");
  Memory found;
  std::string name, rest;
  std::uint64_t kibibytes = 0;
  while (status >> name) {
    std::uint64_t* field = name == "VmRSS:"    ? &found.resident
                           : name == "VmHWM:"  ? &found.peak
                           : name == "RssFile:" ? &found.file
                                                : nullptr;
    if (field != nullptr && status >> kibibytes) *field = kibibytes * 1024;
    std::getline(status, rest);
  }
  return found;
}

void release_freed_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#elif defined(M_PURGE)
  ::mallopt(M_PURGE, 0);
#endif
}

}  // namespace dsnet
