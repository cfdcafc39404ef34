/* The kernels of kernels.h for one instruction set. No include guard: kernels.c includes this once
 * for each, with
 *   NAME(x)  the name of x in this instruction set
 *   TARGET   the attribute that allows its instructions
 *   LANES    how many numbers a vector register holds
 *   ROWS     how many rows a tile has: the registers hold 4 sums for each, and what is added
 *   HALF     if the factors of products are rounded to bfloat16, two of them in each 32 bits; then
 *            only recurrent layers are defined
 *
 * All products go through `accumulate`: the sums of a tile stay in registers while the weights
 * stream by. A row is summed up in the same order whatever is beside it, so that the result for a
 * sequence is the same to the bit in every batch. */

typedef float NAME(vec) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef double NAME(dvec) __attribute__((vector_size(4 * LANES), aligned(8), may_alias));
typedef int32_t NAME(ints) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define VEC NAME(vec)
#define INTS NAME(ints)
#define DVEC NAME(dvec)
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE VEC NAME(load)(const float *from) { return *(const VEC *)from; }

INLINE void NAME(store)(float *to, VEC x) { *(VEC *)to = x; }

/* What products are made of: FACTORS numbers each. */
#ifdef HALF
#define FACTORS 2
typedef uint32_t NAME(word);
typedef INTS NAME(words);

/* sum[i] + x[0] * weights[i][0] + x[1] * weights[i][1] */
INLINE VEC NAME(add_product)(VEC sum, uint32_t x, INTS weights) {
    return (VEC)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32((int)x),
                                 (__m512bh)weights);
}

/* A row as words, which are made in the room. */
INLINE const uint32_t *NAME(to_words)(const float *row, ptrdiff_t size, uint32_t *room) {
    for (ptrdiff_t k = 0; k < size; k += LANES) {
        const ptrdiff_t rest = size - k;
        const __mmask16 mask = rest < LANES ? (__mmask16)((1u << rest) - 1) : (__mmask16)0xFFFF;
        const __m256bh halves = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, row + k));
        _mm256_storeu_si256((__m256i *)(room + k / 2), (__m256i)halves);
    }
    return room;
}
#else
#define FACTORS 1
typedef float NAME(word);
typedef VEC NAME(words);

INLINE VEC NAME(add_product)(VEC sum, float x, VEC weights) { return sum + x * weights; }

/* Numbers are words as they are. */
INLINE const float *NAME(to_words)(const float *row, ptrdiff_t size, float *room) {
    (void)size, (void)room;
    return row;
}
#endif
#define WORD NAME(word)

/* How many words a row of numbers is, and for how many there must be room to make them. */
INLINE ptrdiff_t NAME(count_words)(ptrdiff_t size) { return (size + FACTORS - 1) / FACTORS; }

INLINE ptrdiff_t NAME(count_room)(ptrdiff_t size) {
    return FACTORS == 1 ? 0 : (size + LANES - 1) / LANES * LANES / FACTORS;
}

/* exp(x) for |x| <= 80, as 2^n times a polynomial of the rest (Cephes, expf): off by 2e-7 of it. */
INLINE VEC NAME(exp)(VEC x) {
    /* 1.5 * 2^23: what is added to it is rounded to whole numbers, in the last bits. */
    const float shift = 12582912.0f;
    VEC shifted = x * 1.44269504088896341f + shift;
    VEC n = shifted - shift;
    VEC r = x - n * 0.693359375f + n * 2.12194440e-4f;
    VEC p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + (r + 1.0f);
    return (VEC)((INTS)p + ((INTS)shifted << 23));
}

INLINE VEC NAME(select)(INTS condition, VEC x, VEC y) {
    return (VEC)((condition & (INTS)x) | (~condition & (INTS)y));
}

INLINE VEC NAME(clamp)(VEC x, float limit) {
    const VEC high = (VEC){0} + limit, low = (VEC){0} - limit;
    x = NAME(select)(x > high, high, x);
    return NAME(select)(x < low, low, x);
}

