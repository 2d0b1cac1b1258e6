// A folder is converted in its own number format, so that what runs is what will be rounded.
#include "convert/runnable.h"

#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/log.h"

namespace quant {

bool needs_conversion_to_run(const QuantizeOptions& options) {
    std::error_code unreadable;
    return !options.adapters.empty() || std::filesystem::is_directory(options.input, unreadable);
}

Result<std::shared_ptr<const Model>> load_runnable(const QuantizeOptions& options, const std::string& output) {
    if (!needs_conversion_to_run(options)) return Model::load(options.input);
    QuantizeOptions conversion;
    conversion.input = options.input;
    conversion.base = options.base;
    conversion.adapters = options.adapters;
    conversion.override_metadata = options.override_metadata;
    conversion.zero_nonfinite = options.zero_nonfinite;
    conversion.threads = options.threads;
    conversion.output = output + format_text(".%ld.unquantized.gguf", static_cast<long>(::getpid()));
    conversion.type = "COPY";
    LET(made, quantize_file(conversion, [&](uint64_t done, uint64_t total, const std::string& tensor) {
            return !options.calibration_progress ||
                   options.calibration_progress("convert", static_cast<int64_t>(done), static_cast<int64_t>(total), tensor);
        }));
    auto model = Model::load(made.outputs.front());
    syscalls().unlink(made.outputs.front().c_str());  // the mapping stays
    return model;
}

}  // namespace quant
