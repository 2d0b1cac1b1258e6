// Chooses the attention kernels that go with the table in use.
#include "kernels/attention.h"

#include <string_view>

#include "kernels/tables.h"

namespace quant {

#if defined(__x86_64__)
void fill_avx2_attention(AttentionKernels& table);
void fill_avx512_attention(AttentionKernels& table);
#endif

const AttentionKernels* attention_kernels() {
#if defined(__x86_64__)
    static const AttentionKernels avx2 = [] {
        AttentionKernels table;
        fill_avx2_attention(table);
        return table;
    }();
    static const AttentionKernels avx512 = [] {
        AttentionKernels table = avx2;
        fill_avx512_attention(table);
        return table;
    }();
    const std::string_view isa = kernels().isa;
    if (isa.starts_with("avx512")) return &avx512;
    if (isa.starts_with("avx")) return &avx2;
#endif
    return nullptr;
}

}  // namespace quant
