# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=True
"""What `kernels.h` describes, for numpy's arrays: recurrent layers and what goes with them on a CPU,
compiled.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

import os

import numpy


cdef extern from "kernels.h" nogil:
    int LSTM
    int GRU
    int LINEAR
    int RNN_SAVED

    ctypedef struct rnn_sequences:
        ptrdiff_t n
        const int64_t *starts
        const int64_t *lengths
        ptrdiff_t stride
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
        const float *inner_bias

    ctypedef struct rnn_chains:
        ptrdiff_t n_steps
        const int64_t *starts
        ptrdiff_t labels

    ctypedef struct rnn_kernels:
        const char *name
        int lanes
        int (*project)(
            const rnn_layer *, const float *, ptrdiff_t, ptrdiff_t, float *
        ) noexcept nogil
        int (*forward)(
            const rnn_layer *, const rnn_sequences *, const float *, ptrdiff_t, const float *,
            const int64_t *, float *, ptrdiff_t, int, float *, float *
        ) noexcept nogil
        int (*backward)(
            const rnn_layer *, const rnn_sequences *, const float *, ptrdiff_t, const float *,
            const float *, const float *, float *
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

    const rnn_kernels *rnn_get_kernels(const char *)
    const rnn_kernels *rnn_get_half_kernels(const rnn_kernels *)
    ptrdiff_t rnn_find_distinct(const float *, ptrdiff_t, ptrdiff_t, int64_t *, int64_t *)


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

cdef const rnn_kernels *half_kernels = rnn_get_half_kernels(kernels)

INSTRUCTIONS = kernels.name.decode("ascii")
HAS_BFLOAT16 = half_kernels != NULL
LANES = kernels.lanes


cdef const float *pointer(const float[:, ::1] array) noexcept nogil:
    return NULL if array is None or array.shape[0] == 0 else <const float *>&array[0, 0]


cdef class Sequences:
    """Sequences of tokens.

    starts (ndarray): The first token of each sequence. int64, (n,)
    lengths (ndarray): How many tokens each has: falling, none of them zero. int64, (n,)
    stride (int): How far it is from a token to the next one of its sequence.
    """
    cdef rnn_sequences sequences
    cdef const int64_t[::1] starts
    cdef const int64_t[::1] lengths
    cdef readonly ptrdiff_t end

    def __init__(
        self, const int64_t[::1] starts, const int64_t[::1] lengths, ptrdiff_t stride = 1
    ):
        cdef ptrdiff_t i
        if stride < 1:
            raise ValueError(f"No stride {stride}.")
        if starts.shape[0] != lengths.shape[0]:
            raise ValueError(f"{starts.shape[0]} starts, but {lengths.shape[0]} lengths.")
        self.starts, self.lengths = starts, lengths
        self.sequences.n = starts.shape[0]
        self.end = 0
        for i in range(self.sequences.n):
            if starts[i] < 0 or lengths[i] < 1 or (i and lengths[i] > lengths[i - 1]):
                raise ValueError("Sequences must be in order of falling length.")
            self.end = max(self.end, starts[i] + (lengths[i] - 1) * stride + 1)
        if self.sequences.n:
            self.sequences.starts, self.sequences.lengths = &starts[0], &lengths[0]
        self.sequences.stride, self.sequences.state = stride, NULL

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


cdef class Projection:
    """A linear layer, with weights laid out for the kernels.

    n_gates (int): How many vectors a block of the output has.
    nI (int): The width of the input.
    hidden (int): How many numbers of the output each of them is for; `blocks` x `LANES` is that or
        more.
    input_weights (ndarray): float32, (blocks, nI, n_gates, LANES)
    bias (ndarray): float32, (blocks, n_gates, LANES)
    half (bool): Whether to round the factors of products to bfloat16. Then the weights have two of
        them in the place of each number, so that the second dimension is half as long.
    """
    cdef const rnn_kernels *kernels
    cdef rnn_layer layer
    cdef const float[:, :, :, ::1] input_weights
    cdef const float[:, :, ::1] bias
    cdef readonly ptrdiff_t units
    cdef readonly ptrdiff_t width

    def __init__(
        self,
        int n_gates,
        ptrdiff_t nI,
        ptrdiff_t hidden,
        const float[:, :, :, ::1] input_weights,
        const float[:, :, ::1] bias,
        bint half = False,
    ):
        self.kernels = half_kernels if half else kernels
        if self.kernels == NULL:
            raise ValueError("This processor has no instructions for bfloat16.")
        if n_gates not in (LSTM, GRU, LINEAR) or hidden < 1 or nI < 1:
            raise ValueError(f"No layer of {n_gates} gates, {hidden} units and input width {nI}.")
        blocks = -(-hidden // LANES)
        check_shapes(
            [input_weights, bias],
            [(blocks, -(-nI // (2 if half else 1)), n_gates, LANES), (blocks, n_gates, LANES)],
        )
        self.input_weights, self.bias = input_weights, bias
        self.layer.cell, self.layer.nI, self.layer.hidden = n_gates, nI, hidden
        self.layer.input_weights = &input_weights[0, 0, 0, 0]
        self.layer.bias = &bias[0, 0, 0]
        self.units = blocks * LANES
        self.width = self.units * n_gates

    def project(self, const float[:, ::1] X, float[:, ::1] out):
        """Multiply the input by the weights, and add the bias, without holding Python's lock.

        X (ndarray): The input. (n, nI)
        out (ndarray): Where to put the output. (n, width)
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


