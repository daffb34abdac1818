/* NEON: masks of 64 rows in four comparisons. */

#define MASK_LEVELS 4

#include "bytes.h"

static inline uint32_t count_below16(const int32_t *sorted, int32_t key) {
    const int32x4_t k = vdupq_n_s32(key);
    uint32x4_t below = vcgtq_s32(k, vld1q_s32(sorted));
    below = vaddq_u32(below, vcgtq_s32(k, vld1q_s32(sorted + 4)));
    below = vaddq_u32(below, vcgtq_s32(k, vld1q_s32(sorted + 8)));
    below = vaddq_u32(below, vcgtq_s32(k, vld1q_s32(sorted + 12)));
    return 0u - vaddvq_u32(below); /* each is -1 */
}

static inline uint32_t count_below16_wide(const int64_t *sorted, int64_t key) {
    const int64x2_t k = vdupq_n_s64(key);
    uint64x2_t below = vcgtq_s64(k, vld1q_s64(sorted));
    for (int n = 2; n < 16; n += 2) below = vaddq_u64(below, vcgtq_s64(k, vld1q_s64(sorted + n)));
    return 0u - (uint32_t)vaddvq_u64(below); /* each is -1 */
}

/* Every byte of a comparison keeps one bit, and neighbours are added up until 64 bits are left. */
ALWAYS_INLINE uint64_t mask_above(const uint8_t *codes, uint8_t bound) {
    static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t b = vdupq_n_u8(bound), bit = vld1q_u8(bits);
    const uint8x16_t m0 = vandq_u8(vcgtq_u8(vld1q_u8(codes), b), bit);
    const uint8x16_t m1 = vandq_u8(vcgtq_u8(vld1q_u8(codes + 16), b), bit);
    const uint8x16_t m2 = vandq_u8(vcgtq_u8(vld1q_u8(codes + 32), b), bit);
    const uint8x16_t m3 = vandq_u8(vcgtq_u8(vld1q_u8(codes + 48), b), bit);
    const uint8x16_t sums = vpaddq_u8(vpaddq_u8(m0, m1), vpaddq_u8(m2, m3));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(sums, sums)), 0);
}
