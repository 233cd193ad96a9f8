#include "options.h"

#include <charconv>
#include <cstring>

#include "user_error.h"

namespace dsnet {

const char* const kHelp =
    "Usage: dsnet-runner [OPTIONS]\n"
    "\n"
    "Runs ExecuTorch programs whose weights are slices of a nested store. Reads one JSON command per line and answers\n"
    "each with one line of JSON: load, image, block, classify, outputs, canary, memory (see docs/native.md).\n"
    "\n"
    "  --threads N       threads that programs run with, 1 to 1024 [default: 1]\n"
    "  --weight-cache    share packed weights between methods by key, as builds for Android and Apple do\n"
    "  --commands FILE   read commands from a file instead of standard input\n"
    "  --version         print the versions of this program and of ExecuTorch\n"
    "  --help            print this\n"
    "\n"
    "Exit status: 0 when every command was answered; 2 after an error, which is the last answer.\n";

namespace {

constexpr std::uint32_t kMaxThreads = 1024;

std::uint32_t parse_threads(const char* text) {
  std::uint32_t threads = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, threads);
  if (error != std::errc() || stopped != end || threads < 1 || threads > kMaxThreads)
    throw UserError("--threads takes a number from 1 to 1024, not '" + std::string(text) + "'");
  return threads;
}

}  // namespace

Options parse_options(int argc, char** argv) {
  Options options;
  for (int index = 1; index < argc; ++index) {
    const std::string name = argv[index];
    const auto value = [&] {
      if (++index == argc) throw UserError(name + " takes a value; see --help");
      return argv[index];
    };
    if (name == "--threads") options.threads = parse_threads(value());
    else if (name == "--weight-cache") options.weight_cache = true;
    else if (name == "--commands") options.commands = value();
    else if (name == "--version") options.version = true;
    else if (name == "--help") options.help = true;
    else
      throw UserError("no option '" + name +
                      "'; valid: --threads N, --weight-cache, --commands FILE, --version, --help");
  }
  return options;
}

}  // namespace dsnet
