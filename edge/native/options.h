#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dsnet {

/// What the command line asks for.
struct Options {
  std::uint32_t threads = 1;
  bool weight_cache = false;
  /// A file to read commands from; none: standard input.
  std::optional<std::string> commands;
  bool help = false;
  bool version = false;
};

extern const char* const kHelp;

Options parse_options(int argc, char** argv);

}  // namespace dsnet
