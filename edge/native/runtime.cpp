#include "runtime.h"

#include <cstdlib>
#include <mutex>
#include <string_view>

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

constexpr std::size_t kMaxLogged = 300;

/// What the runtime logged as errors: its return values are numbers, the log has the reasons, the deepest one first.
class ErrorLog {
 public:
  void add(std::string_view message) {
    const std::lock_guard lock(mutex_);
    if (text_.size() + message.size() < kMaxLogged) text_.append(text_.empty() ? "" : "; ").append(message);
  }

  std::string take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(text_, {});
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

ErrorLog error_log;
void (*abort_handler)(const std::string&) = nullptr;

void keep_error(
    et_timestamp_t, et_pal_log_level_t level, const char*, const char*, std::size_t, const char* message,
    std::size_t length) {
  if (level == kError || level == kFatal) error_log.add({message, length});
}

[[noreturn]] void abort_in_one_line() {
  abort_handler("ExecuTorch gave up: " + error_log.take());
  std::abort();
}

std::string reason(et::Error error) {
  std::string text = et::to_string(error);
  const std::string logged = error_log.take();
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

void forget_logged_errors() { error_log.take(); }

void refuse(const std::string& what, et::Error error) { throw UserError(what + " (" + reason(error) + ")"); }

}  // namespace dsnet