/* Beyond what they are clamped to, both are at their limits in single precision. */
INLINE VEC NAME(sigmoid)(VEC x) { return 1.0f / (1.0f + NAME(exp)(NAME(clamp)(-x, 80.0f))); }

INLINE VEC NAME(tanh)(VEC x) {
    VEC e = NAME(exp)(NAME(clamp)(x, 20.0f) * 2.0f);
    return (e - 1.0f) / (e + 1.0f);
}

/* sums[r][g] += rows[r] times the weights of gate g, where rows have `size` words. */
INLINE void NAME(accumulate_tile)(VEC sums[ROWS][4], const WORD *const rows[ROWS],
                                  const float *weights, ptrdiff_t size, const int n_rows,
                                  const int gates) {
    VEC sum[ROWS][4];
    UNROLL for (int r = 0; r < n_rows; r++)
        UNROLL for (int g = 0; g < gates; g++) sum[r][g] = sums[r][g];
    for (ptrdiff_t k = 0; k < size; k++) {
        NAME(words) weight[4];
        UNROLL for (int g = 0; g < gates; g++)
            weight[g] = *(const NAME(words) *)(weights + g * LANES);
        UNROLL for (int r = 0; r < n_rows; r++) {
            const WORD x = rows[r][k];
            UNROLL for (int g = 0; g < gates; g++)
                sum[r][g] = NAME(add_product)(sum[r][g], x, weight[g]);
        }
        weights += gates * LANES;
    }
    UNROLL for (int r = 0; r < n_rows; r++)
        UNROLL for (int g = 0; g < gates; g++) sums[r][g] = sum[r][g];
}

/* Functions of their own, one for each number of rows: sums that share registers with what is
 * done to them afterwards would end in memory. */
#define DEFINE_ACCUMULATE(n_rows, gates)                                                           \
    TARGET static __attribute__((noinline)) void NAME(accumulate_##n_rows##_##gates)(              \
        VEC sums[ROWS][4], const WORD *const rows[ROWS], const float *weights, ptrdiff_t size) {   \
        NAME(accumulate_tile)(sums, rows, weights, size, n_rows, gates);                           \
    }
DEFINE_ACCUMULATE(1, 1)
DEFINE_ACCUMULATE(2, 1)
DEFINE_ACCUMULATE(1, 3)
DEFINE_ACCUMULATE(2, 3)
DEFINE_ACCUMULATE(1, 4)
DEFINE_ACCUMULATE(2, 4)
#if ROWS == 6
DEFINE_ACCUMULATE(3, 1)
DEFINE_ACCUMULATE(4, 1)
DEFINE_ACCUMULATE(5, 1)
DEFINE_ACCUMULATE(6, 1)
DEFINE_ACCUMULATE(3, 3)
DEFINE_ACCUMULATE(4, 3)
DEFINE_ACCUMULATE(5, 3)
DEFINE_ACCUMULATE(6, 3)
DEFINE_ACCUMULATE(3, 4)
DEFINE_ACCUMULATE(4, 4)
DEFINE_ACCUMULATE(5, 4)
DEFINE_ACCUMULATE(6, 4)
#endif

typedef void (*NAME(accumulate))(VEC[ROWS][4], const WORD *const[ROWS], const float *, ptrdiff_t);

static const NAME(accumulate) NAME(accumulate_1)[ROWS] = {
    NAME(accumulate_1_1), NAME(accumulate_2_1),
#if ROWS == 6
    NAME(accumulate_3_1), NAME(accumulate_4_1), NAME(accumulate_5_1), NAME(accumulate_6_1),
#endif
};
static const NAME(accumulate) NAME(accumulate_3)[ROWS] = {
    NAME(accumulate_1_3), NAME(accumulate_2_3),
#if ROWS == 6
    NAME(accumulate_3_3), NAME(accumulate_4_3), NAME(accumulate_5_3), NAME(accumulate_6_3),
#endif
};
static const NAME(accumulate) NAME(accumulate_4)[ROWS] = {
    NAME(accumulate_1_4), NAME(accumulate_2_4),
#if ROWS == 6
    NAME(accumulate_3_4), NAME(accumulate_4_4), NAME(accumulate_5_4), NAME(accumulate_6_4),
#endif
};

