/// ExecuTorch itself: started once per process, before anything is loaded.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include <executorch/runtime/core/error.h>
#include <executorch/runtime/core/result.h>

namespace dsnet {

/// Starts the runtime with `threads` threads. `weight_cache`: share packed weights between methods by key, as the
/// builds for Android and Apple do. `on_abort` gets one line when the runtime gives up on a broken program; it must not
/// return.
void start_runtime(std::uint32_t threads, bool weight_cache, void (*on_abort)(const std::string&));

/// Forgets what the runtime logged so far: the next refusal is about what comes next.
void forget_logged_errors();

/// Throws a UserError: `what` failed, and what the runtime said about it.
[[noreturn]] void refuse(const std::string& what, executorch::runtime::Error error);

inline void check(executorch::runtime::Error error, const std::string& what) {
  if (error != executorch::runtime::Error::Ok) refuse(what, error);
}

template <typename T>
T take(executorch::runtime::Result<T>&& result, const std::string& what) {
  if (!result.ok()) refuse(what, result.error());
  return std::move(result.get());
}

}  // namespace dsnet
