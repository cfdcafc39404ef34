/* Recurrent layers and linear chains on a CPU. What the kernels need is laid out for their
 * vector registers:
 *
 * The units of a layer are divided into blocks of `lanes`, the last one filled up with zeros.
 * Gates of a token: (blocks, gates, lanes). States of a token: (blocks, lanes).
 * Weights of a product: (blocks of the result, size of the factor, gates, lanes). Kernels in half
 * precision have two of them in the place of one, as bfloat16: those of numbers 2 k and 2 k + 1 of the
 * factor, the first in the lower half of the 32 bits, and zeros to fill up an odd size.
 *
 * In what follows, sequences are in order of falling length. */

#ifndef SPACY_RNN_H
#define SPACY_RNN_H

#include <stddef.h>
#include <stdint.h>

#define RNN_SAVED 4 /* How many numbers a unit are kept for the way back, besides its cell */

/* Each cell by the number of its gates. A linear layer has one, and only its input weights. */
enum { LSTM = 4, GRU = 3, LINEAR = 1 };

/* Sequences of tokens in an array. */
typedef struct {
    ptrdiff_t n;
    const int64_t *starts;
    const int64_t *lengths;
    ptrdiff_t stride; /* From a token to the next one: 1 where they lie one after another */
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
    const float *inner_bias; /* A GRU's, which its reset gate acts on. (blocks, lanes) */
} rnn_layer;

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

typedef struct {
    const char *name;
    int lanes;

    /* out[i] = bias + X[i] times the input weights: the gates of n rows, each x_stride apart.
     * Returns -1 where there is no memory. */
    int (*project)(const rnn_layer *layer, const float *X, ptrdiff_t x_stride, ptrdiff_t n,
                   float *out);

    /* Run a layer. Input is X, or else what `project` made of it: for each token the row `index`
     * of `gates`, or its own where there is no index. The hidden states go to Y, y_stride apart,
     * with `residual` after the input, X, was added to them.
     * If they are given, `saved` and `cells` take what `backward` needs: of an LSTM its gates after
     * their activation, and its cells; of a GRU its gates, the product that the reset gate acts on,
     * and the hidden state before. Saved is (blocks, RNN_SAVED, lanes) for each token, in half
     * precision too. Returns -1 where there is no memory. */
    int (*forward)(const rnn_layer *layer, const rnn_sequences *sequences, const float *X,
                   ptrdiff_t x_stride, const float *gates, const int64_t *index, float *Y,
                   ptrdiff_t y_stride, int residual, float *saved, float *cells);

    /* Run a layer backwards: from the gradient of the hidden states, dy_stride apart, to that of
     * the gates, before their activation: (blocks, gates, lanes), and for a GRU, in which these are
     * the gates' recurrent parts, that of the candidate after it, (blocks, lanes). Either way that is
     * RNN_SAVED numbers a unit. The weights are those of the product of the first of these with the
     * recurrent weights, 4 blocks of units at a time: (blocks / 4, size, 4, lanes). */
    int (*backward)(const rnn_layer *layer, const rnn_sequences *sequences, const float *dY,
                    ptrdiff_t dy_stride, const float *saved, const float *cells,
                    const float *weights, float *d_gates);

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
} rnn_kernels;

/* The kernels for an instruction set, the best of this processor's if the name is NULL. Returns NULL
 * if the processor has no such instructions, or none worth while. */
const rnn_kernels *rnn_get_kernels(const char *name);

/* Kernels like those, of which `project`, `forward` and `backward` round the factors of products to
 * bfloat16; there are no others. NULL if the processor has no instructions for it. */
const rnn_kernels *rnn_get_half_kernels(const rnn_kernels *kernels);

/* Number the distinct rows of X: row i is the same as row first[index[i]]. Returns how many there
 * are, or -1 where there is no memory. */
ptrdiff_t rnn_find_distinct(const float *X, ptrdiff_t n, ptrdiff_t width, int64_t *index,
                            int64_t *first);

#endif
