#pragma once

namespace dsnet {

/// Returns the median time, in milliseconds, of work that no artifact changes: it slows only when the device does.
double canary_ms();

}  // namespace dsnet