static ptrdiff_t NAME(count_blocks)(const rnn_layer *layer) {
    return (layer->hidden + LANES - 1) / LANES;
}

/* Project n rows wherever they are, at most CHUNK_TOKENS. There is room for as many in words. */
TARGET static void NAME(project_rows)(const rnn_layer *layer, const float *const *rows, ptrdiff_t n,
                                      WORD *room, float *out) {
    const ptrdiff_t gates = layer->cell, blocks = NAME(count_blocks)(layer);
    const ptrdiff_t size = NAME(count_words)(layer->nI);
    const NAME(accumulate) *accumulate = gates == LINEAR ? NAME(accumulate_1)
                                         : gates == GRU  ? NAME(accumulate_3)
                                                         : NAME(accumulate_4);
    const WORD *words[CHUNK_TOKENS];
    for (ptrdiff_t i = 0; i < n; i++)
        words[i] = NAME(to_words)(rows[i], layer->nI, room + i * NAME(count_room)(layer->nI));
    for (ptrdiff_t block = 0; block < blocks; block++) {
        const ptrdiff_t offset = block * gates * LANES;
        const float *bias = layer->bias + offset;
        const float *weights = layer->input_weights + offset * size;
        for (ptrdiff_t i = 0; i < n; i += ROWS) {
            const ptrdiff_t n_rows = n - i < ROWS ? n - i : ROWS;
            VEC sums[ROWS][4];
            for (ptrdiff_t r = 0; r < n_rows; r++)
                for (ptrdiff_t g = 0; g < gates; g++) sums[r][g] = NAME(load)(bias + g * LANES);
            accumulate[n_rows - 1](sums, words + i, weights, size);
            for (ptrdiff_t r = 0; r < n_rows; r++)
                for (ptrdiff_t g = 0; g < gates; g++)
                    NAME(store)(out + (i + r) * blocks * gates * LANES + offset + g * LANES,
                                sums[r][g]);
        }
    }
}

TARGET static int NAME(project)(const rnn_layer *layer, const float *X, ptrdiff_t x_stride,
                                ptrdiff_t n, float *out) {
    const ptrdiff_t width = NAME(count_blocks)(layer) * layer->cell * LANES;
    const ptrdiff_t n_words = CHUNK_TOKENS * NAME(count_room)(layer->nI);
    const float *rows[CHUNK_TOKENS];
    WORD *room = NULL;
    if (posix_memalign((void **)&room, 64, (size_t)(n_words + 1) * sizeof(WORD)) != 0) return -1;
    for (ptrdiff_t i = 0; i < n; i += CHUNK_TOKENS) {
        const ptrdiff_t size = n - i < CHUNK_TOKENS ? n - i : CHUNK_TOKENS;
        for (ptrdiff_t k = 0; k < size; k++) rows[k] = X + (i + k) * x_stride;
        NAME(project_rows)(layer, rows, size, room, out + i * width);
    }
    free(room);
    return 0;
}

/* What a tile of sequences needs for one time step. */
typedef struct {
    const float *gates[ROWS]; /* What `project` made */
    const float *before[ROWS]; /* The hidden states before, NULL where there are none */
    const WORD *factors[ROWS]; /* The same as words */
    float *hidden[ROWS];
    float *cells[ROWS]; /* Before the step, and after it */
    float *saved[ROWS]; /* Where to put what the way back needs, or NULL */
    float *saved_cells[ROWS];
} NAME(tile);

