/* The kernel for x86 processors with AVX-512 and VBMI: Ice Lake, Zen 4 and later. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "common.h"

BEGIN_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2,popcnt")
#include "vector/avx512.h"
#include "instructions.h"

END_TARGET

static int runs_here(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt");
}

const instruction_set forest_avx512 = {
    "avx512", runs_here, encode, add_few, add_blocks,
    .mask_levels = MASK_LEVELS, .step_ns = 0.7, .walk_ns = 1.4, .mask_ns = 1.1, .level_ns = 38, .exits_ns = 15,
    .pair_ns = 1.8, .join_ns = 2.2, .set_ns = 2.1, .leave_ns = 3.3, .on_ns = 1.0,
};
#endif
