/* The kernel for x86 processors with AVX2: Haswell, Zen and later. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "common.h"

BEGIN_TARGET("avx2,bmi2,popcnt")
#include "vector/avx2.h"
#include "instructions.h"

END_TARGET

static int runs_here(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
}

const instruction_set forest_avx2 = {
    "avx2", runs_here, encode, add_few, add_blocks,
    .mask_levels = MASK_LEVELS, .step_ns = 0.7, .walk_ns = 1.4, .mask_ns = 1.5, .level_ns = 49, .exits_ns = 55,
    .pair_ns = 1.8, .join_ns = 2.1, .set_ns = 45, .leave_ns = 2.9, .on_ns = 1.0,
};
#endif
