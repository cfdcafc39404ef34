/* Recurrent layers and linear chains on a CPU. Arrays are laid out for vector registers of `lanes`
 * numbers:
 *
 * The units of a layer are divided into blocks of `lanes`, and filled up with zeros to whole tiles. A
 * tile is one block of a cell with several gates, or four blocks of one with a single gate: three or
 * four vectors either way.
 * Gates of a token: (blocks, gates, lanes). States of a token: (blocks, lanes).
 * Weights of a product: (tiles, size of the factor, vectors, lanes). With bfloat16, 32 bits hold the
 * weights of numbers 2 k (lower half) and 2 k + 1 of the factor; zeros fill up an odd size.
 * With 8-bit integers they hold the weights of four numbers. Before these come two vectors for each
 * vector of sums: what the weights were divided by, and what is added to their products, because the
 * other factors are 128 too large.
 *
 * In what follows, sequences are in order of falling length. */

#ifndef SPACY_RNN_H
#define SPACY_RNN_H

#include <stddef.h>
#include <stdint.h>

/* The recurrent cells, and a linear layer, which has only weights for its input. */
enum { LINEAR, LSTM, LSTM_PEEPHOLE, LSTM_COUPLED, GRU, ELMAN, IRNN, N_CELLS };

/* How many numbers there are of each unit. */
typedef struct {
    const char *name;
    int gates; /* What weights are multiplied to: blocks of rows of a weight matrix */
    int extra; /* Parameters beside weights and biases */
    int saved; /* What `backward` needs; the cell state is the last of an LSTM's */
    int grads; /* What `backward` returns */
    int has_cell; /* Whether there is a cell state beside the hidden state */
} rnn_cell;

/* Extra parameters: the bias that a GRU's reset gate acts on; the peephole weights of the input, forget
 * and output gates. */
static const rnn_cell rnn_cells[N_CELLS] = {
    [LINEAR] = {"linear", 1, 0, 0, 0, 0},
    [LSTM] = {"lstm", 4, 0, 5, 4, 1},
    [LSTM_PEEPHOLE] = {"lstm_peephole", 4, 3, 5, 4, 1},
    [LSTM_COUPLED] = {"lstm_coupled", 3, 0, 4, 3, 1},
    [GRU] = {"gru", 3, 1, 5, 4, 0},
    [ELMAN] = {"elman", 1, 0, 1, 1, 0},
    [IRNN] = {"irnn", 1, 0, 1, 1, 0},
};

/* Sequences of tokens in an array. */
typedef struct {
    ptrdiff_t n;
    const int64_t *starts;
    const int64_t *lengths;
    int reverse; /* Whether to read from the last token to the first */
    /* The state before the first step: a hidden state and the cells, one after the other, for each
     * sequence state_stride apart. NULL is zeros. */
    const float *state;
    ptrdiff_t state_stride; /* 0 if it is the same for all */
} rnn_sequences;

/* One direction of a layer. */
typedef struct {
    int cell;
    ptrdiff_t nI;
    ptrdiff_t hidden;
    const float *input_weights;
    const float *bias;
    const float *recurrent_weights;
    const float *extra; /* (blocks, extra, lanes) */
} rnn_layer;

/* What `forward` reads and writes. Rows of X and Y are a stride apart. */
typedef struct {
    const float *X; /* The input, NULL where there are gates */
    ptrdiff_t x_stride;
    const float *gates; /* In its place, what `project` made of it */
    const int64_t *index; /* The row of `gates` for each token, or NULL for its own */
    float *Y; /* Takes the hidden states */
    ptrdiff_t y_stride;
    int residual; /* Whether to add the input to these */
    float *saved; /* Takes what `backward` needs of each token, (blocks, saved, lanes), or NULL */
} rnn_forward;

/* What `backward` reads and writes. */
typedef struct {
    const float *dY; /* The gradient of the hidden states */
    ptrdiff_t dy_stride;
    const float *saved;
    /* For the product of the gradient of the gates, (blocks, gates, lanes), with the recurrent
     * weights, 4 blocks of units at a time. (blocks / 4, size, 4, lanes) */
    const float *weights;
    /* Takes the gradient of what the hidden state adds to the gates, (blocks, gates, lanes). It is that
     * of what the input adds too, but for a GRU's candidate, whose follows. (blocks, lanes) */
    float *d_gates;
} rnn_backward;

/* Chains of tokens, each with a number for each BILUO tag, in the order of torch's PackedSequence:
 * the first tokens of all sequences, longest sequence first, and so on.
 *
 * A row of tags is I of each label, B of each, O, U of each, L of each. O, U and L are followed by
 * B, O and U: these transitions are a matrix, `outer`, a row for each tag before and a column for
 * each tag after. I and B are followed by I and L of their own label: `inner`, (2, 2, labels), I
 * after I, I after B, L after I, L after B. */
typedef struct {
    ptrdiff_t n_steps;
    const int64_t *starts; /* The first place of each step, and the end of the last. (n_steps + 1) */
    ptrdiff_t labels;
} rnn_chains;

