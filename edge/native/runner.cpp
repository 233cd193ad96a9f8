/// dsnet-runner: reads commands, answers them; the first error is the last answer.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <new>
#include <string>

#include "options.h"
#include "protocol.h"
#include "runtime.h"
#include "user_error.h"

namespace dsnet {
namespace {

constexpr int kFailed = 2;

int fail(const std::string& problem) {
  write_error(problem);
  return kFailed;
}

void fail_at_once(const std::string& problem) { std::_Exit(fail(problem)); }

void converse(std::istream& commands) {
  Protocol protocol;
  std::string line;
  while (std::getline(commands, line))
    if (line.find_first_not_of(" \t\r") != std::string::npos) protocol.answer(line);
}

void run(const Options& options) {
  if (options.help) {
    std::fputs(kHelp, stdout);
    return;
  }
  if (options.version) {
    std::puts("dsnet-runner " DSNET_RUNNER_VERSION ", executorch " DSNET_EXECUTORCH_VERSION);
    return;
  }
  start_runtime(options.threads, options.weight_cache, fail_at_once);
  if (!options.commands) return converse(std::cin);
  std::ifstream file(*options.commands);
  if (!file) throw UserError(*options.commands + ": cannot be read");
  converse(file);
}

}  // namespace
}  // namespace dsnet

int main(int argc, char** argv) {
  // A reader that goes away shows as a failed write, not as a signal.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    dsnet::run(dsnet::parse_options(argc, argv));
    return EXIT_SUCCESS;
  } catch (const std::bad_alloc&) {
    return dsnet::fail("out of memory");
  } catch (const std::exception& error) {
    return dsnet::fail(error.what());
  }
}
