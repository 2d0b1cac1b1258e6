// A table that serves as embedding and as output matrix: how much its errors cost in the one place and in the other.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/threads.h"
#include "model/model.h"

namespace quant {

// The divergence of the model's predictions when rows are looked up in a rounded table, divided by that when the output is
// computed with it; measured on a few of the windows of `tokens`. 0 for a model whose output is a matrix of its own.
Result<double> lookup_share(const Model& model, const std::vector<int32_t>& tokens, int64_t window, uint64_t memory, ThreadPool& pool);

// The Gram matrix [n, n] of the output matrix's inputs, made to count errors of looked-up rows as well: these enter the
// hidden states in all directions alike.
void add_lookups(std::vector<float>& gram, int64_t n, double share);

}  // namespace quant
