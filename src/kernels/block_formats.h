// The block formats with products of their own, by family: X(struct that unpacks the block, slot). A family has its unpacking in
// headers of its own (FAMILY_unpack.h for each kind of machine) and its products in a file of its own per instruction set;
// those files repeat nothing but the family's list. Knows no instruction set.
#pragma once

#define QUANT_STOCK_BLOCKS(X) \
    X(Q8_0, q8_0) X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q2_K, q2_k) \
    X(Q3_K, q3_k) X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(IQ4_NL, iq4_nl) X(IQ4_XS, iq4_xs) \
    X(TQ1_0, tq1_0) X(TQ2_0, tq2_0) X(MXFP4, mxfp4) X(NVFP4, nvfp4) X(Q1_0, q1_0) X(Q2_0, q2_0)
