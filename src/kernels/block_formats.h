// The block formats with products of their own, by family: X(struct that unpacks the block, slot). A family has its unpacking in
// headers of its own (FAMILY_unpack.h for each kind of machine) and its products in a file of its own per instruction set;
// those files repeat nothing but the family's list. Knows no instruction set.
#pragma once

#define QUANT_STOCK_BLOCKS(X) \
    X(Q8_0, q8_0) X(Q4_0, q4_0) X(Q4_1, q4_1) X(Q5_0, q5_0) X(Q5_1, q5_1) X(Q2_K, q2_k) \
    X(Q3_K, q3_k) X(Q4_K, q4_k) X(Q5_K, q5_k) X(Q6_K, q6_k) X(IQ4_NL, iq4_nl) X(IQ4_XS, iq4_xs) \
    X(TQ1_0, tq1_0) X(TQ2_0, tq2_0) X(MXFP4, mxfp4) X(NVFP4, nvfp4) X(Q1_0, q1_0) X(Q2_0, q2_0)

// Points of code books.
#define QUANT_GRID_BLOCKS(X) \
    X(IQ1_S, iq1_s) X(IQ1_M, iq1_m) X(IQ2_XXS, iq2_xxs) X(IQ2_XS, iq2_xs) X(IQ2_S, iq2_s) \
    X(IQ3_XXS, iq3_xxs) X(IQ3_S, iq3_s)

// Own formats with levels in a table. Plain ones as above; staged ones (side data in the tensor's head) as X(stage, slot):
// pieces of their rows are first brought into a plain layout in the scratch (avx2_staged.h, neon_staged.h).
#define QUANT_LEVEL_BLOCKS(X) X(NF4, nf4)
#define QUANT_LEVEL_STAGES(X)                                                                                 \
    X(StageNF4_DQ, nf4_dq) X(StagePAL1, pal1) X(StagePAL2, pal2) X(StagePAL3, pal3) X(StagePAL4, pal4)        \
    X(StagePAL6, pal6) X(StagePAL1_V4, pal1_v4) X(StagePAL2_V2, pal2_v2) X(StagePAL2_V4, pal2_v4)             \
    X(StagePAL3_V2, pal3_v2) X(StagePAL4_V2, pal4_v2) X(StagePAL4_I8, pal4_i8) X(StagePAL2_V4_I8, pal2_v4_i8) \
    X(StagePAL4_V2_I8, pal4_v2_i8)
