// Commands that make files.
#pragma once

#include "cli/options.h"

namespace quant {

Status quantize_command(Arguments arguments);
Status calibrate_command(Arguments arguments);
Status convert_command(Arguments arguments);
Status merge_command(Arguments arguments);
Status report_command(Arguments arguments);

}  // namespace quant
