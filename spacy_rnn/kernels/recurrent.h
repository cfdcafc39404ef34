/* Recurrent layers and linear ones. All products go through `accumulate`: the sums of a tile stay in
 * registers while the weights stream by. A row is summed up in the same order whatever is beside it,
 * so that the result for a sequence is the same to the bit in every batch. */

/* sums[r][g] += rows[r] times the weights of gate g, where rows have `size` words. */
#ifdef INT8
INLINE void NAME(accumulate_tile)(VEC sums[ROWS][4], const WORD *const rows[ROWS],
                                  const float *weights, ptrdiff_t size, const int n_rows,
                                  const int gates) {
    INTS sum[ROWS][4];
    const VEC *scales = (const VEC *)weights;
    UNROLL for (int r = 0; r < n_rows; r++)
        UNROLL for (int g = 0; g < gates; g++) sum[r][g] = ((const INTS *)scales)[gates + g];
    for (ptrdiff_t k = 2; k < size; k++) {
        const INTS *weight = (const INTS *)(weights + k * gates * LANES);
        UNROLL for (int r = 0; r < n_rows; r++) {
            const WORD x = rows[r][k];
            UNROLL for (int g = 0; g < gates; g++)
                sum[r][g] = NAME(add_product)(sum[r][g], x, weight[g]);
        }
    }
    UNROLL for (int r = 0; r < n_rows; r++) {
        float scale;
        memcpy(&scale, rows[r], sizeof(scale));
        UNROLL for (int g = 0; g < gates; g++)
            sums[r][g] += __builtin_convertvector(sum[r][g], VEC) * (scales[g] * scale);
    }
}
#else
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
#endif

/* Functions of their own, one for each number of rows: sums that share registers with what is
 * done to them afterwards would end in memory. */
#define DEFINE_ACCUMULATE(n_rows, gates)                                                           \
    TARGET static __attribute__((noinline)) void NAME(accumulate_##n_rows##_##gates)(              \
        VEC sums[ROWS][4], const WORD *const rows[ROWS], const float *weights, ptrdiff_t size) {   \
        NAME(accumulate_tile)(sums, rows, weights, size, n_rows, gates);                           \
    }
DEFINE_ACCUMULATE(1, 3)
DEFINE_ACCUMULATE(2, 3)
DEFINE_ACCUMULATE(1, 4)
DEFINE_ACCUMULATE(2, 4)
#if ROWS == 6
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

static ptrdiff_t NAME(count_tiles)(const rnn_layer *layer) {
    const ptrdiff_t size = BLOCKS(rnn_cells[layer->cell].gates) * LANES;
    return (layer->hidden + size - 1) / size;
}

/* Memory for numbers, aligned for vectors; NULL where there is none. */
static float *NAME(allocate)(ptrdiff_t n) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, (size_t)(n + 1) * sizeof(float)) == 0 ? memory : NULL;
}

INLINE void NAME(project_tiles)(const int vectors, const rnn_layer *layer, const WORD *const *words,
                                ptrdiff_t n, float *out) {
    const ptrdiff_t tiles = NAME(count_tiles)(layer), size = NAME(count_words)(layer->nI);
    const NAME(accumulate) *accumulate = vectors == 3 ? NAME(accumulate_3) : NAME(accumulate_4);
    for (ptrdiff_t tile = 0; tile < tiles; tile++) {
        const ptrdiff_t offset = tile * vectors * LANES;
        const float *bias = layer->bias + offset;
        const float *weights = layer->input_weights + offset * size;
        for (ptrdiff_t i = 0; i < n; i += ROWS) {
            const ptrdiff_t n_rows = n - i < ROWS ? n - i : ROWS;
            VEC sums[ROWS][4];
            for (ptrdiff_t r = 0; r < n_rows; r++)
                UNROLL for (int v = 0; v < vectors; v++)
                    sums[r][v] = NAME(load)(bias + v * LANES);
            accumulate[n_rows - 1](sums, words + i, weights, size);
            for (ptrdiff_t r = 0; r < n_rows; r++)
                UNROLL for (int v = 0; v < vectors; v++)
                    NAME(store)(out + ((i + r) * tiles + tile) * vectors * LANES + v * LANES,
                                sums[r][v]);
        }
    }
}

