// The commands of the multi-call binary. main.c++ holds the table that lists them.
#pragma once

#include "cli/options.h"

namespace quant {

Status run_command(Arguments arguments);
Status eval_command(Arguments arguments);
Status bench_command(Arguments arguments);
Status inspect_command(Arguments arguments);
Status tokenize_command(Arguments arguments);
Status formats_command(Arguments arguments);

}  // namespace quant
