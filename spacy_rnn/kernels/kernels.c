#include "kernels.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

/* It would delete the rounding in exp, and the comparisons with NaN. */
#ifdef __FAST_MATH__
#error "Compile without -ffast-math."
#endif

/* Compilers that know the instructions for bfloat16 */
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 9 : __GNUC__ >= 11)
#define HAS_BF16 1
#include <immintrin.h>
#else
#define HAS_BF16 0
#endif

/* How many tokens are projected to their gates at a time: few enough for these to stay in the
 * processor's cache until they are used. */
#define CHUNK_TOKENS 96
/* How many sequences are computed together: enough to read the weights seldom, few enough for their
 * states to stay in the cache. At most CHUNK_TOKENS. */
#define GROUP_ROWS 48

/* Vectors of a tile, and the blocks of units that they are for. */
#define VECTORS(gates) ((gates) == 3 ? 3 : 4)
#define BLOCKS(gates) ((gates) == 1 ? 4 : 1)

/* For loops over a constant number of registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

static ptrdiff_t get_token(const rnn_sequences *sequences, ptrdiff_t row, ptrdiff_t step) {
    const ptrdiff_t i = sequences->reverse ? sequences->lengths[row] - 1 - step : step;
    return sequences->starts[row] + i;
}

/* How many sequences are longer than `step`, of the first n. */
static ptrdiff_t count_rows(const rnn_sequences *sequences, ptrdiff_t step, ptrdiff_t n) {
    while (n > 0 && sequences->lengths[n - 1] <= step) n--;
    return n;
}

/* The sequences from `first` on, as many as are computed together. */
static rnn_sequences get_group(const rnn_sequences *sequences, ptrdiff_t first) {
    rnn_sequences group = *sequences;
    group.n = sequences->n - first < GROUP_ROWS ? sequences->n - first : GROUP_ROWS;
    group.starts += first;
    group.lengths += first;
    if (group.state != NULL) group.state += first * group.state_stride;
    return group;
}

static ptrdiff_t count_chains(const rnn_chains *chains) {
    return chains->n_steps == 0 ? 0 : chains->starts[1];
}

static int has_step(const rnn_chains *chains, ptrdiff_t row, ptrdiff_t step) {
    return step < chains->n_steps && chains->starts[step] + row < chains->starts[step + 1];
}

#if defined(__x86_64__)
#define NAME(x) x##_avx512
#define INSTRUCTIONS "avx512"
#define TARGET __attribute__((target("avx512f,avx2,fma")))
#define LANES 16
#define ROWS 6
#include "instruction_set.h"

#if HAS_BF16
#define NAME(x) x##_avx512bf16
#define INSTRUCTIONS "avx512bf16"
#define TARGET __attribute__((target("avx512bf16,avx512vl,avx512f,avx2,fma")))
#define LANES 16
#define ROWS 6
#define BF16
#include "instruction_set.h"
#endif

#if HAS_BF16
#define NAME(x) x##_avx512vnni
#define INSTRUCTIONS "avx512vnni"
#define TARGET __attribute__((target("avx512vnni,avx512f,avx2,fma")))
#define LANES 16
#define ROWS 6
#define INT8
#include "instruction_set.h"
#endif

#define NAME(x) x##_avx2
#define INSTRUCTIONS "avx2"
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define ROWS 2
#include "instruction_set.h"
#endif

#if defined(__aarch64__)
#define BASE_ROWS 6
#else
#define BASE_ROWS 2
#endif
#define NAME(x) x##_base
#define INSTRUCTIONS "base"
#define TARGET
#define LANES 4
#define ROWS BASE_ROWS
#include "instruction_set.h"

const rnn_kernels *rnn_get_kernels(const char *name) {
    const rnn_kernels *known[3];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) known[n++] = &kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        known[n++] = &kernels_avx2;
#endif
#if defined(__x86_64__)
    /* Torch's own kernels are faster than those without FMA. */
    if (name == NULL && n == 0) return NULL;
