// The command `convert`: a Hugging Face folder as a GGUF in the checkpoint's own number format. It is `quantize` with the
// type COPY and fewer options.
#include <string>
#include <vector>

#include "convert/commands.h"

namespace quant {

Status convert_command(Arguments arguments) {
    std::vector<std::string> positional, passed;
    Options options("quant convert FOLDER [OUT.gguf] [options]",
                    "Writes a Hugging Face folder (a model, or an adapter made with PEFT) as a GGUF in its own number format.",
                    "  quant convert Llama-3.2-1B model.gguf\n"
                    "  quant convert my-lora lora.gguf --base model.gguf  an adapter, for run --lora and merge\n"
                    "  quant quantize Llama-3.2-1B model-q4.gguf q4       the same and quantized, without a file in between");
    options.positional(&positional, 1, 2);
    const auto pass = [&](const char* names, const char* help) {
        options.call_flag(names, help, [&passed, names] { return passed.emplace_back(names), Status(); });
    };
    const auto pass_value = [&](const char* name, const char* value, const char* help) {
        options.call(name, value, help, [&passed, name](const std::string& given) {
            passed.insert(passed.end(), {name, given});
            return Status();
        });
    };
    pass_value("--base", "MODEL", "FOLDER is an adapter: the model it adapts, a GGUF or a Hugging Face folder");
    pass_value("--split-max-size", "SIZE", "split into files of at most SIZE, for example 4G");
    pass_value("--override-kv", "KEY=TYPE:VALUE", "set metadata; TYPE int, float, bool or str; repeatable");
    pass_value("--threads", "N", "threads (default: the physical cores)");
    pass("--dry-run", "print the plan and the exact size, write nothing");
    pass("--force", "replace an existing output");
    pass("--json", "print one JSON object");
    pass("--quiet", "errors only");
    pass("--verbose", "every tensor, threads and kernels");
    LET(proceed, options.parse(arguments));
    if (!proceed) return {};
    std::string output = positional.size() > 1 ? positional[1] : positional[0];
    while (output.size() > 1 && output.ends_with('/')) output.pop_back();
    if (positional.size() < 2) output += ".gguf";
    passed.insert(passed.end(), {"--", positional[0], output, "COPY"});
    return quantize_command(passed);
}

}  // namespace quant
