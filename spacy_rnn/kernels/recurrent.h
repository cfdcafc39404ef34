/* Recurrent layers and linear ones. All products go through `accumulate`: the sums of a tile stay in
 * registers while the weights stream by. A row is summed up in the same order whatever is beside it,
 * so that the result for a sequence is the same to the bit in every batch. */

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
#undef DEFINE_ACCUMULATE