/* Project n rows wherever they are, at most CHUNK_TOKENS. There is room for as many in words. */
TARGET static void NAME(project_rows)(const rnn_layer *layer, const float *const *rows, ptrdiff_t n,
                                      WORD *room, float *out) {
    const WORD *words[CHUNK_TOKENS];
    for (ptrdiff_t i = 0; i < n; i++)
        words[i] = NAME(to_words)(rows[i], layer->nI, room + i * NAME(count_room)(layer->nI));
    if (VECTORS(rnn_cells[layer->cell].gates) == 3)
        NAME(project_tiles)(3, layer, words, n, out);
    else
        NAME(project_tiles)(4, layer, words, n, out);
}

TARGET static int NAME(project)(const rnn_layer *layer, const float *X, ptrdiff_t x_stride,
                                ptrdiff_t n, float *out) {
    const ptrdiff_t width = NAME(count_tiles)(layer) * VECTORS(rnn_cells[layer->cell].gates) * LANES;
    const float *rows[CHUNK_TOKENS];
    float *room = NAME(allocate)(CHUNK_TOKENS * NAME(count_room)(layer->nI));
    if (room == NULL) return -1;
    for (ptrdiff_t i = 0; i < n; i += CHUNK_TOKENS) {
        const ptrdiff_t size = n - i < CHUNK_TOKENS ? n - i : CHUNK_TOKENS;
        for (ptrdiff_t k = 0; k < size; k++) rows[k] = X + (i + k) * x_stride;
        NAME(project_rows)(layer, rows, size, (WORD *)room, out + i * width);
    }
    free(room);
    return 0;
}

/* Some sequences at one time step. */
typedef struct {
    const float *gates[ROWS]; /* What `project` made */
    const float *before[ROWS]; /* The hidden states before, NULL where there are none */
    const WORD *factors[ROWS]; /* The same as words */
    float *hidden[ROWS];
    float *cells[ROWS]; /* Before the step, and after it */
    float *saved[ROWS]; /* Takes what `backward` needs, or NULL */
} NAME(step);

INLINE void NAME(forward_tile)(const int cell, const rnn_layer *layer, const NAME(step) * step,
                               ptrdiff_t n_rows, ptrdiff_t tile) {
    const rnn_cell kind = rnn_cells[cell];
    const int vectors = VECTORS(kind.gates), blocks = BLOCKS(kind.gates);
    const ptrdiff_t offset = tile * vectors * LANES, size = NAME(count_words)(layer->hidden);
    const VEC *extra = (const VEC *)(layer->extra + tile * blocks * kind.extra * LANES);
    VEC sums[ROWS][4];
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        for (int v = 0; v < vectors; v++)
            sums[r][v] = NAME(load)(step->gates[r] + offset + v * LANES);
        if (cell == GRU) sums[r][2] = extra[0];
    }
    if (step->before[0] != NULL) {
        const NAME(accumulate) *accumulate = vectors == 3 ? NAME(accumulate_3) : NAME(accumulate_4);
        accumulate[n_rows - 1](sums, step->factors, layer->recurrent_weights + offset * size, size);
    }
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        UNROLL for (int b = 0; b < blocks; b++) {
            const ptrdiff_t block = tile * blocks + b, unit = block * LANES;
            const VEC x = NAME(load)(step->gates[r] + offset + (vectors - 1) * LANES);
            const VEC h = step->before[r] == NULL ? (VEC){0} : NAME(load)(step->before[r] + unit);
            VEC c = kind.has_cell ? NAME(load)(step->cells[r] + unit) : (VEC){0}, saved[5];
            NAME(store)(step->hidden[r] + unit, NAME(forward_cell)(cell, sums[r] + b * kind.gates, x,
                                                                   extra, h, &c, saved));
            if (kind.has_cell) NAME(store)(step->cells[r] + unit, c);
            if (step->saved[r] == NULL) continue;
            UNROLL for (int k = 0; k < kind.saved; k++)
                NAME(store)(step->saved[r] + (block * kind.saved + k) * LANES, saved[k]);
        }
    }
}

