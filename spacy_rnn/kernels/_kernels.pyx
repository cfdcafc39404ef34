# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""What `kernels.h` describes, for numpy's arrays: recurrent layers and what goes with them on a CPU,
compiled.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint32_t

import os

import numpy


cdef extern from "kernels.h" nogil:
    int LINEAR
    int N_CELLS

    ctypedef struct rnn_cell:
        const char *name
        int gates
        int extra
        int saved
        int grads
        int has_cell

    const rnn_cell *rnn_cells

    ctypedef struct rnn_sequences:
        ptrdiff_t n
        const int64_t *starts
        const int64_t *lengths
        int reverse
        const float *state
        ptrdiff_t state_stride

    ctypedef struct rnn_layer:
        int cell
        ptrdiff_t nI
        ptrdiff_t hidden
        const float *input_weights
        const float *bias
        const float *recurrent_weights
        const float *extra

    ctypedef struct rnn_forward:
        const float *X
        ptrdiff_t x_stride
        const float *gates
        const int64_t *index
        float *Y
        ptrdiff_t y_stride
        int residual
        float *saved

    ctypedef struct rnn_backward:
        const float *dY
        ptrdiff_t dy_stride
        const float *saved
        const float *weights
        float *d_gates

    ctypedef struct rnn_chains:
        ptrdiff_t n_steps
        const int64_t *starts
        ptrdiff_t labels

    ctypedef struct rnn_arcs:
        ptrdiff_t n
        const int64_t *lengths
        ptrdiff_t width
        const float *heads
        ptrdiff_t stride
        const float *root

    ctypedef struct rnn_labels:
        ptrdiff_t n
        ptrdiff_t width
        const float *heads
        ptrdiff_t stride

    ctypedef struct rnn_mixed:
        ptrdiff_t n
        ptrdiff_t length
        ptrdiff_t width

    ctypedef struct rnn_kernels:
        const char *name
        int lanes
        int (*project)(
            const rnn_layer *, const float *, ptrdiff_t, ptrdiff_t, float *
        ) noexcept nogil
        int (*forward)(
            const rnn_layer *, const rnn_sequences *, const rnn_forward *
        ) noexcept nogil
        int (*backward)(
            const rnn_layer *, const rnn_sequences *, const rnn_backward *
        ) noexcept nogil
        void (*find_best)(
            const rnn_chains *, const float *, const float *, float *, int64_t *
        ) noexcept nogil
        void (*sum_forward)(
            const rnn_chains *, const double *, const double *, double *, double *
        ) noexcept nogil
        void (*sum_backward)(
            const rnn_chains *, const double *, const double *, double *, double *
        ) noexcept nogil
        void (*score_arcs)(const rnn_arcs *, const float *, float *) noexcept nogil
        void (*score_labels)(
            const rnn_labels *, const int64_t *, ptrdiff_t, const float *, float *
        ) noexcept nogil
        void (*mix_rows)(
            const rnn_mixed *, const float *, const float *, float *
        ) noexcept nogil

    const rnn_kernels *rnn_get_kernels(const char *)
    const rnn_kernels *rnn_get_bf16_kernels(const rnn_kernels *)
    const rnn_kernels *rnn_get_int8_kernels(const rnn_kernels *)
    int rnn_prefers_bf16(const rnn_kernels *)
    int rnn_has_amx()
    void rnn_pair_bf16(const float *, ptrdiff_t, ptrdiff_t, ptrdiff_t, uint32_t *)
    ptrdiff_t rnn_find_distinct(const float *, ptrdiff_t, ptrdiff_t, int64_t *, int64_t *)
    int rnn_find_trees(const float *, ptrdiff_t, const int64_t *, int64_t *)


cdef const rnn_kernels *choose_kernels(str name) except NULL:
    cdef bytes encoded = name.encode()
    cdef const rnn_kernels *chosen = rnn_get_kernels(<const char *>encoded if name else NULL)
    if chosen == NULL and name:
        raise RuntimeError(
            f"Environment variable SPACY_RNN_KERNELS is {name!r}, and there are no such kernels "
            "for this processor: set it to 'avx512', 'avx2', 'base' or 'none'."
        )
    if chosen == NULL:
        raise ImportError("This processor has no instructions that the kernels could use.")
    return chosen


