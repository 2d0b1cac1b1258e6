// The C interface: what concerns the library as a whole, and quantizing files. The other parts are in src/abi, one file
// each. None of them holds logic of its own: arguments are checked, the C++ functions called, errors turned into codes.
#include "quant.h"

#include "abi/guard.h"
#include "convert/quantize.h"
#include "kernels/kernels.h"
#include "version.h"

using namespace quant;
using namespace quant::abi;

const char* quant_version(void) { return kVersion; }
const char* quant_last_error(void) { return last_error(); }
const char* quant_instruction_set(void) { return kernels().isa; }

quant_status quant_quantize_file(const char* input, const char* output, const char* type, const quant_quantize_options* options,
                                 quant_progress progress, void* user, uint64_t* output_bytes) {
    return guarded([&]() -> Status {
        if (!input || !output || !type) return missing(!input ? "input" : !output ? "output" : "type");
        QuantizeOptions ours;
        ours.input = input;
        ours.output = output;
        ours.type = type;
        if (options) {
            TRY(check_threads(options->threads));
            ours.threads = options->threads;
            ours.force = options->force != 0;
            ours.pure = options->pure != 0;
            ours.allow_requantize = options->allow_requantize != 0;
            if (options->importance) ours.importance_path = options->importance;
        }
        LET(report, quantize_file(ours, [&](uint64_t done, uint64_t total, const std::string& tensor) {
            return !progress || progress(user, done, total, tensor.c_str()) == 0;
        }));
        if (output_bytes) *output_bytes = report.output_bytes;
        return {};
    });
}
