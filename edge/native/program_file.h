#pragma once

#include <memory>
#include <string>

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/runtime/executor/program.h>

namespace dsnet {

/// A `.pte`, memory-mapped. Methods that are loaded from it point into it: it must outlive them.
class ProgramFile {
 public:
  explicit ProgramFile(const std::string& path);

  const executorch::runtime::Program& program() const { return *program_; }
  /// Throws a UserError that lists the methods there are, unless `name` is one of them.
  void check_has_method(const std::string& name) const;

 private:
  std::string path_;
  std::unique_ptr<executorch::extension::MmapDataLoader> loader_;
  std::unique_ptr<executorch::runtime::Program> program_;
};

}  // namespace dsnet
