/// What logits say, in double precision, as docs/policies.md defines it. edge/runtime/policy.py is the same in Python.
#pragma once

#include "logits.h"

namespace dsnet {

/// Returns sum_j j * softmax(gate_logits)_j: 0 (easy) to count - 1 (hard).
double score(Logits gate_logits);

/// Returns the top-1 softmax probability.
double confidence(Logits logits);

}  // namespace dsnet
