/* Log-softmax at one label per row, forward and backward.
 *
 * Scores are float, or bfloat16, which is the upper half of one; `half` is a constant wherever
 * these are inlined. All arithmetic is in single precision. Each row is read twice, and on the way
 * back once, while it is in the cache. */

typedef uint16_t NAME(halves) __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
#define HALVES NAME(halves)

/* exp of what is 0 at most. What is less than -80 counts nothing beside a 0. */
INLINE VEC NAME(exp_negative)(VEC x) {
    const VEC least = (VEC){0} - 80.0f;
    return NAME(exp)(NAME(select)(x < least, least, x));
}

INLINE VEC NAME(load_scores)(const void *scores, ptrdiff_t i, const int half) {
    if (!half) return NAME(load)((const float *)scores + i);
    const HALVES bits = *(const HALVES *)((const uint16_t *)scores + i);
    return (VEC)(__builtin_convertvector(bits, INTS) << 16);
}

/* Rounded to the nearest, of two to the even one. */
INLINE void NAME(store_scores)(void *scores, ptrdiff_t i, VEC x, const int half) {
    if (!half) {
        NAME(store)((float *)scores + i, x);
        return;
    }
    const INTS bits = (INTS)x;
    const INTS rounded = (bits + (((bits >> 16) & 1) + 0x7FFF)) >> 16;
    *(HALVES *)((uint16_t *)scores + i) = __builtin_convertvector(rounded, HALVES);
}

/* Columns of a row from `first` on, LANES of them or as many as there are: those beyond count
 * nothing. */
INLINE VEC NAME(load_columns)(const rnn_softmax *softmax, const void *row, ptrdiff_t first,
                              const int half) {
    const ptrdiff_t n = softmax->size - first;
    VEC x;
    if (n >= LANES) {
        x = NAME(load_scores)(row, first, half);
        if (softmax->bias != NULL) x += NAME(load)(softmax->bias + first);
        return x;
    }
    const size_t each = half ? sizeof(uint16_t) : sizeof(float);
    float room[LANES] = {0};
    memcpy(room, (const char *)row + (size_t)first * each, (size_t)n * each);
    x = NAME(load_scores)(room, 0, half);
    for (ptrdiff_t k = 0; k < n && softmax->bias != NULL; k++) x[k] += softmax->bias[first + k];
    for (ptrdiff_t k = n; k < LANES; k++) x[k] = -FLT_MAX;
    return x;
}

/* Write as many columns, and add them to the gradient of the bias. */
INLINE void NAME(store_columns)(const rnn_softmax *softmax, void *row, ptrdiff_t first, VEC x,
                                float *d_bias, const int half) {
    const ptrdiff_t n = softmax->size - first;
    if (n >= LANES) {
        NAME(store_scores)(row, first, x, half);
        if (d_bias != NULL) NAME(store)(d_bias + first, NAME(load)(d_bias + first) + x);
        return;
    }
    const size_t each = half ? sizeof(uint16_t) : sizeof(float);
    float room[LANES];
    NAME(store_scores)(room, 0, x, half);
    memcpy((char *)row + (size_t)first * each, room, (size_t)n * each);
    for (ptrdiff_t k = 0; k < n && d_bias != NULL; k++) d_bias[first + k] += x[k];
}

INLINE float NAME(get_score)(const rnn_softmax *softmax, const void *row, ptrdiff_t i,
                             const int half) {
    float x;
    if (half) {
        const uint32_t bits = (uint32_t)((const uint16_t *)row)[i] << 16;
        memcpy(&x, &bits, sizeof(x));
    } else {
        x = ((const float *)row)[i];
    }
    return softmax->bias == NULL ? x : x + softmax->bias[i];
}

/* log(sum(exp(x))): NaN where a score is. */
INLINE float NAME(log_sum_exp)(const rnn_softmax *softmax, const void *row, const int half) {
    VEC highest = (VEC){0} - FLT_MAX, sum = {0};
    float top = -FLT_MAX, total = 0.0f;
    for (ptrdiff_t i = 0; i < softmax->size; i += LANES) {
        const VEC x = NAME(load_columns)(softmax, row, i, half);
        highest = NAME(select)(x > highest, x, highest);
    }
    for (int k = 0; k < LANES; k++) top = highest[k] > top ? highest[k] : top;
    for (ptrdiff_t i = 0; i < softmax->size; i += LANES)
        sum += NAME(exp_negative)(NAME(load_columns)(softmax, row, i, half) - top);
    for (int k = 0; k < LANES; k++) total += sum[k];
    return top + logf(total);
}

/* From scores to their gradient: one at the label, less the probabilities. */
INLINE void NAME(back_row)(const rnn_softmax *softmax, void *row, ptrdiff_t label, float total,
                           float grad, float *d_bias, const int half) {
    const float at_label = grad - grad * expf(NAME(get_score)(softmax, row, label, half) - total);
    for (ptrdiff_t i = 0; i < softmax->size; i += LANES) {
        const VEC x = NAME(load_columns)(softmax, row, i, half);
        NAME(store_columns)(softmax, row, i, NAME(exp_negative)(x - total) * -grad, d_bias, half);
    }
    float room[LANES];
    NAME(store_scores)(room, 0, (VEC){0} + at_label, half);
    const size_t each = half ? sizeof(uint16_t) : sizeof(float);
    memcpy((char *)row + (size_t)label * each, room, each);
    if (d_bias != NULL) d_bias[label] += grad;
}

TARGET static void NAME(pick)(const rnn_softmax *softmax, const void *scores, float *log_probs,
                              float *totals) {
    const size_t each = softmax->half ? sizeof(uint16_t) : sizeof(float);
    for (ptrdiff_t i = 0; i < softmax->n; i++) {
        const void *row = (const char *)scores + (size_t)(i * softmax->size) * each;
        const ptrdiff_t label = softmax->labels[i];
        if (softmax->half) {
            totals[i] = NAME(log_sum_exp)(softmax, row, 1);
            log_probs[i] = NAME(get_score)(softmax, row, label, 1) - totals[i];
        } else {
            totals[i] = NAME(log_sum_exp)(softmax, row, 0);
            log_probs[i] = NAME(get_score)(softmax, row, label, 0) - totals[i];
        }
    }
}

TARGET static void NAME(pick_back)(const rnn_softmax *softmax, void *scores, const float *totals,
                                   const float *grads, float *d_bias) {
    const size_t each = softmax->half ? sizeof(uint16_t) : sizeof(float);
    for (ptrdiff_t i = 0; i < softmax->n; i++) {
        void *row = (char *)scores + (size_t)(i * softmax->size) * each;
        const ptrdiff_t label = softmax->labels[i];
        if (softmax->half) NAME(back_row)(softmax, row, label, totals[i], grads[i], d_bias, 1);
        else NAME(back_row)(softmax, row, label, totals[i], grads[i], d_bias, 0);
    }
}

#undef HALVES
