/* The kernels of kernels.h for one instruction set. No include guard: kernels.c includes this once
 * for each, with
 *   NAME(x)  the name of x in this instruction set
 *   TARGET   the attribute that allows its instructions
 *   LANES    how many numbers a vector register holds
 *   ROWS     how many rows a tile has: the registers hold 4 sums for each, and what is added
 *   BF16     if the factors of products are rounded to bfloat16, two of them in each 32 bits
 *   INT8     if they are rounded to 8-bit integers, four of them in each 32 bits
 * With one of the last two, only recurrent and linear layers are defined. */

#include "vectors.h"
#include "cells.h"
#include "recurrent.h"
#if !defined(BF16) && !defined(INT8)
#include "chains.h"
#include "pairs.h"
#endif

static const rnn_kernels NAME(kernels) = {
    .name = INSTRUCTIONS,
    .lanes = LANES,
    .project = NAME(project),
    .forward = NAME(forward),
    .backward = NAME(backward),
#if !defined(BF16) && !defined(INT8)
    .find_best = NAME(find_best),
    .sum_forward = NAME(sum_forward),
    .sum_backward = NAME(sum_backward),
    .score_arcs = NAME(score_arcs),
    .score_labels = NAME(score_labels),
    .mix_rows = NAME(mix_rows),
#endif
};

#undef NAME
#undef INSTRUCTIONS
#undef TARGET
#undef LANES
#undef ROWS
#undef BF16
#undef INT8
#undef FACTORS
#undef WORD
#undef VEC
#undef INTS
#undef BITS
#undef INLINE
