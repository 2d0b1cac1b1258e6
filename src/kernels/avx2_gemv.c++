// Block formats times one activation row (AVX2).
#if defined(__x86_64__)
#include "kernels/avx2.h"
#include "kernels/avx2_gemv.h"

namespace quant {

void fill_avx2_gemv(Kernels& table) {
    set_gemv<Q8_0>(table, FormatSlot::q8_0, "gemv_q8_0_q8_avx2");
    set_gemv<Q4_0>(table, FormatSlot::q4_0, "gemv_q4_0_q8_avx2");
    set_gemv<Q4_1>(table, FormatSlot::q4_1, "gemv_q4_1_q8_avx2");
    set_gemv<Q5_0>(table, FormatSlot::q5_0, "gemv_q5_0_q8_avx2");
    set_gemv<Q5_1>(table, FormatSlot::q5_1, "gemv_q5_1_q8_avx2");
    set_gemv<Q2_K>(table, FormatSlot::q2_k, "gemv_q2_k_q8_avx2");
    set_gemv<Q3_K>(table, FormatSlot::q3_k, "gemv_q3_k_q8_avx2");
    set_gemv<Q4_K>(table, FormatSlot::q4_k, "gemv_q4_k_q8_avx2");
    set_gemv<Q5_K>(table, FormatSlot::q5_k, "gemv_q5_k_q8_avx2");
    set_gemv<Q6_K>(table, FormatSlot::q6_k, "gemv_q6_k_q8_avx2");
    set_gemv<IQ4_NL>(table, FormatSlot::iq4_nl, "gemv_iq4_nl_q8_avx2");
    set_gemv<IQ4_XS>(table, FormatSlot::iq4_xs, "gemv_iq4_xs_q8_avx2");
    set_gemv<TQ1_0>(table, FormatSlot::tq1_0, "gemv_tq1_0_q8_avx2");
    set_gemv<TQ2_0>(table, FormatSlot::tq2_0, "gemv_tq2_0_q8_avx2");
    set_gemv<MXFP4>(table, FormatSlot::mxfp4, "gemv_mxfp4_q8_avx2");
    set_gemv<NVFP4>(table, FormatSlot::nvfp4, "gemv_nvfp4_q8_avx2");
    set_gemv<Q1_0>(table, FormatSlot::q1_0, "gemv_q1_0_q8_avx2");
    set_gemv<Q2_0>(table, FormatSlot::q2_0, "gemv_q2_0_q8_avx2");
}

}  // namespace quant
#endif