TARGET static void NAME(lstm_tile)(const rnn_layer *layer, const NAME(tile) * tile,
                                   ptrdiff_t n_rows, ptrdiff_t block) {
    const ptrdiff_t offset = block * LSTM * LANES, unit = block * LANES;
    const ptrdiff_t size = NAME(count_words)(layer->hidden);
    VEC sums[ROWS][4];
    for (ptrdiff_t r = 0; r < n_rows; r++)
        for (int g = 0; g < LSTM; g++)
            sums[r][g] = NAME(load)(tile->gates[r] + offset + g * LANES);
    if (tile->before[0] != NULL)
        NAME(accumulate_4)[n_rows - 1](sums, tile->factors,
                                       layer->recurrent_weights + offset * size, size);
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        const VEC i = NAME(sigmoid)(sums[r][0]), f = NAME(sigmoid)(sums[r][1]);
        const VEC g = NAME(tanh)(sums[r][2]), o = NAME(sigmoid)(sums[r][3]);
        const VEC c = f * NAME(load)(tile->cells[r] + unit) + i * g;
        NAME(store)(tile->cells[r] + unit, c);
        NAME(store)(tile->hidden[r] + unit, o * NAME(tanh)(c));
        if (tile->saved[r] != NULL) {
            float *saved = tile->saved[r] + offset;
            NAME(store)(saved, i);
            NAME(store)(saved + LANES, f);
            NAME(store)(saved + 2 * LANES, g);
            NAME(store)(saved + 3 * LANES, o);
            NAME(store)(tile->saved_cells[r] + unit, c);
        }
    }
}

/* h = n + z (h' - n), n = tanh(x + r (h' U + b)), in the order r, z, n. */
TARGET static void NAME(gru_tile)(const rnn_layer *layer, const NAME(tile) * tile, ptrdiff_t n_rows,
                                  ptrdiff_t block) {
    const ptrdiff_t offset = block * GRU * LANES, unit = block * LANES;
    const ptrdiff_t size = NAME(count_words)(layer->hidden);
    VEC sums[ROWS][4];
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        sums[r][0] = NAME(load)(tile->gates[r] + offset);
        sums[r][1] = NAME(load)(tile->gates[r] + offset + LANES);
        sums[r][2] = NAME(load)(layer->inner_bias + unit);
    }
    if (tile->before[0] != NULL)
        NAME(accumulate_3)[n_rows - 1](sums, tile->factors,
                                       layer->recurrent_weights + offset * size, size);
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        const VEC reset = NAME(sigmoid)(sums[r][0]), z = NAME(sigmoid)(sums[r][1]);
        const VEC x = NAME(load)(tile->gates[r] + offset + 2 * LANES);
        const VEC n = NAME(tanh)(x + reset * sums[r][2]);
        const VEC h = tile->before[r] == NULL ? (VEC){0} : NAME(load)(tile->before[r] + unit);
        NAME(store)(tile->hidden[r] + unit, n + z * (h - n));
        if (tile->saved[r] != NULL) {
            float *saved = tile->saved[r] + block * RNN_SAVED * LANES;
            NAME(store)(saved, reset);
            NAME(store)(saved + LANES, z);
            NAME(store)(saved + 2 * LANES, n);
            NAME(store)(saved + 3 * LANES, sums[r][2]);
            NAME(store)(tile->saved_cells[r] + unit, h);
        }
    }
}

