#include "runtime.h"

#include <cstdlib>
#include <mutex>

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/backend/options.h>
#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include "user_error.h"

// The wheel exports the thread pool, but has no header for it.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(std::uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace dsnet {
namespace {

namespace et = executorch::runtime;

/// The last thing that the runtime logged as an error: its return values are numbers, the log has the reason.
class LastError {
 public:
  void set(const char* message, std::size_t length) {
    const std::lock_guard lock(mutex_);
    message_.assign(message, length);
  }

  std::string take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(message_, {});
  }

 private:
  std::mutex mutex_;
  std::string message_;
};

LastError last_error;
void (*abort_handler)(const std::string&) = nullptr;

void keep_error(
    et_timestamp_t, et_pal_log_level_t level, const char*, const char*, std::size_t, const char* message,
    std::size_t length) {
  if (level == kError || level == kFatal) last_error.set(message, length);
}

[[noreturn]] void abort_in_one_line() {
  abort_handler("ExecuTorch gave up: " + last_error.take());
  std::abort();
}

std::string reason(et::Error error) {
  std::string text = et::to_string(error);
  const std::string logged = last_error.take();
  return logged.empty() ? text : text + ": " + logged;
}

}  // namespace

void start_runtime(std::uint32_t threads, bool weight_cache, void (*on_abort)(const std::string&)) {
  abort_handler = on_abort;
  et::PalImpl platform = et::PalImpl::create(keep_error, __FILE__);
  platform.abort = abort_in_one_line;
  et::register_pal(platform);
  et::runtime_init();
  if (!executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(threads))
    throw UserError("ExecuTorch cannot make a pool of " + std::to_string(threads) + " threads");
  if (weight_cache) {
    et::BackendOptions<1> options;
    check(options.set_option("weight_cache_enabled", true), "--weight-cache");
    check(et::set_option("XnnpackBackend", options.view()), "--weight-cache");
  }
}

void refuse(const std::string& what, et::Error error) { throw UserError(what + " (" + reason(error) + ")"); }

}  // namespace dsnet
