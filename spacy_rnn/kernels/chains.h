/* Chains. Up to 4 vectors of a result at a time stay in registers. */

INLINE void NAME(max_plus)(const int n, const float *before, const float *outer,
                           const rnn_chains *chains, float *out) {
    VEC best[4];
    UNROLL for (int v = 0; v < n; v++) best[v] = (VEC){0} - INFINITY;
    for (ptrdiff_t i = 0; i < chains->outer; i++) {
        const float *row = outer + i * chains->outer;
        UNROLL for (int v = 0; v < n; v++) {
            const VEC sum = before[i] + NAME(load)(row + v * LANES);
            best[v] = NAME(select)(sum > best[v], sum, best[v]);
        }
    }
    UNROLL for (int v = 0; v < n; v++) {
        float *to = out + v * LANES;
        NAME(store)(to, NAME(load)(to) + best[v]);
    }
}

INLINE void NAME(sum_product)(const int n, const double *before, const double *outer,
                              const rnn_chains *chains, double *out) {
    DVEC sums[4];
    UNROLL for (int v = 0; v < n; v++) sums[v] = (DVEC){0};
    for (ptrdiff_t i = 0; i < chains->outer; i++) {
        const double *row = outer + i * chains->outer;
        UNROLL for (int v = 0; v < n; v++)
            sums[v] += before[i] * *(const DVEC *)(row + v * LANES / 2);
    }
    UNROLL for (int v = 0; v < n; v++) *(DVEC *)(out + v * LANES / 2) *= sums[v];
}

/* Call one of these for all vectors of a result, with their number as a constant. */
#define FOR_VECTORS(function, lanes, before, matrix, chains, out)                                  \
    for (ptrdiff_t first = 0; first < (chains)->outer; first += 4 * (lanes)) {                     \
        const ptrdiff_t vectors = ((chains)->outer - first) / (lanes);                             \
        if (vectors >= 4) function(4, before, (matrix) + first, chains, (out) + first);            \
        else if (vectors == 3) function(3, before, (matrix) + first, chains, (out) + first);       \
        else if (vectors == 2) function(2, before, (matrix) + first, chains, (out) + first);       \
        else function(1, before, (matrix) + first, chains, (out) + first);                         \
    }

/* Add the best way to each tag. */
TARGET static void NAME(step_best)(const rnn_chains *chains, const float *outer,
                                   const float *inner, const float *restrict before,
                                   float *restrict current) {
    const ptrdiff_t n = chains->labels;
    FOR_VECTORS(NAME(max_plus), LANES, before + 2 * n, outer, chains, current + n);
    for (int part = 0; part < 2; part++, inner += 2 * n) {
        float *to = current + part * (n + chains->outer);
        for (ptrdiff_t y = 0; y < n; y++) {
            const float i = before[y] + inner[y], b = before[n + y] + inner[n + y];
            to[y] += i > b ? i : b;
        }
    }
}

/* Find the best tag before another, or the best one if that is negative. */
TARGET static ptrdiff_t NAME(trace)(const rnn_chains *chains, const float *turned,
                                    const float *inner, const float *scores, ptrdiff_t tag) {
    const ptrdiff_t n = chains->labels;
    if (tag >= 0 && (tag < n || tag >= n + chains->outer)) {
        const ptrdiff_t label = tag < n ? tag : tag - n - chains->outer;
        if (tag >= n) inner += 2 * n;
        const float i = scores[label] + inner[label];
        return i > scores[n + label] + inner[n + label] ? label : n + label;
    }
    const float *to_tag = tag < 0 ? NULL : turned + (tag - n) * chains->outer;
    const ptrdiff_t first = tag < 0 ? 0 : 2 * n, size = 2 * n + chains->outer - first;
    ptrdiff_t chosen = 0;
    float highest = -INFINITY;
    for (ptrdiff_t i = 0; i < size; i++) {
        const float score = scores[first + i] + (to_tag == NULL ? 0.0f : to_tag[i]);
        if (score > highest) {
            highest = score;
            chosen = i;
        }
    }
    return first + chosen;
}

TARGET static void NAME(find_best)(const rnn_chains *chains, const float *outer,
                                   const float *turned, const float *inner, float *best,
                                   int64_t *tags) {
    const ptrdiff_t n = chains->labels, width = 2 * n + chains->outer;
    for (ptrdiff_t row = 0; row < count_chains(chains); row++) {
        ptrdiff_t step = 0;
        const float *before = NULL;
        for (; has_step(chains, row, step); step++) {
            float *current = best + (chains->starts[step] + row) * width;
            if (before != NULL) NAME(step_best)(chains, outer, inner, before, current);
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
            tag = NAME(trace)(chains, turned, inner, best + place * width, tag);
            /* Without the padding */
            tags[place] = tag < n + chains->outer ? tag : tag - chains->outer + 2 * n + 1;
        }
    }
}

TARGET static void NAME(sum_forward)(const rnn_chains *chains, const double *outer,
                                     const double *inner, double *sums, double *scales) {
    const ptrdiff_t n = chains->labels, width = 2 * n + chains->outer;
    for (ptrdiff_t row = 0; row < count_chains(chains); row++) {
        const double *before = NULL;
        for (ptrdiff_t step = 0; has_step(chains, row, step); step++) {
            const ptrdiff_t place = chains->starts[step] + row;
            double *restrict current = sums + place * width, scale = 0.0;
            if (before != NULL) {
                FOR_VECTORS(NAME(sum_product), LANES / 2, before + 2 * n, outer, chains,
                            current + n);
                for (int part = 0; part < 2; part++) {
                    const double *factors = inner + part * 2 * n;
                    double *to = current + part * (n + chains->outer);
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

TARGET static void NAME(sum_backward)(const rnn_chains *chains, const double *turned,
                                      const double *inner, double *weights, double *sums) {
    const ptrdiff_t n = chains->labels, width = 2 * n + chains->outer;
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
            FOR_VECTORS(NAME(sum_product), LANES / 2, weighted + n, turned, chains,
                        current + 2 * n);
            const double *last = weighted + n + chains->outer;
            for (ptrdiff_t i = 0; i < 2 * n; i++) {
                const ptrdiff_t y = i < n ? i : i - n;
                current[i] = weighted[y] * inner[i] + last[y] * inner[2 * n + i];
            }
        }
    }
}

#undef FOR_VECTORS