/* Run the layer over a group of sequences. */
TARGET static int NAME(forward_group)(const rnn_layer *layer, const rnn_sequences *sequences,
                                      const float *X, ptrdiff_t x_stride, const float *gates,
                                      const int64_t *index, float *Y, ptrdiff_t y_stride,
                                      int residual, float *saved, float *cells) {
    const ptrdiff_t n = sequences->n, blocks = NAME(count_blocks)(layer), units = blocks * LANES;
    const ptrdiff_t width = units * layer->cell;
    const ptrdiff_t chunk = gates == NULL ? CHUNK_TOKENS : 0;
    const ptrdiff_t room_of_state = NAME(count_room)(layer->hidden);
    const ptrdiff_t n_words = ROWS * room_of_state + chunk * NAME(count_room)(layer->nI);
    const float *rows[CHUNK_TOKENS];
    float *memory = NULL;
    /* A word takes as much memory as a number. */
    const size_t size = (size_t)(3 * n * units + chunk * width + n_words) * sizeof(float);
    if (posix_memalign((void **)&memory, 64, size) != 0) return -1;
    float *before = memory, *after = before + n * units, *cell = after + n * units;
    float *projected = cell + n * units;
    WORD *factors = (WORD *)(projected + chunk * width);
    WORD *room = factors + ROWS * room_of_state;
    memset(cell, 0, (size_t)(n * units) * sizeof(float));
    for (ptrdiff_t r = 0; r < n && sequences->state != NULL; r++) {
        const float *state = sequences->state + r * sequences->state_stride;
        memcpy(before + r * units, state, (size_t)units * sizeof(float));
        memcpy(cell + r * units, state + units, (size_t)units * sizeof(float));
    }
    ptrdiff_t chunk_end = 0, done_in_chunk = 0, n_rows = n;
    for (ptrdiff_t step = 0; step < sequences->lengths[0]; step++) {
        n_rows = count_rows(sequences, step, n_rows);
        if (gates == NULL && step == chunk_end) {
            /* As many steps as there is room for, at least one. */
            ptrdiff_t n_tokens = 0, next = n_rows;
            do {
                for (ptrdiff_t r = 0; r < next; r++)
                    rows[n_tokens++] = X + get_token(sequences, r, chunk_end) * x_stride;
                next = count_rows(sequences, ++chunk_end, next);
            } while (next > 0 && n_tokens + next <= chunk);
            NAME(project_rows)(layer, rows, n_tokens, room, projected);
            done_in_chunk = 0;
        }
        for (ptrdiff_t row = 0; row < n_rows; row += ROWS) {
            const ptrdiff_t in_tile = n_rows - row < ROWS ? n_rows - row : ROWS;
            NAME(tile) tile;
            for (ptrdiff_t r = 0; r < in_tile; r++) {
                const ptrdiff_t token = get_token(sequences, row + r, step);
                const ptrdiff_t place = (row + r) * units;
                tile.gates[r] = gates == NULL ? projected + (done_in_chunk + row + r) * width
                                              : gates + (index ? index[token] : token) * width;
                tile.before[r] = step == 0 && sequences->state == NULL ? NULL : before + place;
                tile.factors[r] =
                    tile.before[r] == NULL
                        ? NULL
                        : NAME(to_words)(before + place, layer->hidden, factors + r * room_of_state);
                tile.hidden[r] = after + place;
                tile.cells[r] = cell + place;
                tile.saved[r] = saved == NULL ? NULL : saved + token * units * RNN_SAVED;
                tile.saved_cells[r] = saved == NULL ? NULL : cells + token * units;
            }
            for (ptrdiff_t block = 0; block < blocks; block++) {
                if (layer->cell == LSTM)
                    NAME(lstm_tile)(layer, &tile, in_tile, block);
                else
                    NAME(gru_tile)(layer, &tile, in_tile, block);
            }
        }
        for (ptrdiff_t r = 0; r < n_rows; r++) {
            const ptrdiff_t token = get_token(sequences, r, step);
            const float *from = after + r * units;
            float *to = Y + token * y_stride;
            memcpy(to, from, (size_t)layer->hidden * sizeof(float));
            for (ptrdiff_t k = 0; residual && k < layer->hidden; k++)
                to[k] += X[token * x_stride + k];
        }
        float *swapped = before;
        before = after;
        after = swapped;
        done_in_chunk += n_rows;
    }
    free(memory);
    return 0;
}

TARGET static int NAME(forward)(const rnn_layer *layer, const rnn_sequences *sequences,
                                const float *X, ptrdiff_t x_stride, const float *gates,
                                const int64_t *index, float *Y, ptrdiff_t y_stride, int residual,
                                float *saved, float *cells) {
    for (ptrdiff_t first = 0; first < sequences->n; first += GROUP_ROWS) {
        const rnn_sequences group = get_group(sequences, first);
        if (NAME(forward_group)(layer, &group, X, x_stride, gates, index, Y, y_stride, residual,
                                saved, cells) != 0)
            return -1;
    }
    return 0;
}

/* What a tile of sequences needs for one time step backwards. */
typedef struct {
    const float *grad[ROWS]; /* Of the hidden states, from above */
    const WORD *later[ROWS]; /* Of the gates of the step after, NULL where there is none */
    const float *saved[ROWS];
    const float *cells[ROWS];
    const float *cells_before[ROWS]; /* NULL at the first step */
    float *carried[ROWS]; /* The part of the state's gradient that is no product with weights */
    float *d_gates[ROWS];
} NAME(tile_back);

