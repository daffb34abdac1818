/* The kernel in plain C, for every other processor. */
#include "common.h"
#include "vector/portable.h"
#include "instructions.h"

static int runs_here(void) { return 1; }

const instruction_set forest_portable = {
    "portable", runs_here, encode, add_few, add_blocks,
    .mask_levels = MASK_LEVELS, .step_ns = 0.7, .walk_ns = 1.4, .mask_ns = 0, .level_ns = 35, .exits_ns = 110,
    .pair_ns = 2.4, .join_ns = 3.5, .set_ns = 45, .leave_ns = 3.3, .on_ns = 1.0,
};
