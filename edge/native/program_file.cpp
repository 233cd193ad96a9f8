#include "program_file.h"

#include "mapped_file.h"
#include "runtime.h"
#include "user_error.h"

namespace dsnet {

using executorch::extension::MmapDataLoader;
using executorch::runtime::Program;

ProgramFile::ProgramFile(const std::string& path) : path_(path) {
  const MappedFile readable(path);  // its errors name the file and the reason; the runtime's do neither
  loader_ = std::make_unique<MmapDataLoader>(
      take(MmapDataLoader::from(path.c_str(), MmapDataLoader::MlockConfig::NoMlock), path + ": cannot be mapped"));
  program_ = std::make_unique<Program>(
      take(Program::load(loader_.get(), Program::Verification::InternalConsistency), path + ": no ExecuTorch program"));
}

void ProgramFile::check_has_method(const std::string& name) const {
  std::string there;
  for (std::size_t index = 0; index < program_->num_methods(); ++index) {
    const std::string method = take(program_->get_method_name(index), path_ + ": its methods cannot be listed");
    if (method == name) return;
    there += (index == 0 ? "" : ", ") + method;
  }
  throw UserError(path_ + ": no method " + name + "; it has " + there);
}

}  // namespace dsnet
