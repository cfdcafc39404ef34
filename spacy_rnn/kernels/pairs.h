/* Products of pairs of rows: of each dependent with the heads that it may have. Weighted sums of rows. */

INLINE float NAME(dot)(const float *x, const float *y, ptrdiff_t size) {
    VEC sums[2] = {{0}};
    ptrdiff_t k = 0;
    for (; k + 2 * LANES <= size; k += 2 * LANES)
        for (int i = 0; i < 2; i++)
            sums[i] += NAME(load)(x + k + i * LANES) * NAME(load)(y + k + i * LANES);
    for (; k + LANES <= size; k += LANES) sums[0] += NAME(load)(x + k) * NAME(load)(y + k);
    float parts[LANES];
    NAME(store)(parts, sums[0] + sums[1]);
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) parts[i] += parts[i + half];
    for (; k < size; k++) parts[0] += x[k] * y[k];
    return parts[0];
}

TARGET static void NAME(score_arcs)(const rnn_arcs *arcs, const float *mapped, float *scores) {
    const float *heads = arcs->heads;
    for (ptrdiff_t row = 0; row < arcs->n; row++) {
        for (int64_t i = 0; i < arcs->lengths[row]; i++, mapped += arcs->width) {
            *scores++ = NAME(dot)(mapped, arcs->root, arcs->width);
            for (int64_t j = 0; j < arcs->lengths[row]; j++)
                *scores++ = NAME(dot)(mapped, heads + j * arcs->stride, arcs->width);
        }
        heads += arcs->lengths[row] * arcs->stride;
    }
}

TARGET static void NAME(score_labels)(const rnn_labels *labels, const int64_t *rows, ptrdiff_t n,
                                      const float *mapped, float *scores) {
    for (ptrdiff_t i = 0; i < n; i++, mapped += labels->stride)
        for (ptrdiff_t k = 0; k < labels->n; k++)
            *scores++ = NAME(dot)(mapped + k * labels->width, labels->heads + rows[i] * labels->width,
                                  labels->width);
}

TARGET static void NAME(mix_rows)(const rnn_mixed *mixed, const float *weights, const float *rows,
                                  float *sums) {
    const ptrdiff_t width = mixed->width;
    for (ptrdiff_t i = 0; i < mixed->n; i++, weights += mixed->length, sums += width) {
        ptrdiff_t k = 0;
        for (; k + LANES <= width; k += LANES) {
            VEC sum = {0};
            for (ptrdiff_t j = 0; j < mixed->length; j++)
                sum += weights[j] * NAME(load)(rows + j * width + k);
            NAME(store)(sums + k, sum);
        }
        for (; k < width; k++) {
            sums[k] = 0;
            for (ptrdiff_t j = 0; j < mixed->length; j++) sums[k] += weights[j] * rows[j * width + k];
        }
        rows += mixed->length * width;
    }
}
