#include "canary.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "clock.h"

namespace dsnet {
namespace {

/// About 1 ms at 3 GHz: each step depends on the one before, and takes 6 cycles on today's cores.
constexpr int kSteps = 500'000;
constexpr std::size_t kRuns = 5;

double once_ms() {
  const Stopwatch watch;
  std::uint64_t state = 88172645463325252u;  // xorshift64: Marsaglia, "Xorshift RNGs", 2003
  for (int step = 0; step < kSteps; ++step) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
  }
  // Without a reader the compiler may leave the loop out.
  [[maybe_unused]] volatile std::uint64_t result = state;
  return watch.ms();
}

}  // namespace

double canary_ms() {
  std::array<double, kRuns> times;
  for (double& time : times) time = once_ms();
  std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
  return times[kRuns / 2];
}

}  // namespace dsnet
