// The multi-call binary: `quant COMMAND ...`, or called as `quantize` or `run` through a link.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "../convert/commands.h"
#include "base/file.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "kernels/kernels.h"
#include "version.h"

namespace quant {
namespace {

struct Command {
    const char* name;
    const char* summary;
    Status (*run)(Arguments arguments);
};

constexpr Command kCommands[] = {
    {"quantize", "write a GGUF in another number format", quantize_command},
    {"convert", "write a Hugging Face folder or an adapter as a GGUF", convert_command},
    {"calibrate", "write the importance matrix of a model on a text", calibrate_command},
    {"merge", "write a model with adapters added to its weights", merge_command},
    {"report", "one page on a quantized model beside its original", report_command},
    {"run", "generate text from a model", run_command},
    {"eval", "perplexity of a model on a text, KL divergence to another", eval_command},
    {"bench", "prompt and generation speed", bench_command},
    {"inspect", "metadata and tensors of a GGUF", inspect_command},
    {"tokenize", "token ids of a text", tokenize_command},
    {"formats", "the number formats and the kernels in use", formats_command},
};

void print_usage(std::FILE* out) {
    std::fprintf(out, "quant %s: quantizes language models to GGUF and runs them on the CPU\n\nusage: quant COMMAND [options]\n\n",
                 kVersion);
    for (const Command& command : kCommands) std::fprintf(out, "  %-10s %s\n", command.name, command.summary);
    std::fprintf(out,
                 "\n`quant COMMAND --help` explains one. The links `quantize` and `run` are those two commands.\n\n"
                 "examples:\n  quant quantize model-f16.gguf model-q4.gguf q4\n  quant run -m model-q4.gguf -p \"Once upon a time\"\n\n"
                 "exit codes: 0 success, 1 bad input file, 2 wrong usage, 3 file system error, 4 out of memory, 128+N signal N\n");
}

int finish(const Status& status) {
    if (const int signal = pending_signal(); signal != 0 && (!status.ok() && status.error().code == Code::interrupted))
        return 128 + signal;
    // A reader that has seen enough (`| head`) is no error.
    if (std::ferror(stdout) && standard_output_closed()) return 0;
    if (!status.ok()) {
        log_error(status.error().text);
        return static_cast<int>(status.error().code);
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        if (standard_output_closed()) return 0;
        log_error(std::string("standard output: ") + std::strerror(errno));
        return static_cast<int>(Code::io);
    }
    return 0;
}

// Started with standard input, output or error closed, a file we open would take that number and get our text.
void occupy_standard_descriptors() {
    for (const int fd : {0, 1, 2})
        if (::fcntl(fd, F_GETFD) < 0)
            static_cast<void>(::open("/dev/null", fd == 2 ? O_WRONLY : O_RDONLY));  // writing to a closed output still fails
}

// With no heap at all not even bad_alloc can be raised: the runtime calls this instead.
[[noreturn]] void end_without_memory() {
    if (std::current_exception()) std::abort();
    static constexpr char kText[] = "quant: out of memory\n";
    static_cast<void>(!::write(2, kText, sizeof kText - 1));
    ::_exit(static_cast<int>(Code::memory));
}

int dispatch(int argc, char** argv) {
    std::vector<std::string> arguments(argv, argv + argc);
    std::string called = arguments.empty() ? "quant" : arguments[0];
    called = called.substr(called.find_last_of('/') + 1);
    size_t skip = 1;
    if (called != "quantize" && called != "run") {
        if (arguments.size() < 2) {
            print_usage(stderr);
            return static_cast<int>(Code::usage);
        }
        called = arguments[1];
        skip = 2;
    } else if (arguments.size() == 2 && arguments[1] == "--version") {
        called = arguments[1];  // of a link
    }
    if (called == "-h" || called == "--help" || called == "help") {
        print_usage(stdout);
        return finish({});
    }
    if (called == "--version" || called == "version") {
        std::printf("quant %s\n", kVersion);
        return finish({});
    }
    for (const Command& command : kCommands) {
        if (called != command.name) continue;
        if (Status status = check_kernel_environment(); !status) return finish(status);
        return finish(command.run(Arguments(arguments).subspan(skip)));
    }
    return finish(usage_error("unknown command '" + escaped(called) + "' (quant --help lists all)"));
}

}  // namespace
}  // namespace quant

int main(int argc, char** argv) {
    quant::occupy_standard_descriptors();
    quant::install_signal_handlers();
    std::set_terminate(quant::end_without_memory);
    try {
        return quant::dispatch(argc, argv);
    } catch (const std::bad_alloc&) {
        std::fputs("quant: out of memory\n", stderr);
        return static_cast<int>(quant::Code::memory);
    }
}