#endif
    known[n++] = &kernels_base;
    for (int i = 0; i < n; i++)
        if (name == NULL || strcmp(known[i]->name, name) == 0) return known[i];
    return NULL;
}

const rnn_kernels *rnn_get_bf16_kernels(const rnn_kernels *kernels) {
#if HAS_BF16
    if (kernels == &kernels_avx512 && __builtin_cpu_supports("avx512bf16") &&
        __builtin_cpu_supports("avx512vl"))
        return &kernels_avx512bf16;
#endif
    (void)kernels;
    return NULL;
}

const rnn_kernels *rnn_get_int8_kernels(const rnn_kernels *kernels) {
#if HAS_BF16
    if (kernels == &kernels_avx512 && __builtin_cpu_supports("avx512vnni"))
        return &kernels_avx512vnni;
#endif
    (void)kernels;
    return NULL;
}

int rnn_prefers_bf16(const rnn_kernels *kernels) {
#if HAS_BF16
    return rnn_get_bf16_kernels(kernels) != NULL && __builtin_cpu_is("amd");
#else
    (void)kernels;
    return 0;
#endif
}

int rnn_has_amx(void) {
#if defined(__x86_64__)
    unsigned int a = 0, b = 0, c = 0, d = 0;
    /* Older compilers have no name for it. */
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1);
#else
    return 0;
#endif
}

static uint32_t round_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    /* To the nearest, of two to the even one. A NaN stays one. */
    return x == x ? (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 : bits >> 16 | 0x40;
}

void rnn_pair_bf16(const float *from, ptrdiff_t blocks, ptrdiff_t size, ptrdiff_t width,
                   uint32_t *to) {
    for (ptrdiff_t block = 0; block < blocks; block++, from += size * width)
        for (ptrdiff_t k = 0; k < size; k += 2, to += width)
            for (ptrdiff_t i = 0; i < width; i++) {
                const float *first = from + k * width + i;
                to[i] = round_bf16(*first) | (k + 1 < size ? round_bf16(first[width]) << 16 : 0);
            }
}

/* Hash a row, two numbers at a time, in four ways at once for the processor not to wait. */
static uint64_t hash_row(const float *row, ptrdiff_t width) {
    uint64_t hashes[4] = {1, 2, 3, 4};
    for (ptrdiff_t k = 0; k < width; k += 8) {
        uint64_t bits[4] = {0};
        const ptrdiff_t rest = width - k;
        memcpy(bits, row + k, rest < 8 ? (size_t)rest * sizeof(float) : sizeof(bits));
        for (int i = 0; i < 4; i++) {
            hashes[i] = (hashes[i] ^ bits[i]) * 0x9E3779B97F4A7C15u;
            hashes[i] ^= hashes[i] >> 32;
        }
    }
    for (int i = 1; i < 4; i++) hashes[0] = (hashes[0] ^ hashes[i]) * 0xC4CEB9FE1A85EC53u;
    return hashes[0] ^ (hashes[0] >> 32);
}

ptrdiff_t rnn_find_distinct(const float *X, ptrdiff_t n, ptrdiff_t width, int64_t *index,
                            int64_t *first) {
    const size_t row_bytes = (size_t)width * sizeof(float);
    ptrdiff_t slots = 64, found = 0;
    while (slots < 2 * n) slots *= 2;
    int64_t *table = malloc((size_t)slots * sizeof(int64_t));
    if (table == NULL) return -1;
    memset(table, 0xFF, (size_t)slots * sizeof(int64_t));
    for (ptrdiff_t i = 0; i < n; i++) {
        const float *row = X + i * width;
        ptrdiff_t slot = (ptrdiff_t)(hash_row(row, width) & (uint64_t)(slots - 1));
        while (table[slot] >= 0 && memcmp(X + first[table[slot]] * width, row, row_bytes) != 0)
            slot = (slot + 1) & (slots - 1);
        if (table[slot] < 0) {
            table[slot] = found;
            first[found++] = i;
        }
        index[i] = table[slot];
    }
    free(table);
    return found;
}