cdef const rnn_kernels *kernels = choose_kernels(os.environ.get("SPACY_RNN_KERNELS", ""))

cdef const rnn_kernels *bf16_kernels = rnn_get_bf16_kernels(kernels)
cdef const rnn_kernels *int8_kernels = rnn_get_int8_kernels(kernels)

INSTRUCTIONS = kernels.name.decode("ascii")
HAS_INT8 = int8_kernels != NULL
HAS_BFLOAT16 = bf16_kernels != NULL
PREFERS_BFLOAT16 = bool(rnn_prefers_bf16(kernels))
HAS_AMX = bool(rnn_has_amx())
LANES = kernels.lanes
# The number of each cell, and of a linear layer.
CELLS = {rnn_cells[i].name.decode("ascii"): i for i in range(N_CELLS)}


cdef const rnn_kernels *get_kernels(str factors) except NULL:
    cdef const rnn_kernels *found = kernels
    if factors != "float32":
        found = int8_kernels if factors == "int8" else bf16_kernels
    if found == NULL:
        raise ValueError(f"This processor has no instructions for products in {factors}.")
    return found


def count_words(ptrdiff_t size, str factors) -> int:
    """RETURNS (int): How many words of 32 bits the factors of a product are stored in."""
    return {"float32": size, "bfloat16": (size + 1) // 2, "int8": 2 + (size + 3) // 4}[factors]


cdef const float *pointer(const float[:, ::1] array) noexcept nogil:
    return NULL if array is None or array.shape[0] == 0 else <const float *>&array[0, 0]


cdef class Sequences:
    """Sequences of tokens, one after another in an array.

    starts (ndarray): The first token of each sequence. int64, (n,)
    lengths (ndarray): How many tokens each has: falling, none of them zero. int64, (n,)
    """
    cdef rnn_sequences sequences
    cdef const int64_t[::1] starts
    cdef const int64_t[::1] lengths
    cdef readonly ptrdiff_t end

    def __cinit__(self, const int64_t[::1] starts, const int64_t[::1] lengths):
        cdef ptrdiff_t i
        if starts.shape[0] != lengths.shape[0]:
            raise ValueError(f"{starts.shape[0]} starts, but {lengths.shape[0]} lengths.")
        self.starts, self.lengths = starts, lengths
        self.sequences.n = starts.shape[0]
        self.end = 0
        for i in range(self.sequences.n):
            if starts[i] < 0 or lengths[i] < 1 or (i and lengths[i] > lengths[i - 1]):
                raise ValueError("Sequences must be in order of falling length.")
            self.end = max(self.end, starts[i] + lengths[i])
        if self.sequences.n:
            self.sequences.starts, self.sequences.lengths = &starts[0], &lengths[0]

    cdef rnn_sequences read(self, bint reverse, const float[:, ::1] state, ptrdiff_t units) except *:
        """Get them as a layer of so many units is to read them."""
        cdef rnn_sequences these = self.sequences
        these.reverse = reverse
        if state is not None:
            if state.shape[0] not in (1, these.n) or state.shape[1] != 2 * units:
                raise ValueError(
                    f"States of shape {(state.shape[0], state.shape[1])} for {these.n} sequences "
                    f"and {units} units."
                )
            these.state = pointer(state)
            these.state_stride = 0 if state.shape[0] == 1 else 2 * units
        return these


cdef class Layer:
    """One direction of a recurrent layer, or a linear layer, with weights laid out for the kernels:
    see `layout.py`.

    cell (str): A key of `CELLS`.
    nI (int): The width of the input.
    hidden (int): The number of units.
    input_weights (ndarray): float32, or smaller factors as uint32: (tiles, nI, vectors, LANES)
    bias (ndarray): What both biases add to the gates. float32, (tiles, vectors, LANES)
    recurrent_weights (Optional[ndarray]): (tiles, hidden, vectors, LANES)
    extra (Optional[ndarray]): The cell's extra parameters. float32, (blocks, extra, LANES)
    factors (str): What factors of products are rounded to: "float32", "bfloat16" or "int8". The
        second dimension of weights is `count_words` of its size.
    """
    cdef const rnn_kernels *kernels
    cdef rnn_layer layer
    cdef rnn_cell kind
    # Keep alive what the pointers of the layer point to.
    cdef object arrays
    cdef readonly str cell
    cdef readonly str factors
    cdef readonly ptrdiff_t nI
    cdef readonly ptrdiff_t hidden
    cdef readonly ptrdiff_t units
    cdef readonly ptrdiff_t width
    cdef readonly ptrdiff_t saved_width
    cdef readonly ptrdiff_t grads_width

    def __cinit__(
        self,
        str cell,
        ptrdiff_t nI,
        ptrdiff_t hidden,
        input_weights,
        bias,
        recurrent_weights = None,
        extra = None,
        str factors = "float32",
    ):
        self.kernels, self.factors = get_kernels(factors), factors
        if cell not in CELLS or hidden < 1 or nI < 1:
            raise ValueError(f"No layer of {cell!r}, {hidden} units and input width {nI}.")
        self.cell, self.layer.cell = cell, CELLS[cell]
        self.nI, self.hidden = nI, hidden
        self.layer.nI, self.layer.hidden = nI, hidden
        self.kind = rnn_cells[self.layer.cell]
        blocks_of_tile = 4 if self.kind.gates == 1 else 1
        tiles, vectors = -(-hidden // (blocks_of_tile * LANES)), self.kind.gates * blocks_of_tile
        blocks = tiles * blocks_of_tile
        given = [input_weights, bias]
        shapes = [(tiles, count_words(nI, factors), vectors, LANES), (tiles, vectors, LANES)]
        if self.layer.cell != LINEAR:
            given.append(recurrent_weights)
            shapes.append((tiles, count_words(hidden, factors), vectors, LANES))
        if self.kind.extra:
            given.append(extra)
            shapes.append((blocks, self.kind.extra, LANES))
        self.arrays = [numpy.ascontiguousarray(array).view(numpy.float32) for array in given]
        check_shapes(self.arrays, shapes)
        pointers = [address(array.ravel()) for array in self.arrays]
        self.layer.input_weights = <const float *><size_t>pointers[0]
        self.layer.bias = <const float *><size_t>pointers[1]
        if self.layer.cell != LINEAR:
            self.layer.recurrent_weights = <const float *><size_t>pointers[2]
        if self.kind.extra:
            self.layer.extra = <const float *><size_t>pointers[3]
        self.units = blocks * LANES
        self.width = self.units * self.kind.gates
        self.saved_width, self.grads_width = (
            self.units * self.kind.saved, self.units * self.kind.grads
        )

    def project(self, const float[:, ::1] X, float[:, ::1] out):
        """Multiply the input by its weights, and add the bias, without holding the GIL.

        X (ndarray): The input. (n, nI)
        out (ndarray): Takes the output. (n, width)
        """
        check(X, X.shape[0], self.layer.nI)
        check(out, X.shape[0], self.width)
        cdef ptrdiff_t n = X.shape[0]
        cdef int failed = 0
        if n:
            with nogil:
                failed = self.kernels.project(&self.layer, &X[0, 0], X.shape[1], n, &out[0, 0])
        if failed:
            raise MemoryError()

    def forward(
        self,
        Sequences sequences,
        bint reverse,
        float[:, ::1] Y,
        ptrdiff_t column,
        const float[:, ::1] X = None,
        const float[:, ::1] gates = None,
        const int64_t[::1] index = None,
        float[:, ::1] saved = None,
        ptrdiff_t x_column = 0,
        const float[:, ::1] state = None,
        bint residual = False,
    ):
        """Run the layer, without holding the GIL.

        sequences (Sequences): The sequences; others among the N tokens are left alone.
        reverse (bool): Whether to read them from their ends.
        Y (ndarray): Takes the hidden states. (N, column + hidden or more)
        column (int): The first column of those.
        X (ndarray): The input, which may be Y. (N, x_column + nI or more)
        gates (ndarray): In place of X, what `project` made of rows. (N, width), or with an index
            (rows, width)
        index (ndarray): The row of each token. int64, (N,)
        saved (ndarray): Takes what `backward` needs. (N, saved_width)
        x_column (int): The first column of the input.
        state (ndarray): The state before the first step of each sequence, or one for all: hidden
            state and cell state, zeros beyond the layer's units. None is zeros. (n or 1, 2 x units)
        residual (bool): Whether to add X, which must be as wide, to the hidden states in Y.
        """
        cdef ptrdiff_t i, N = Y.shape[0]
        cdef int failed
        cdef rnn_forward io
        cdef rnn_sequences these = sequences.read(reverse, state, self.units)
        self._check_is_recurrent()
        if residual and (X is None or gates is not None or self.layer.nI != self.layer.hidden):
            raise ValueError("To add the input to the output, they must be of one width.")
        if column < 0 or x_column < 0:
            raise ValueError(f"No column {min(column, x_column)}.")
        check(Y, max(sequences.end, N), max(Y.shape[1], column + self.layer.hidden))
        if gates is None:
            check(X, N, self.layer.nI if X is None else max(X.shape[1], x_column + self.layer.nI))
        else:
            check(gates, N if index is None else gates.shape[0], self.width)
        if index is not None:
            if index.shape[0] != N:
                raise ValueError(f"An index of {index.shape[0]} for {N} tokens.")
            for i in range(N):
                if not 0 <= index[i] < gates.shape[0]:
                    raise ValueError(f"No row {index[i]} among {gates.shape[0]}.")
        if saved is not None:
            check(saved, N, self.saved_width)
        if these.n == 0:
            return
        io.X, io.x_stride = NULL if X is None else &X[0, x_column], 0 if X is None else X.shape[1]
        io.gates, io.index = pointer(gates), NULL if index is None else &index[0]
        io.Y, io.y_stride, io.residual = &Y[0, column], Y.shape[1], residual
        io.saved = NULL if saved is None else &saved[0, 0]
        with nogil:
            failed = self.kernels.forward(&self.layer, &these, &io)
        if failed:
            raise MemoryError()

    def backward(
        self,
        Sequences sequences,
        bint reverse,
        const float[:, ::1] dY,
        ptrdiff_t column,
        const float[:, ::1] saved,
        weights,
        float[:, ::1] d_gates,
        const float[:, ::1] state = None,
    ):
        """Run the layer backwards, without holding the GIL.

        sequences, reverse, state: As in `forward`.
        dY (ndarray): The gradient of the hidden states. (N, column + hidden or more)
        column (int): The first column of it.
        saved (ndarray): From `forward`. (N, saved_width)
        weights (ndarray): The recurrent weights as `layout.lay_out_backward` makes them.
        d_gates (ndarray): Takes the gradient of the gates, a GRU's without the input of its
            candidate, which comes after the others. (N, grads_width)
        """
        cdef ptrdiff_t N = dY.shape[0]
        cdef int failed
        cdef rnn_backward io
        cdef rnn_sequences these = sequences.read(reverse, state, self.units)
        cdef const float[:, :, :, ::1] laid_out = weights.view(numpy.float32)
        self._check_is_recurrent()
        check(dY, max(sequences.end, N), max(dY.shape[1], column + self.layer.hidden))
        check(saved, N, self.saved_width)
        check(d_gates, N, self.grads_width)
        if self.factors == "int8":
            raise ValueError("8-bit integers are for prediction only.")
        size = count_words(self.width, self.factors)
        check_shapes([laid_out], [(-(-self.units // (4 * LANES)), size, 4, LANES)])
        if these.n == 0:
            return
        io.dY, io.dy_stride, io.saved = &dY[0, column], dY.shape[1], &saved[0, 0]
        io.weights, io.d_gates = &laid_out[0, 0, 0, 0], &d_gates[0, 0]
        with nogil:
            failed = self.kernels.backward(&self.layer, &these, &io)
        if failed:
            raise MemoryError()

    def _check_is_recurrent(self):
        if self.layer.cell == LINEAR:
            raise ValueError("A linear layer has no steps.")


def pair_bf16(const float[:, :, ::1] rows):
    """Round numbers to bfloat16, and pair rows 2 k and 2 k + 1 of each block.

    rows (ndarray): float32, (blocks, size, width)
    RETURNS (ndarray): The first of two rows in the lower half of the bits, zeros where a block has no
        second one. uint32, (blocks, size / 2 rounded up, width)
    """
    cdef ptrdiff_t blocks = rows.shape[0], size = rows.shape[1], width = rows.shape[2]
    pairs = numpy.empty((blocks, (size + 1) // 2, width), dtype=numpy.uint32)
    cdef uint32_t[:, :, ::1] view = pairs
    if pairs.size:
        with nogil:
            rnn_pair_bf16(&rows[0, 0, 0], blocks, size, width, &view[0, 0, 0])
    return pairs


def find_best_tags(
    const int64_t[::1] starts,
    const float[:, ::1] outer,
    const float[:, :, ::1] inner,
    float[:, ::1] scores,
):
    """Find the best sequence of tags of each chain (Viterbi 1967).

    starts (ndarray): The first token of each time step, and the end of the last: N. The tokens are
        in the order of torch's PackedSequence. int64, (steps + 1,)
    outer (ndarray): The scores of B, O and U (column) after O, U and L. (1 + 2 n_labels,
        1 + 2 n_labels)
    inner (ndarray): The scores of I and L after I and B of the same label. (2, 2, n_labels)
    scores (ndarray): The scores of each token's tags. Overwritten. (N, 1 + 4 n_labels)
    RETURNS (ndarray): Each token's tag. (N,)
    """
    cdef rnn_chains chains = make_chains(starts, outer, inner, [scores])
    tags = numpy.empty(scores.shape[0], dtype=numpy.int64)
    cdef int64_t[::1] view = tags
    if chains.n_steps:
        with nogil:
            kernels.find_best(&chains, &outer[0, 0], &inner[0, 0, 0], &scores[0, 0], &view[0])
    return tags


def sum_forward(
    const int64_t[::1] starts,
    const double[:, ::1] outer,
    const double[:, :, ::1] inner,
    double[:, ::1] sums,
):
    """Run the forward algorithm (Rabiner 1989), scaled.

    starts, outer, inner (ndarray): As in `find_best_tags`, with the exponentials of the scores.
    sums (ndarray): The exponentials of the scores of each token's tags. Overwritten with the
        probability of each tag given the tokens so far. (N, 1 + 4 n_labels)
    RETURNS (ndarray): The sums by which each token's row was divided. (N,)
    """
    cdef rnn_chains chains = make_chains(starts, outer, inner, [sums])
    scales = numpy.empty(sums.shape[0])
    cdef double[::1] view = scales
    if chains.n_steps:
        with nogil:
            kernels.sum_forward(&chains, &outer[0, 0], &inner[0, 0, 0], &sums[0, 0], &view[0])
    return scales


def sum_backward(
    const int64_t[::1] starts,
    const double[:, ::1] outer,
    const double[:, :, ::1] inner,
    double[:, ::1] weights,
    double[:, ::1] sums,
):
    """Run the backward algorithm.

    starts, inner (ndarray): As in `sum_forward`.
    outer (ndarray): As there, transposed.
    weights (ndarray): The exponentials of the scores, divided by the scales. Overwritten.
        (N, 1 + 4 n_labels)
    sums (ndarray): Where to put the sums over the tokens after each token. (N, 1 + 4 n_labels)
    """
    cdef rnn_chains chains = make_chains(starts, outer, inner, [weights, sums])
    if chains.n_steps:
        with nogil:
            kernels.sum_backward(
                &chains, &outer[0, 0], &inner[0, 0, 0], &weights[0, 0], &sums[0, 0]
            )


cdef rnn_chains make_chains(const int64_t[::1] starts, outer, inner, list rows) except *:
    """Describe chains, and check that the arrays fit."""
    cdef ptrdiff_t i, size
    cdef rnn_chains chains
    if starts.shape[0] == 0 or starts[0] != 0:
        raise ValueError("The first time step must start at token 0.")
    chains.n_steps, chains.starts = starts.shape[0] - 1, &starts[0]
    chains.labels = inner.shape[2]
    for i in range(chains.n_steps):
        size = starts[i + 1] - starts[i]
        if size < 1 or (i and size > starts[i] - starts[i - 1]):
            raise ValueError("Each time step must have a token, and no more than the one before.")
    width, N = 1 + 2 * chains.labels, starts[chains.n_steps]
    shapes = [(width, width), (2, 2, chains.labels)] + [(N, 2 * width - 1)] * len(rows)
    check_shapes([outer, inner, *rows], shapes)
    return chains


def find_distinct(const float[:, ::1] X):
    """Find the distinct rows of a table.

    X (ndarray): The table. (n, width)
    RETURNS (Tuple[ndarray, ndarray]): For each row the number of the distinct row it is, (n,), and
        where each of those was first, (distinct rows,).
    """
    cdef ptrdiff_t n = X.shape[0], found
    index = numpy.empty(n, dtype=numpy.int64)
    first = numpy.empty(n, dtype=numpy.int64)
    cdef int64_t[::1] index_view = index, first_view = first
    if n == 0 or X.shape[1] == 0:
        return numpy.zeros_like(index), first[:0]
    with nogil:
        found = rnn_find_distinct(&X[0, 0], n, X.shape[1], &index_view[0], &first_view[0])
    if found < 0:
        raise MemoryError()
    return index, first[:found]


def score_arcs(
    const float[:, ::1] mapped, heads, const float[::1] root, const int64_t[::1] lengths
):
    """Score the arcs of sentences: the product of each token's mapped state with the states of the
    root and of the tokens of its sentence.

    mapped (ndarray): The mapped states. (N, width)
    heads (ndarray): The states. Rows may be further apart than they are long. (N, width)
    root (ndarray): The root's state. (width,)
    lengths (ndarray): The number of tokens of each sentence; N together. (sentences,)
    RETURNS (ndarray): The scores, as `find_trees` takes them. (sum of n * (n + 1),)
    """
    cdef ptrdiff_t n_scores, n_tokens
    cdef rnn_arcs arcs
    n_scores, n_tokens = count_arcs(lengths)
    if n_tokens != mapped.shape[0] or heads.shape != (n_tokens, root.shape[0]):
        raise ValueError(
            f"The sentences have {n_tokens} tokens, and there are states of {mapped.shape[0]} and "
            f"{heads.shape}."
        )
    if mapped.shape[1] != root.shape[0]:
        raise ValueError(f"The widths {mapped.shape[1]} and {root.shape[0]} are not the same.")
    scores = numpy.empty(n_scores, dtype=numpy.float32)
    if n_tokens == 0:
        return scores
    cdef const float[:, :] head_view = heads
    cdef float[::1] view = scores
    arcs.n, arcs.lengths, arcs.width = lengths.shape[0], &lengths[0], root.shape[0]
    arcs.heads, arcs.stride = &head_view[0, 0], stride_of(heads)
    arcs.root = &root[0]
    with nogil:
        kernels.score_arcs(&arcs, &mapped[0, 0], &view[0])
    return scores


def score_labels(mapped, const float[:, ::1] heads, const int64_t[::1] rows, ptrdiff_t n_labels):
    """Score labels: the product of what each token's state was mapped to for each label with its
    head's state.

    mapped (ndarray): Of each token `n_labels` rows of `width` numbers. Tokens may be further apart
        than that. (n, at least n_labels * width)
    heads (ndarray): The states of all heads. (heads, width)
    rows (ndarray): The row of each token's head. (n,)
    n_labels (int): The number of labels.
    RETURNS (ndarray): The scores. (n, n_labels)
    """
    cdef ptrdiff_t n = rows.shape[0], i
    cdef rnn_labels labels
    if mapped.shape[0] != n or mapped.shape[1] < n_labels * heads.shape[1]:
        raise ValueError(
            f"There are {n} heads, {n_labels} labels and states of {heads.shape[1]} numbers, but "
            f"mapped states of shape {mapped.shape}."
        )
    for i in range(n):
        if not 0 <= rows[i] < heads.shape[0]:
            raise IndexError(f"Row {rows[i]} is not among the {heads.shape[0]} of heads.")
    scores = numpy.empty((n, n_labels), dtype=numpy.float32)
    if n == 0 or n_labels == 0:
        return scores
    cdef const float[:, :] mapped_view = mapped
    cdef float[:, ::1] view = scores
    labels.n, labels.width, labels.heads = n_labels, heads.shape[1], &heads[0, 0]
    labels.stride = stride_of(mapped)
    with nogil:
        kernels.score_labels(&labels, &rows[0], n, &mapped_view[0, 0], &view[0, 0])
    return scores


def mix_rows(const float[:, ::1] weights, const float[:, :, ::1] rows):
    """Add up rows times their weights, group by group, in their order: zeros at the end of a group
    change nothing.

    weights (ndarray): The weights. (n, length)
    rows (ndarray): The rows. (n, length, width)
    RETURNS (ndarray): The sums. (n, width)
    """
    cdef rnn_mixed mixed
    mixed.n, mixed.length, mixed.width = rows.shape[0], rows.shape[1], rows.shape[2]
    check(weights, mixed.n, mixed.length)
    sums = numpy.zeros((mixed.n, mixed.width), dtype=numpy.float32)
    if mixed.n == 0 or mixed.length == 0 or mixed.width == 0:
        return sums
    cdef float[:, ::1] view = sums
    with nogil:
        kernels.mix_rows(&mixed, &weights[0, 0], &rows[0, 0, 0], &view[0, 0])
    return sums


cdef ptrdiff_t stride_of(table) except -1:
    """How far apart rows are, in numbers, whose own numbers are adjacent."""
    if table.strides[1] != table.itemsize or table.strides[0] < 0:
        raise ValueError(f"The numbers of a row are not adjacent: strides are {table.strides}.")
    return table.strides[0] // table.itemsize


cdef tuple count_arcs(const int64_t[::1] lengths):
    """The number of scores, and of tokens, of sentences."""
    cdef ptrdiff_t n_scores = 0, n_tokens = 0, i
    for i in range(lengths.shape[0]):
        if lengths[i] < 0:
            raise ValueError(f"A sentence has {lengths[i]} tokens.")
        n_tokens += lengths[i]
        n_scores += lengths[i] * (lengths[i] + 1)
    return n_scores, n_tokens


def find_trees(const float[::1] scores, const int64_t[::1] lengths):
    """Find the maximum spanning tree of each sentence, with one token below the root.

    scores (ndarray): The scores of arcs, sentence after sentence: of each token (row) for the root
        and for each token as its head. (sum of n * (n + 1),)
    lengths (ndarray): The number of tokens of each sentence. (sentences,)
    RETURNS (ndarray): The head of each token: 0 for the root, i + 1 for token i of the sentence.
        Any scores give trees. (sum of n,)
    """
    cdef ptrdiff_t n_scores, n_tokens
    cdef int failed = 0
    n_scores, n_tokens = count_arcs(lengths)
    if n_scores != scores.shape[0]:
        raise ValueError(f"There are {scores.shape[0]} scores, and not {n_scores}.")
    heads = numpy.empty(n_tokens, dtype=numpy.int64)
    cdef int64_t[::1] view = heads
    if n_tokens:
        with nogil:
            failed = rnn_find_trees(&scores[0], lengths.shape[0], &lengths[0], &view[0])
    if failed:
        raise MemoryError()
    return heads


def sum_rows(const float[:, ::1] table, const int64_t[::1] rows, const int64_t[::1] starts):
    """Add up rows of a table, group by group.

    table (ndarray): The table. (size, width)
    rows (ndarray): The numbers of the rows, one group after another. (M,)
    starts (ndarray): Where each group begins, rising. A group may be empty. (n,)
    RETURNS (ndarray): The sums, zero for an empty group. (n, width)
    """
    cdef ptrdiff_t n = starts.shape[0], size = table.shape[0], width = table.shape[1]
    cdef ptrdiff_t i, j, k, end
    cdef const float *row
    cdef float *total
    cdef bint is_wrong = False
    sums = numpy.zeros((n, width), dtype=numpy.float32)
    cdef float[:, ::1] view = sums
    if width == 0 or n == 0:
        return sums
    with nogil:
        for i in range(n):
            end = starts[i + 1] if i + 1 < n else rows.shape[0]
            if starts[i] < 0 or end > rows.shape[0]:
                is_wrong = True
                break
            total = &view[i, 0]
            for j in range(starts[i], end):
                if rows[j] < 0 or rows[j] >= size:
                    is_wrong = True
                    break
                row = &table[rows[j], 0]
                for k in range(width):
                    total[k] += row[k]
    if is_wrong:
        raise IndexError(f"A row is not among the {size} of the table, or a group is not there.")
    return sums


cdef size_t address(const float[:] flat) noexcept:
    return <size_t>&flat[0]


cdef int check_shapes(list weights, list expected) except -1:
    shapes = [numpy.asarray(array).shape for array in weights]
    if shapes != expected:
        raise ValueError(f"Arrays of shapes {shapes}, expected {expected}.")
    return 0


cdef int check(const float[:, ::1] array, ptrdiff_t rows, ptrdiff_t columns) except -1:
    if array is None or array.shape[0] != rows or array.shape[1] != columns:
        found = None if array is None else (array.shape[0], array.shape[1])
        raise ValueError(f"An array of shape {found}, expected {(rows, columns)}.")
    return 0