/* What the arcs of sentences are scored by. */
typedef struct {
    ptrdiff_t n; /* The number of sentences */
    const int64_t *lengths;
    ptrdiff_t width;
    const float *heads; /* The states of all tokens, a stride apart */
    ptrdiff_t stride;
    const float *root; /* The root's */
} rnn_arcs;

/* What labels are scored by. */
typedef struct {
    ptrdiff_t n; /* The number of labels */
    ptrdiff_t width;
    const float *heads; /* The states of all heads. (heads, width) */
    ptrdiff_t stride;   /* The distance from one token's numbers, (labels, width), to the next token's */
} rnn_labels;

/* Groups of rows, all of the same size. */
typedef struct {
    ptrdiff_t n; /* The number of groups */
    ptrdiff_t length;
    ptrdiff_t width;
} rnn_mixed;

typedef struct {
    const char *name;
    int lanes;

    /* out[i] = bias + X[i] times the input weights: the gates of n rows, each x_stride apart.
     * Returns -1 where there is no memory. */
    int (*project)(const rnn_layer *layer, const float *X, ptrdiff_t x_stride, ptrdiff_t n,
                   float *out);

    /* Run a layer over sequences. Returns -1 where there is no memory. */
    int (*forward)(const rnn_layer *layer, const rnn_sequences *sequences, const rnn_forward *io);

    /* Run it backwards. Returns -1 where there is no memory. */
    int (*backward)(const rnn_layer *layer, const rnn_sequences *sequences, const rnn_backward *io);

    /* Find the best sequences of tags (Viterbi 1967). `best` has the scores of each token's tags,
     * and is overwritten. */
    void (*find_best)(const rnn_chains *chains, const float *outer, const float *inner,
                      float *best, int64_t *tags);

    /* The forward algorithm (Rabiner 1989): `sums` has the exponentials of the scores of each
     * token's tags, and is overwritten with the probability of each given the tokens so far;
     * `scales` takes the sums by which each row was divided. */
    void (*sum_forward)(const rnn_chains *chains, const double *outer, const double *inner,
                        double *sums, double *scales);

    /* The backward algorithm: `sums` takes the sums over the tokens after each token. `weights` are
     * the exponentials divided by the scales, and are overwritten. `outer` is transposed. */
    void (*sum_backward)(const rnn_chains *chains, const double *outer, const double *inner,
                         double *weights, double *sums);

    /* Score the root, and each token of the sentence, as the head of each token, whose mapped state is
     * a row of (width). */
    void (*score_arcs)(const rnn_arcs *arcs, const float *mapped, float *scores);

    /* Score the labels of n tokens whose heads' rows are given. */
    void (*score_labels)(const rnn_labels *labels, const int64_t *rows, ptrdiff_t n,
                         const float *mapped, float *scores);

    /* Add up the rows of each group, (n, length, width), times their weights, (n, length): the sums are
     * (n, width). */
    void (*mix_rows)(const rnn_mixed *mixed, const float *weights, const float *rows, float *sums);
} rnn_kernels;

/* The kernels for an instruction set, the best of this processor's if the name is NULL. Returns NULL
 * if the processor has no such instructions, or none that are faster than torch. */
const rnn_kernels *rnn_get_kernels(const char *name);

/* The same with factors of products rounded to bfloat16: `project`, `forward` and `backward` only.
 * Returns NULL if the processor has no instructions for it. */
const rnn_kernels *rnn_get_bf16_kernels(const rnn_kernels *kernels);

/* The same with factors of products rounded to 8-bit integers: `project` and `forward` only. */
const rnn_kernels *rnn_get_int8_kernels(const rnn_kernels *kernels);

/* Whether those in bfloat16 are faster, by measurement: on AMD processors, which start two of their instructions in
 * each cycle. Intel's start one, and are faster in single precision. */
int rnn_prefers_bf16(const rnn_kernels *kernels);

/* Whether the processor has AMX for bfloat16: products of large matrices are much faster with it. */
int rnn_has_amx(void);

/* Round numbers, (blocks, size, width), to bfloat16, and pair rows 2 k and 2 k + 1 of each block. (blocks, size / 2 rounded up, width) */
void rnn_pair_bf16(const float *from, ptrdiff_t blocks, ptrdiff_t size, ptrdiff_t width, uint32_t *to);

/* Number the distinct rows of X: row i is the same as row first[index[i]]. Returns how many there
 * are, or -1 where there is no memory. */
ptrdiff_t rnn_find_distinct(const float *X, ptrdiff_t n, ptrdiff_t width, int64_t *index,
                            int64_t *first);

/* Find each sentence's maximum spanning tree with one token below the root (Zmigrod et al. 2020). `scores` has
 * (tokens, 1 + tokens) numbers for each sentence: a row for each token, with a column for the root and for each
 * token as its head. `heads` takes 0 for the root, i + 1 for token i. Any scores give trees. Returns -1 if
 * there is no memory. */
int rnn_find_trees(const float *scores, ptrdiff_t n, const int64_t *lengths, int64_t *heads);

#endif
