/* The kernel for ARM processors of 64 bits, which all have NEON. */
#if defined(__aarch64__)
#include <arm_neon.h>

#include "common.h"
#include "vector/neon.h"
#include "instructions.h"

static int runs_here(void) { return 1; }

const instruction_set forest_neon = {
    "neon", runs_here, encode, add_few, add_blocks,
    .mask_levels = MASK_LEVELS, .step_ns = 0.85, .mask_ns = 3.0, .block_step_ns = 45, .exits_ns = 40, .walk_ns = 1.0,
    .pair_ns = 1.6, .join_ns = 2.6, .set_ns = 60,
};
#endif
