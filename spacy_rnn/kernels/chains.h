/* Linear chains. No loop over tags depends on its last turn, so compilers vectorize them. */

/* How many results are computed at a time: few enough to stay in the first cache. */
#define TILE 64

/* Add to each number the maximum, over i, of before[i] + matrix[i][y]. */
TARGET static void NAME(max_plus)(ptrdiff_t size, const float *before, const float *matrix,
                                  float *restrict out) {
    for (ptrdiff_t first = 0; first < size; first += TILE) {
        const ptrdiff_t n = size - first < TILE ? size - first : TILE;
        float best[TILE];
        for (ptrdiff_t y = 0; y < n; y++) best[y] = -INFINITY;
        for (ptrdiff_t i = 0; i < size; i++) {
            const float *row = matrix + i * size + first;
            for (ptrdiff_t y = 0; y < n; y++) {
                const float sum = before[i] + row[y];
                best[y] = sum > best[y] ? sum : best[y];
            }
        }
        for (ptrdiff_t y = 0; y < n; y++) out[first + y] += best[y];
    }
}

/* Multiply each number by the sum, over i, of before[i] * matrix[i][y]. */
TARGET static void NAME(sum_product)(ptrdiff_t size, const double *before, const double *matrix,
                                     double *restrict out) {
    for (ptrdiff_t first = 0; first < size; first += TILE) {
        const ptrdiff_t n = size - first < TILE ? size - first : TILE;
        double sums[TILE] = {0};
        for (ptrdiff_t i = 0; i < size; i++) {
            const double *row = matrix + i * size + first;
            for (ptrdiff_t y = 0; y < n; y++) sums[y] += before[i] * row[y];
        }
        for (ptrdiff_t y = 0; y < n; y++) out[first + y] *= sums[y];
    }
}

#undef TILE

/* Find the best tag before another, or the best one if that is negative. */
TARGET static ptrdiff_t NAME(trace)(const rnn_chains *chains, const float *outer,
                                    const float *inner, const float *scores, ptrdiff_t tag) {
    const ptrdiff_t n = chains->labels, size = 2 * n + 1;
    if (tag >= 0 && (tag < n || tag > 3 * n)) {
        const ptrdiff_t label = tag < n ? tag : tag - 3 * n - 1;
        if (tag > 3 * n) inner += 2 * n;
        const float i = scores[label] + inner[label];
        return i > scores[n + label] + inner[n + label] ? label : n + label;
    }
    ptrdiff_t chosen = 0;
    float highest = -INFINITY;
    for (ptrdiff_t i = tag < 0 ? 0 : 2 * n; i < 4 * n + 1; i++) {
        const float score = scores[i] + (tag < 0 ? 0.0f : outer[(i - 2 * n) * size + tag - n]);
        if (score > highest) {
            highest = score;
            chosen = i;
        }
    }
    return chosen;
}

TARGET static void NAME(find_best)(const rnn_chains *chains, const float *outer,
                                   const float *inner, float *best, int64_t *tags) {
    const ptrdiff_t n = chains->labels, width = 4 * n + 1;
    for (ptrdiff_t row = 0; row < count_chains(chains); row++) {
        ptrdiff_t step = 0;
        const float *before = NULL;
        for (; has_step(chains, row, step); step++) {
            float *current = best + (chains->starts[step] + row) * width;
            if (before != NULL) {
                NAME(max_plus)(2 * n + 1, before + 2 * n, outer, current + n);
                for (int part = 0; part < 2; part++) {
                    const float *scores = inner + part * 2 * n;
                    float *to = current + part * (3 * n + 1);
                    for (ptrdiff_t y = 0; y < n; y++) {
                        const float i = before[y] + scores[y], b = before[n + y] + scores[n + y];
                        to[y] += i > b ? i : b;
                    }
                }
            }
            /* Only differences matter, and sums that grow lose precision. */
            float highest = -FLT_MAX;
            for (ptrdiff_t i = 0; i < width; i++)
                if (current[i] > highest) highest = current[i];
            for (ptrdiff_t i = 0; i < width; i++) current[i] -= highest;
            before = current;
        }
        ptrdiff_t tag = -1;
        while (step-- > 0) {
            const ptrdiff_t place = chains->starts[step] + row;
            tags[place] = tag = NAME(trace)(chains, outer, inner, best + place * width, tag);
        }
    }
}

TARGET static void NAME(sum_forward)(const rnn_chains *chains, const double *outer,
                                     const double *inner, double *sums, double *scales) {
    const ptrdiff_t n = chains->labels, width = 4 * n + 1;
    for (ptrdiff_t row = 0; row < count_chains(chains); row++) {
        const double *before = NULL;
        for (ptrdiff_t step = 0; has_step(chains, row, step); step++) {
            const ptrdiff_t place = chains->starts[step] + row;
            double *restrict current = sums + place * width, scale = 0.0;
            if (before != NULL) {
                NAME(sum_product)(2 * n + 1, before + 2 * n, outer, current + n);
                for (int part = 0; part < 2; part++) {
                    const double *factors = inner + part * 2 * n;
                    double *to = current + part * (3 * n + 1);
                    for (ptrdiff_t y = 0; y < n; y++)
                        to[y] *= before[y] * factors[y] + before[n + y] * factors[n + y];
                }
            }
            for (ptrdiff_t i = 0; i < width; i++) scale += current[i];
            scales[place] = scale;
            const double divisor = scale < DBL_MIN ? DBL_MIN : scale;
            for (ptrdiff_t i = 0; i < width; i++) current[i] /= divisor;
            before = current;
        }
    }
}

TARGET static void NAME(sum_backward)(const rnn_chains *chains, const double *outer,
                                      const double *inner, double *weights, double *sums) {
    const ptrdiff_t n = chains->labels, width = 4 * n + 1;
    for (ptrdiff_t row = 0; row < count_chains(chains); row++) {
        ptrdiff_t step = 0;
        while (has_step(chains, row, step)) step++;
        while (step-- > 0) {
            double *restrict current = sums + (chains->starts[step] + row) * width;
            for (ptrdiff_t i = 0; i < width; i++) current[i] = 1.0;
            if (!has_step(chains, row, step + 1)) continue;
            const ptrdiff_t after = (chains->starts[step + 1] + row) * width;
            double *weighted = weights + after;
            for (ptrdiff_t i = 0; i < width; i++) weighted[i] *= sums[after + i];
            NAME(sum_product)(2 * n + 1, weighted + n, outer, current + 2 * n);
            const double *last = weighted + 3 * n + 1;
            for (ptrdiff_t y = 0; y < n; y++) {
                current[y] = weighted[y] * inner[y] + last[y] * inner[2 * n + y];
                current[n + y] = weighted[y] * inner[n + y] + last[y] * inner[3 * n + y];
            }
        }
    }
}
