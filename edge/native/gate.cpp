#include "gate.h"

#include <algorithm>
#include <cmath>

#include "user_error.h"

namespace dsnet {

double score(const float* gate_logits, std::size_t count) {
  const double largest = *std::max_element(gate_logits, gate_logits + count);
  double sum = 0, weighted = 0;
  for (std::size_t j = 0; j < count; ++j) {
    const double weight = std::exp(static_cast<double>(gate_logits[j]) - largest);
    sum += weight;
    weighted += static_cast<double>(j) * weight;
  }
  return weighted / sum;
}

std::size_t choose(double score, const std::vector<double>& thresholds) {
  // A score that is no number counts as hard, as it does in NumPy's order.
  const auto below = [score](double threshold) { return !(threshold >= score); };
  return static_cast<std::size_t>(std::count_if(thresholds.begin(), thresholds.end(), below));
}

void check_thresholds(const std::vector<double>& thresholds) {
  if (!std::is_sorted(thresholds.begin(), thresholds.end())) throw UserError("thresholds must not decrease");
}

}  // namespace dsnet
