// Fuzz target: any bytes as a GGUF. What is accepted has its data inside the bytes, and what the writer takes of it
// reads back equal.
#include "tests/fuzz/fuzz.h"

#include "gguf/gguf.h"
#include "tests/gguf_bytes.h"
#include "tests/gguf_random.h"
#include "tests/memory_files.h"

using namespace quant;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void use_getters(const Metadata& keys) {
    for (const auto& [key, value] : keys.entries()) {
        require(keys.find(key) == &value);
        static_cast<void>(keys.get_u32(key).ok() + keys.get_i64(key).ok() + keys.get_f32(key).ok() + keys.get_bool(key).ok());
        static_cast<void>(keys.get_string(key).ok() + keys.get_strings(key).ok() + keys.get_f32s(key).ok() + keys.get_i32s(key).ok());
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const auto file = Gguf::parse({data, size}, "f");
    if (!file) {
        require(file.error().code == Code::input && file.error().text.find('\n') == std::string::npos);
        return 0;
    }
    use_getters(file->metadata());
    for (const TensorInfo& tensor : file->tensors()) {
        require(tensor.data >= data && tensor.bytes <= size && tensor.data + tensor.bytes <= data + size);
        require(file->find(tensor.name) == &tensor);
    }
    const memory_files::Installed memory;
    if (!gguf_random::write_file("/memory/f", file->metadata(), file->tensors(), {})) return 0;
    const auto again = Gguf::parse(memory_files::world().names.at("/memory/f")->data, "f");
    require(again.ok() && gguf_random::same_tensors(file->tensors(), again->tensors()));
    return 0;
}

std::vector<Input> fuzz_seeds() {
    std::vector<Input> seeds = {gguf_bytes::Builder().header(0, 0).bytes};
    const memory_files::Installed memory;
    for (uint64_t seed = 0; seed < 40; ++seed) {
        Rng rng(seed);
        const auto file = gguf_random::random_file(rng, 4, 2);
        require(gguf_random::write_file("/memory/f", file.metadata, file.tensors, {}).ok());
        seeds.push_back(memory_files::world().names.at("/memory/f")->data);
    }
    return seeds;
}