/* One block's gradients of row r of a tile. */
INLINE void NAME(lstm_back)(const NAME(tile_back) * tile, ptrdiff_t r, ptrdiff_t unit, VEC dh) {
    const float *saved = tile->saved[r] + unit * RNN_SAVED;
    const VEC i = NAME(load)(saved), f = NAME(load)(saved + LANES);
    const VEC g = NAME(load)(saved + 2 * LANES), o = NAME(load)(saved + 3 * LANES);
    const VEC squashed = NAME(tanh)(NAME(load)(tile->cells[r] + unit));
    const float *before = tile->cells_before[r];
    const VEC c = before == NULL ? (VEC){0} : NAME(load)(before + unit);
    const VEC dc = NAME(load)(tile->carried[r] + unit) + dh * o * (1.0f - squashed * squashed);
    NAME(store)(tile->carried[r] + unit, dc * f);
    float *d_gates = tile->d_gates[r] + unit * LSTM;
    NAME(store)(d_gates, dc * g * i * (1.0f - i));
    NAME(store)(d_gates + LANES, dc * c * f * (1.0f - f));
    NAME(store)(d_gates + 2 * LANES, dc * i * (1.0f - g * g));
    NAME(store)(d_gates + 3 * LANES, dh * squashed * o * (1.0f - o));
}

INLINE void NAME(gru_back)(const NAME(tile_back) * tile, ptrdiff_t r, ptrdiff_t unit, VEC dh,
                           ptrdiff_t units) {
    const float *saved = tile->saved[r] + unit * RNN_SAVED;
    const VEC reset = NAME(load)(saved), z = NAME(load)(saved + LANES);
    const VEC n = NAME(load)(saved + 2 * LANES), inner = NAME(load)(saved + 3 * LANES);
    const VEC before = NAME(load)(tile->cells[r] + unit);
    dh += NAME(load)(tile->carried[r] + unit);
    const VEC dn = dh * (1.0f - z) * (1.0f - n * n);
    NAME(store)(tile->carried[r] + unit, dh * z);
    float *d_gates = tile->d_gates[r] + unit * GRU;
    NAME(store)(d_gates, dn * inner * reset * (1.0f - reset));
    NAME(store)(d_gates + LANES, dh * (before - n) * z * (1.0f - z));
    NAME(store)(d_gates + 2 * LANES, dn * reset);
    NAME(store)(tile->d_gates[r] + units * GRU + unit, dn);
}

/* Four blocks of units. */
TARGET static void NAME(tile_back_group)(const rnn_layer *layer, const NAME(tile_back) * tile,
                                         const float *weights, ptrdiff_t n_rows, ptrdiff_t group) {
    const ptrdiff_t blocks = NAME(count_blocks)(layer);
    const ptrdiff_t size = NAME(count_words)(blocks * layer->cell * LANES);
    VEC sums[ROWS][4];
    for (ptrdiff_t r = 0; r < n_rows; r++)
        for (int v = 0; v < 4; v++)
            sums[r][v] = NAME(load)(tile->grad[r] + (4 * group + v) * LANES);
    if (tile->later[0] != NULL)
        NAME(accumulate_4)[n_rows - 1](sums, tile->later, weights + group * size * 4 * LANES, size);
    for (ptrdiff_t r = 0; r < n_rows; r++)
        for (int v = 0; v < 4 && 4 * group + v < blocks; v++) {
            const ptrdiff_t unit = (4 * group + v) * LANES;
            if (layer->cell == LSTM)
                NAME(lstm_back)(tile, r, unit, sums[r][v]);
            else
                NAME(gru_back)(tile, r, unit, sums[r][v], blocks * LANES);
        }
}

