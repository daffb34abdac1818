/* The kernel in plain C, for every other processor. */
#include "common.h"
#include "vector/portable.h"
#include "instructions.h"

static int runs_here(void) { return 1; }

const instruction_set forest_portable = {
    "portable", runs_here, encode, add_few, add_blocks,
    .mask_levels = MASK_LEVELS, .step_ns = 0.85, .mask_ns = 0, .block_step_ns = 45, .exits_ns = 40, .walk_ns = 1.0,
    .pair_ns = 1.8, .join_ns = 3.0, .set_ns = 60,
};
