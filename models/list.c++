// The list of architectures. A new one: a file beside this one, a declaration and an entry here.
#include "model/architecture.h"

namespace quant {

extern const Architecture kBitnet, kGemma2, kGemma3, kGpt2, kGptOss, kGranite, kLlama, kOlmo2, kPhi3, kQwen2,
    kQwen3, kQwen3Moe, kSmollm3;

std::span<const Architecture* const> architectures() {
    static constexpr const Architecture* kAll[] = {&kLlama,  &kQwen2,  &kQwen3, &kQwen3Moe, &kGemma2,
                                                   &kGemma3, &kPhi3,   &kOlmo2, &kGranite,  &kSmollm3,
                                                   &kGptOss, &kBitnet, &kGpt2};
    return kAll;
}

const Architecture* find_architecture(std::string_view name) {
    for (const Architecture* each : architectures())
        if (name == each->name) return each;
    return nullptr;
}

}  // namespace quant