/* Some sequences at one time step, backwards. */
typedef struct {
    const float *grad[ROWS]; /* Of the hidden states, from above */
    const WORD *later[ROWS]; /* Of the gates of the step after, NULL where there is none */
    const float *saved[ROWS];
    const float *cells[ROWS]; /* The cell states before, NULL where there are none */
    ptrdiff_t cells_stride; /* From one block of those to the next */
    float *carried[ROWS];
    float *d_gates[ROWS];
} NAME(step_back);

/* Four blocks of units. */
INLINE void NAME(backward_blocks)(const int cell, const rnn_layer *layer,
                                  const NAME(step_back) * step, const float *weights,
                                  ptrdiff_t n_rows, ptrdiff_t group) {
    const rnn_cell kind = rnn_cells[cell];
    const ptrdiff_t blocks = NAME(count_tiles)(layer) * BLOCKS(kind.gates);
    const ptrdiff_t size = NAME(count_words)(blocks * kind.gates * LANES);
    VEC sums[ROWS][4];
    for (ptrdiff_t r = 0; r < n_rows; r++)
        for (int v = 0; v < 4; v++)
            sums[r][v] = NAME(load)(step->grad[r] + (4 * group + v) * LANES);
    if (step->later[0] != NULL)
        NAME(accumulate_4)[n_rows - 1](sums, step->later, weights + group * size * 4 * LANES, size);
    for (ptrdiff_t r = 0; r < n_rows; r++)
        for (ptrdiff_t block = 4 * group; block < 4 * group + 4 && block < blocks; block++) {
            const VEC *saved = (const VEC *)(step->saved[r] + block * kind.saved * LANES);
            const VEC *extra = (const VEC *)(layer->extra + block * kind.extra * LANES);
            VEC carried = NAME(load)(step->carried[r] + block * LANES), c = {0}, grads[4];
            if (kind.has_cell && step->cells[r] != NULL)
                c = NAME(load)(step->cells[r] + block * step->cells_stride);
            NAME(backward_cell)(cell, sums[r][block - 4 * group], saved, extra, c, &carried, grads);
            NAME(store)(step->carried[r] + block * LANES, carried);
            UNROLL for (int g = 0; g < kind.gates; g++)
                NAME(store)(step->d_gates[r] + (block * kind.gates + g) * LANES, grads[g]);
            if (cell == GRU)
                NAME(store)(step->d_gates[r] + (blocks * kind.gates + block) * LANES, grads[3]);
        }
}

/* Functions for each cell, in which it is a constant. */
#define DEFINE_CELL(cell)                                                                          \
    TARGET static void NAME(forward_##cell)(const rnn_layer *layer, const NAME(step) * step,       \
                                            ptrdiff_t n_rows) {                                    \
        for (ptrdiff_t tile = 0; tile < NAME(count_tiles)(layer); tile++)                          \
            NAME(forward_tile)(cell, layer, step, n_rows, tile);                                   \
    }                                                                                              \
    TARGET static void NAME(backward_##cell)(const rnn_layer *layer, const NAME(step_back) * step, \
                                             const float *weights, ptrdiff_t n_rows,               \
                                             ptrdiff_t groups) {                                   \
        for (ptrdiff_t group = 0; group < groups; group++)                                         \
            NAME(backward_blocks)(cell, layer, step, weights, n_rows, group);                      \
    }
DEFINE_CELL(LSTM)
DEFINE_CELL(LSTM_PEEPHOLE)
DEFINE_CELL(LSTM_COUPLED)
DEFINE_CELL(GRU)
DEFINE_CELL(ELMAN)
DEFINE_CELL(IRNN)

