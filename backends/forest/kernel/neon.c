/* The kernel for ARM processors of 64 bits, which all have NEON. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "common.h"
#include "vector/neon.h"
#include "instructions.h"

static int runs_here(void) { return 1; }

const instruction_set forest_neon = {
    "neon", runs_here, encode, add_few, add_blocks,
    /* Not measured: near those of AVX2, which does with two comparisons what takes four here. */
    .mask_levels = MASK_LEVELS, .step_ns = 0.7, .walk_ns = 1.4, .mask_ns = 3, .level_ns = 49, .exits_ns = 55,
    .pair_ns = 2.4, .join_ns = 3.5, .set_ns = 45, .leave_ns = 3.3, .on_ns = 1.0,
};
#endif