cdef class Direction(Projection):
    """One direction of a recurrent layer. Its projection is what the input adds to the gates.

    n_gates, nI, hidden, input_weights, bias, half: As in `Projection`: 4 gates for an LSTM, 3 for a
        GRU, the number of units, and what both biases add to the gates.
    recurrent_weights (ndarray): float32, (blocks, hidden, n_gates, LANES)
    inner_bias (ndarray): A GRU's, which its reset gate acts on. float32, (blocks, LANES)
    """
    cdef const float[:, :, :, ::1] recurrent_weights
    cdef const float[:, ::1] inner_bias
    cdef readonly ptrdiff_t saved_width

    def __init__(
        self,
        int n_gates,
        ptrdiff_t nI,
        ptrdiff_t hidden,
        const float[:, :, :, ::1] input_weights,
        const float[:, :, ::1] bias,
        const float[:, :, :, ::1] recurrent_weights,
        const float[:, ::1] inner_bias,
        bint half = False,
    ):
        Projection.__init__(self, n_gates, nI, hidden, input_weights, bias, half)
        if n_gates == LINEAR:
            raise ValueError("A recurrent layer has several gates.")
        blocks = -(-hidden // LANES)
        check_shapes(
            [recurrent_weights, inner_bias],
            [(blocks, -(-hidden // (2 if half else 1)), n_gates, LANES), (blocks, LANES)],
        )
        self.recurrent_weights, self.inner_bias = recurrent_weights, inner_bias
        self.layer.recurrent_weights = &recurrent_weights[0, 0, 0, 0]
        self.layer.inner_bias = &inner_bias[0, 0]
        self.saved_width = self.units * RNN_SAVED

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
        float[:, ::1] cells = None,
        ptrdiff_t x_column = 0,
        const float[:, ::1] state = None,
        bint residual = False,
    ):
        """Run the layer, without holding Python's lock.

        sequences (Sequences): The sequences; others among the N tokens are left alone.
        reverse (bool): Whether to read them from their ends.
        Y (ndarray): Where to put the hidden states. (N, column + hidden or more)
        column (int): The first column of those.
        X (ndarray): The input, which may be Y. (N, x_column + nI or more)
        gates (ndarray): In place of X, what `project` made of rows. (N, width), or with an index
            (rows, width)
        index (ndarray): The row of each token. int64, (N,)
        saved (ndarray): Where to put what `backward` needs. (N, saved_width)
        cells (ndarray): Where to put an LSTM's cells; of a GRU, which has none, it takes the hidden
            states before. (N, units)
        x_column (int): The first column of the input.
        state (ndarray): The state before the first step of each sequence, or one for all: hidden
            state and cells, zeros beyond the layer's units. None is zeros. (n or 1, 2 x units)
        residual (bool): Whether to add X, which must be as wide, to the hidden states in Y.
        """
        cdef ptrdiff_t i, N = Y.shape[0]
        cdef int failed
        cdef rnn_sequences these = sequences.read(reverse, state, self.units)
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
            check(cells, N, self.units)
        if these.n == 0:
            return
        with nogil:
            failed = self.kernels.forward(
                &self.layer,
                &these,
                NULL if X is None else &X[0, x_column],
                0 if X is None else X.shape[1],
                pointer(gates),
                NULL if index is None else <const int64_t *>&index[0],
                &Y[0, column],
                Y.shape[1],
                residual,
                <float *>pointer(saved),
                <float *>pointer(cells),
            )
        if failed:
            raise MemoryError()

    def backward(
        self,
        Sequences sequences,
        bint reverse,
        const float[:, ::1] dY,
        ptrdiff_t column,
        const float[:, ::1] saved,
        const float[:, ::1] cells,
        const float[:, :, :, ::1] weights,
        float[:, ::1] d_gates,
        const float[:, ::1] state = None,
    ):
        """Run the layer backwards, without holding Python's lock.

        sequences (Sequences): The sequences, as in `forward`.
        reverse (bool): As in `forward`.
        dY (ndarray): The gradient of the hidden states. (N, column + hidden or more)
        column (int): The first column of it.
        saved (ndarray): From `forward`. (N, saved_width)
        cells (ndarray): From there too. (N, units)
        weights (ndarray): The recurrent weights for the way back; in half precision two of them in
            the place of each. (blocks / 4 rounded up, width, 4, LANES)
        d_gates (ndarray): Where to put the gradient of the gates, a GRU's without the input of its
            candidate, which comes after the others. (N, saved_width)
        state (ndarray): As in `forward`.
        """
        cdef ptrdiff_t N = dY.shape[0]
        cdef int failed
        cdef rnn_sequences these = sequences.read(reverse, state, self.units)
        check(dY, max(sequences.end, N), max(dY.shape[1], column + self.layer.hidden))
        check(saved, N, self.saved_width)
        check(cells, N, self.units)
        check(d_gates, N, self.saved_width)
        groups, factors = -(-self.units // (4 * LANES)), 1 if self.kernels == kernels else 2
        shape = (weights.shape[0], weights.shape[1], weights.shape[2], weights.shape[3])
        if shape != (groups, self.width // factors, 4, LANES):
            raise ValueError(f"Weights of shape {shape} for the way back.")
        if these.n == 0:
            return
        with nogil:
            failed = self.kernels.backward(
                &self.layer,
                &these,
                &dY[0, column],
                dY.shape[1],
                pointer(saved),
                pointer(cells),
                &weights[0, 0, 0, 0],
                &d_gates[0, 0],
            )
        if failed:
            raise MemoryError()


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
