// The drawings of the report as inline SVG and tables of coloured cells. Each says its figures in words as well.
#pragma once

#include <string>
#include <vector>

#include "convert/report/report.h"

namespace quant {

// Layers down, roles across, each cell with its error and format; tables outside the layers below.
std::string heat_map(const std::vector<ReportTensor>& tensors);

enum class Curve { divergence, perplexity };
// Points over size; positions in percent, so that text keeps its size on every screen.
std::string size_curve(const ReportData& data, Curve which);

std::string histogram_figure(const ReportHistogram& histogram);

// "blk.3.attn_q.weight" -> "attn_q"; outside the layers the name without ".weight".
std::string role_name(const std::string& tensor);

}  // namespace quant
