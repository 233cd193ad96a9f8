/// Which width an image gets, as docs/bundle.md defines it. edge/calibration/score.py is the same in Python.
#pragma once

#include <cstddef>
#include <vector>

namespace dsnet {

/// Returns sum_j j * softmax(gate_logits)_j in double precision, for `count` logits: 0 (easy) to count - 1 (hard).
double score(const float* gate_logits, std::size_t count);

/// Returns the number of thresholds strictly below `score`: the position in the list of widths.
std::size_t choose(double score, const std::vector<double>& thresholds);

/// Throws a UserError unless `thresholds` never decrease.
void check_thresholds(const std::vector<double>& thresholds);

}  // namespace dsnet