/* Run the layer backwards over a group of sequences. */
TARGET static int NAME(backward_group)(const rnn_layer *layer, const rnn_sequences *sequences,
                                       const float *dY, ptrdiff_t dy_stride, const float *saved,
                                       const float *cells, const float *weights, float *d_gates) {
    const ptrdiff_t n = sequences->n, blocks = NAME(count_blocks)(layer), units = blocks * LANES;
    const ptrdiff_t width = units * RNN_SAVED, groups = (blocks + 3) / 4;
    const ptrdiff_t padded = groups * 4 * LANES, n_factors = units * layer->cell;
    const ptrdiff_t room_of_gates = NAME(count_room)(n_factors);
    float *memory = NULL;
    const size_t size = (size_t)(n * (padded + units) + ROWS * room_of_gates) * sizeof(float);
    if (posix_memalign((void **)&memory, 64, size) != 0) return -1;
    float *grad = memory, *carried = grad + n * padded;
    WORD *factors = (WORD *)(carried + n * units);
    memset(memory, 0, size);
    ptrdiff_t n_later = 0;
    for (ptrdiff_t step = sequences->lengths[0] - 1; step >= 0; step--) {
        ptrdiff_t n_rows = n_later;
        while (n_rows < n && sequences->lengths[n_rows] > step) n_rows++;
        for (ptrdiff_t r = 0; r < n_rows; r++)
            memcpy(grad + r * padded, dY + get_token(sequences, r, step) * dy_stride,
                   (size_t)layer->hidden * sizeof(float));
        for (ptrdiff_t row = 0; row < n_rows;) {
            /* Sequences that end here have nothing to come from: tiles of their own. */
            const ptrdiff_t end = row < n_later ? n_later : n_rows;
            const ptrdiff_t in_tile = end - row < ROWS ? end - row : ROWS;
            NAME(tile_back) tile;
            for (ptrdiff_t r = 0; r < in_tile; r++) {
                const ptrdiff_t token = get_token(sequences, row + r, step);
                const ptrdiff_t stride = sequences->reverse ? -sequences->stride : sequences->stride;
                tile.grad[r] = grad + (row + r) * padded;
                tile.later[r] = row < n_later
                                    ? NAME(to_words)(d_gates + (token + stride) * width, n_factors,
                                                     factors + r * room_of_gates)
                                    : NULL;
                tile.saved[r] = saved + token * width;
                tile.cells[r] = cells + token * units;
                tile.cells_before[r] = NULL;
                if (step > 0)
                    tile.cells_before[r] = cells + (token - stride) * units;
                else if (sequences->state != NULL)
                    tile.cells_before[r] =
                        sequences->state + (row + r) * sequences->state_stride + units;
                tile.carried[r] = carried + (row + r) * units;
                tile.d_gates[r] = d_gates + token * width;
            }
            for (ptrdiff_t group = 0; group < groups; group++)
                NAME(tile_back_group)(layer, &tile, weights, in_tile, group);
            row += in_tile;
        }
        n_later = n_rows;
    }
    free(memory);
    return 0;
}

TARGET static int NAME(backward)(const rnn_layer *layer, const rnn_sequences *sequences,
                                 const float *dY, ptrdiff_t dy_stride, const float *saved,
                                 const float *cells, const float *weights, float *d_gates) {
    for (ptrdiff_t first = 0; first < sequences->n; first += GROUP_ROWS) {
        const rnn_sequences group = get_group(sequences, first);
        if (NAME(backward_group)(layer, &group, dY, dy_stride, saved, cells, weights, d_gates) != 0)
            return -1;
    }
    return 0;
}

#ifndef HALF

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

#include "softmax.h"

#endif

static const rnn_kernels NAME(kernels) = {
    .name = INSTRUCTIONS,
    .lanes = LANES,
    .project = NAME(project),
    .forward = NAME(forward),
    .backward = NAME(backward),
#ifndef HALF
    .find_best = NAME(find_best),
    .sum_forward = NAME(sum_forward),
    .sum_backward = NAME(sum_backward),
    .pick = NAME(pick),
    .pick_back = NAME(pick_back),
#endif
};

#undef NAME
#undef INSTRUCTIONS
#undef TARGET
#undef LANES
#undef ROWS
#undef HALF
#undef FACTORS
#undef WORD
#undef VEC
#undef INTS
#undef DVEC
#undef INLINE
#undef DEFINE_ACCUMULATE
#undef FOR_VECTORS
