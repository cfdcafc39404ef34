/* Vectors of one instruction set, and functions of them. */

typedef float NAME(vec) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t NAME(ints) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t NAME(bits) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
#define VEC NAME(vec)
#define INTS NAME(ints)
#define BITS NAME(bits)
#define INLINE TARGET static inline __attribute__((always_inline))

INLINE VEC NAME(load)(const float *from) { return *(const VEC *)from; }

INLINE void NAME(store)(float *to, VEC x) { *(VEC *)to = x; }

#if defined(BF16) || defined(INT8)
/* The first n numbers of a vector, and zeros. */
INLINE __m512 NAME(load_part)(const float *from, ptrdiff_t n) {
    const __mmask16 mask = n < LANES ? (__mmask16)((1u << n) - 1) : (__mmask16)0xFFFF;
    return _mm512_maskz_loadu_ps(mask, from);
}
#endif

/* What products are made of: FACTORS numbers each. */
#if defined(INT8)
#define FACTORS 4
typedef uint32_t NAME(word);
typedef INTS NAME(words);

/* sum[i] + x[0] * weights[i][0] + ... + x[3] * weights[i][3] */
INLINE INTS NAME(add_product)(INTS sum, uint32_t x, INTS weights) {
    return (INTS)_mm512_dpbusd_epi32((__m512i)sum, _mm512_set1_epi32((int)x), (__m512i)weights);
}

/* A row as words, which are made in the room: its scale, a word that says nothing, and its numbers
 * divided by the scale and rounded, plus 128, as the instruction takes one factor without a sign. */
INLINE const uint32_t *NAME(to_words)(const float *row, ptrdiff_t size, uint32_t *room) {
    __m512 largest = _mm512_setzero_ps();
    for (ptrdiff_t k = 0; k < size; k += LANES)
        largest = _mm512_max_ps(largest, _mm512_abs_ps(NAME(load_part)(row + k, size - k)));
    const float scale = _mm512_reduce_max_ps(largest) / 127.0f;
    const __m512 inverse = _mm512_set1_ps(scale > 0.0f ? 1.0f / scale : 0.0f);
    memcpy(room, &scale, sizeof(scale));
    for (ptrdiff_t k = 0; k < size; k += LANES) {
        const __m512 scaled = NAME(load_part)(row + k, size - k) * inverse;
        const __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(scaled));
        _mm_storeu_si128((__m128i *)(room + 2 + k / 4), bytes ^ _mm_set1_epi8(-128));
    }
    return room;
}
#elif defined(BF16)
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
        const __m256bh halves = _mm512_cvtneps_pbh(NAME(load_part)(row + k, size - k));
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
INLINE ptrdiff_t NAME(count_words)(ptrdiff_t size) {
    return (FACTORS == 4 ? 2 : 0) + (size + FACTORS - 1) / FACTORS;
}

INLINE ptrdiff_t NAME(count_room)(ptrdiff_t size) {
    return FACTORS == 1 ? 0 : NAME(count_words)((size + LANES - 1) / LANES * LANES);
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
    return (VEC)((BITS)p + ((BITS)shifted << 23));
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

