#include "softmax.h"

#include <algorithm>
#include <cmath>

namespace dsnet {
namespace {

struct Sums {
  /// Of exp(logit - largest logit).
  double weights = 0;
  /// Of the same, each times its index.
  double weighted = 0;
};

Sums sums(Logits logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  Sums result;
  for (std::size_t j = 0; j < logits.count; ++j) {
    const double weight = std::exp(static_cast<double>(logits.values[j]) - largest);
    result.weights += weight;
    result.weighted += static_cast<double>(j) * weight;
  }
  return result;
}

}  // namespace

double score(Logits gate_logits) {
  const Sums found = sums(gate_logits);
  return found.weighted / found.weights;
}

double confidence(Logits logits) { return 1 / sums(logits).weights; }

}  // namespace dsnet
