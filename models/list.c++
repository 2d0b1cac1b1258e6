// The list of architectures. A new one: a file beside this one, a declaration and an entry here.
#include "model/architecture.h"

namespace quant {

extern const Architecture kLlama, kQwen2;

std::span<const Architecture* const> architectures() {
    static constexpr const Architecture* kAll[] = {&kLlama, &kQwen2};
    return kAll;
}

const Architecture* find_architecture(std::string_view name) {
    for (const Architecture* each : architectures())
        if (name == each->name) return each;
    return nullptr;
}

}  // namespace quant
