/* Plain C: no masks, every row takes its own way from the root. */

#define MASK_LEVELS 0

#include "bytes.h"

static inline uint32_t count_below16(const int32_t *sorted, int32_t key) {
    uint32_t below = 0;
    for (int n = 0; n < 16; n++) below += sorted[n] < key;
    return below;
}

static inline uint32_t count_below16_wide(const int64_t *sorted, int64_t key) {
    uint32_t below = 0;
    for (int n = 0; n < 16; n++) below += sorted[n] < key;
    return below;
}
