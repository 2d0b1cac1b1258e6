// Encoders for rows without importance, which is how whole models are converted: fast coarse searches on integers, then
// least squares. A block for which these are not made (nearly exact, tiny, huge) goes to `thorough`, the encoder that also
// serves rows with importance. Same bytes on every machine.
#pragma once

#include <cstdint>

#include "formats/format.h"

namespace quant {

// n weights of a row, whole blocks.
using UnweightedFn = void(const float* x, uint8_t* blocks, int64_t n, EncodeFn* thorough);

// For blocks that the search leaves.
struct Thorough {
    EncodeFn* encode;
    DecodeFn* decode;
    // One block of n weights, at most 256; sums may be null.
    void block(const float* x, uint8_t* block, int64_t n, EncodingError* sums) const;
};
// The same with the sums of a measured encoder, or null.
using UnweightedSumsFn = void(const float* x, uint8_t* blocks, int64_t n, const Thorough& thorough, EncodingError* sums);

struct UnweightedEncoders {
    UnweightedFn* q8_0;
    UnweightedSumsFn* q4_0;
    UnweightedFn *q5_0, *q6_k, *q3_k, *q4_k, *q5_k, *q2_k, *tq2_0, *iq4_nl;
};
extern const UnweightedEncoders kPortableUnweighted;
#if defined(__x86_64__) && !defined(QUANT_SANITIZED)
extern const UnweightedEncoders kAvx2Unweighted, kAvx512Unweighted;
#endif

const UnweightedEncoders& unweighted_encoders();  // as lane_width() says

// Defines the encoder `encode_NAME` from `thorough_NAME`, for rows without importance from unweighted_encoders().
#define QUANT_FAST_ENCODER(name)                                                                                      \
    void encode_##name(const RowPlace* place, const float* x, const float* importance, uint8_t* blocks, int64_t n) {   \
        if (importance) return thorough_##name(place, x, importance, blocks, n);                                      \
        unweighted_encoders().name(x, blocks, n, thorough_##name);                                                    \
    }

}  // namespace quant