static const struct {
    void (*forward)(const rnn_layer *, const NAME(step) *, ptrdiff_t);
    void (*backward)(const rnn_layer *, const NAME(step_back) *, const float *, ptrdiff_t, ptrdiff_t);
} NAME(cells)[N_CELLS] = {
    [LSTM] = {NAME(forward_LSTM), NAME(backward_LSTM)},
    [LSTM_PEEPHOLE] = {NAME(forward_LSTM_PEEPHOLE), NAME(backward_LSTM_PEEPHOLE)},
    [LSTM_COUPLED] = {NAME(forward_LSTM_COUPLED), NAME(backward_LSTM_COUPLED)},
    [GRU] = {NAME(forward_GRU), NAME(backward_GRU)},
    [ELMAN] = {NAME(forward_ELMAN), NAME(backward_ELMAN)},
    [IRNN] = {NAME(forward_IRNN), NAME(backward_IRNN)},
};

/* Run the layer over a group of sequences. */
TARGET static int NAME(forward_group)(const rnn_layer *layer, const rnn_sequences *sequences,
                                      const rnn_forward *io) {
    const rnn_cell kind = rnn_cells[layer->cell];
    const ptrdiff_t n = sequences->n;
    const ptrdiff_t units = NAME(count_tiles)(layer) * BLOCKS(kind.gates) * LANES;
    const ptrdiff_t width = units * kind.gates, chunk = io->gates == NULL ? CHUNK_TOKENS : 0;
    const ptrdiff_t room_of_state = NAME(count_room)(layer->hidden);
    const ptrdiff_t n_words = ROWS * room_of_state + chunk * NAME(count_room)(layer->nI);
    const float *rows[CHUNK_TOKENS];
    /* A word takes as much memory as a number. */
    float *memory = NAME(allocate)(3 * n * units + chunk * width + n_words);
    if (memory == NULL) return -1;
    float *before = memory, *after = before + n * units, *cells = after + n * units;
    float *projected = cells + n * units;
    WORD *factors = (WORD *)(projected + chunk * width);
    WORD *room = factors + ROWS * room_of_state;
    memset(cells, 0, (size_t)(n * units) * sizeof(float));
    for (ptrdiff_t r = 0; r < n && sequences->state != NULL; r++) {
        const float *state = sequences->state + r * sequences->state_stride;
        memcpy(before + r * units, state, (size_t)units * sizeof(float));
        memcpy(cells + r * units, state + units, (size_t)units * sizeof(float));
    }
    ptrdiff_t chunk_end = 0, done_in_chunk = 0, n_rows = n;
    for (ptrdiff_t time = 0; time < sequences->lengths[0]; time++) {
        n_rows = count_rows(sequences, time, n_rows);
        if (io->gates == NULL && time == chunk_end) {
            /* As many steps as there is room for, at least one. */
            ptrdiff_t n_tokens = 0, next = n_rows;
            do {
                for (ptrdiff_t r = 0; r < next; r++)
                    rows[n_tokens++] = io->X + get_token(sequences, r, chunk_end) * io->x_stride;
                next = count_rows(sequences, ++chunk_end, next);
            } while (next > 0 && n_tokens + next <= chunk);
            NAME(project_rows)(layer, rows, n_tokens, room, projected);
            done_in_chunk = 0;
        }
        for (ptrdiff_t row = 0; row < n_rows; row += ROWS) {
            const ptrdiff_t in_step = n_rows - row < ROWS ? n_rows - row : ROWS;
            NAME(step) step;
            for (ptrdiff_t r = 0; r < in_step; r++) {
                const ptrdiff_t token = get_token(sequences, row + r, time);
                const ptrdiff_t place = (row + r) * units;
                step.gates[r] = io->gates == NULL
                                    ? projected + (done_in_chunk + row + r) * width
                                    : io->gates + (io->index ? io->index[token] : token) * width;
                step.before[r] = time == 0 && sequences->state == NULL ? NULL : before + place;
                step.factors[r] =
                    step.before[r] == NULL
                        ? NULL
                        : NAME(to_words)(before + place, layer->hidden, factors + r * room_of_state);
                step.hidden[r] = after + place;
                step.cells[r] = cells + place;
                step.saved[r] = io->saved == NULL ? NULL : io->saved + token * units * kind.saved;
            }
            NAME(cells)[layer->cell].forward(layer, &step, in_step);
        }
        for (ptrdiff_t r = 0; r < n_rows; r++) {
            const ptrdiff_t token = get_token(sequences, r, time);
            float *to = io->Y + token * io->y_stride;
            memcpy(to, after + r * units, (size_t)layer->hidden * sizeof(float));
            for (ptrdiff_t k = 0; io->residual && k < layer->hidden; k++)
                to[k] += io->X[token * io->x_stride + k];
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
                                const rnn_forward *io) {
    for (ptrdiff_t first = 0; first < sequences->n; first += GROUP_ROWS) {
        const rnn_sequences group = get_group(sequences, first);
        if (NAME(forward_group)(layer, &group, io) != 0) return -1;
    }
    return 0;
}

/* Run the layer backwards over a group of sequences. */
TARGET static int NAME(backward_group)(const rnn_layer *layer, const rnn_sequences *sequences,
                                       const rnn_backward *io) {
    const rnn_cell kind = rnn_cells[layer->cell];
    const ptrdiff_t n = sequences->n, blocks = NAME(count_tiles)(layer) * BLOCKS(kind.gates);
    const ptrdiff_t units = blocks * LANES, groups = (blocks + 3) / 4, padded = groups * 4 * LANES;
    const ptrdiff_t n_factors = units * kind.gates, room_of_gates = NAME(count_room)(n_factors);
    const ptrdiff_t size = n * (padded + units) + ROWS * room_of_gates;
    float *memory = NAME(allocate)(size);
    if (memory == NULL) return -1;
    float *grad = memory, *carried = grad + n * padded;
    WORD *factors = (WORD *)(carried + n * units);
    memset(memory, 0, (size_t)size * sizeof(float));
    ptrdiff_t n_later = 0;
    for (ptrdiff_t time = sequences->lengths[0] - 1; time >= 0; time--) {
        ptrdiff_t n_rows = n_later;
        while (n_rows < n && sequences->lengths[n_rows] > time) n_rows++;
        for (ptrdiff_t r = 0; r < n_rows; r++)
            memcpy(grad + r * padded, io->dY + get_token(sequences, r, time) * io->dy_stride,
                   (size_t)layer->hidden * sizeof(float));
        for (ptrdiff_t row = 0; row < n_rows;) {
            /* Sequences that end here have no gradient from a step after: steps of their own. */
            const ptrdiff_t end = row < n_later ? n_later : n_rows;
            const ptrdiff_t in_step = end - row < ROWS ? end - row : ROWS;
            NAME(step_back) step;
            step.cells_stride = time > 0 ? kind.saved * LANES : LANES;
            for (ptrdiff_t r = 0; r < in_step; r++) {
                const ptrdiff_t token = get_token(sequences, row + r, time);
                const ptrdiff_t next = sequences->reverse ? -1 : 1;
                step.grad[r] = grad + (row + r) * padded;
                step.later[r] = row < n_later
                                    ? NAME(to_words)(io->d_gates + (token + next) * units * kind.grads,
                                                     n_factors, factors + r * room_of_gates)
                                    : NULL;
                step.saved[r] = io->saved + token * units * kind.saved;
                step.cells[r] = NULL;
                if (time > 0)
                    step.cells[r] = step.saved[r] - next * units * kind.saved +
                                    (kind.saved - 1) * LANES;
                else if (sequences->state != NULL)
                    step.cells[r] = sequences->state + (row + r) * sequences->state_stride + units;
                step.carried[r] = carried + (row + r) * units;
                step.d_gates[r] = io->d_gates + token * units * kind.grads;
            }
            NAME(cells)[layer->cell].backward(layer, &step, io->weights, in_step, groups);
            row += in_step;
        }
        n_later = n_rows;
    }
    free(memory);
    return 0;
}

TARGET static int NAME(backward)(const rnn_layer *layer, const rnn_sequences *sequences,
                                 const rnn_backward *io) {
    for (ptrdiff_t first = 0; first < sequences->n; first += GROUP_ROWS) {
        const rnn_sequences group = get_group(sequences, first);
        if (NAME(backward_group)(layer, &group, io) != 0) return -1;
    }
    return 0;
}

#undef DEFINE_ACCUMULATE
#undef DEFINE_CELL
