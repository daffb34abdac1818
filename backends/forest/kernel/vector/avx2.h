/* AVX2: masks of 64 rows in two comparisons. */

#define MASK_LEVELS 5

#include "bytes.h"

static inline uint32_t count_below16(const int32_t *sorted, int32_t key) {
    const __m256i k = _mm256_set1_epi32(key);
    const __m256i lower = _mm256_cmpgt_epi32(k, _mm256_loadu_si256((const __m256i *)sorted));
    const __m256i upper = _mm256_cmpgt_epi32(k, _mm256_loadu_si256((const __m256i *)(sorted + 8)));
    const uint32_t below = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(lower)) |
                           (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(upper)) << 8;
    return (uint32_t)_mm_popcnt_u32(below);
}

static inline uint32_t count_below16_wide(const int64_t *sorted, int64_t key) {
    const __m256i k = _mm256_set1_epi64x(key);
    __m256i below = _mm256_setzero_si256(); /* each is -1 for every one that is below */
    UNROLL for (int n = 0; n < 16; n += 4)
        below = _mm256_add_epi64(below, _mm256_cmpgt_epi64(k, _mm256_loadu_si256((const __m256i *)(sorted + n))));
    const __m128i halves = _mm_add_epi64(_mm256_castsi256_si128(below), _mm256_extracti128_si256(below, 1));
    return 0u - (uint32_t)(_mm_cvtsi128_si64(halves) + _mm_extract_epi64(halves, 1));
}

/* There is no unsigned comparison of bytes: the larger of both is the bound where the code is not above it. */
ALWAYS_INLINE uint64_t mask_above(const uint8_t *codes, uint8_t bound) {
    const __m256i b = _mm256_set1_epi8((char)bound);
    const __m256i lower = _mm256_load_si256((const __m256i *)codes), upper = _mm256_load_si256((const __m256i *)(codes + 32));
    const uint32_t low = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(lower, b), b));
    const uint32_t high = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(upper, b), b));
    return ~(low | (uint64_t)high << 32);
}
