/* How libFuzzer changes a forest: left to itself it hardly makes one that is accepted. Numbers are replaced by such as lie
 * in the file already or at the edges, arrays are moved to the end, and the header says how long the file has become.
 */
#include <stdint.h>
#include <string.h>

enum { SIZE_AT = 16, SECTIONS_AT = 88, SECTIONS = 20, HEADER = SECTIONS_AT + 16 * SECTIONS };

size_t LLVMFuzzerMutate(uint8_t *input, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t size, size_t most, unsigned seed);

static uint32_t next(uint64_t *random, uint64_t below) {
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*random >> 33) % (below ? below : 1));
}

static uint64_t number_at(const uint8_t *at, size_t bytes) {
    uint64_t number = 0;
    memcpy(&number, at, bytes);
    return number;
}

/* One number, most often of 4 bytes, a third of the time in the header. */
static void replace_number(uint8_t *input, size_t size, uint64_t *random) {
    static const uint32_t edges[] = {0, 1, 0x7fffffffu, 0x80000000u, 0x8000u, 0xffffu, 0x40000000u, 0xffffffffu, 0xbf800000u};
    const size_t bytes = (size_t)1 << (next(random, 3) ? 2 : next(random, 3));
    const size_t from = next(random, 3) ? HEADER : 0, until = from ? size : HEADER;
    const size_t at = from + next(random, (until - from) / bytes) * bytes;
    uint64_t number = number_at(input + at, bytes);
    switch (next(random, 5)) {
    case 0: number += next(random, 9) - (uint64_t)4; break;
    case 1: number = next(random, 300); break;
    case 2: number = edges[next(random, sizeof edges / sizeof *edges)]; break;
    case 3: number = number_at(input + next(random, size / 4) * 4, 4); break;
    default: number = number_at(input + SECTIONS_AT + 16 * next(random, SECTIONS) + 8, 4) - next(random, 3); break;
    }
    memcpy(input + at, &number, bytes);
}

/* The array of one section, or some of it, goes behind everything else. */
static size_t move_to_end(uint8_t *input, size_t size, size_t most, uint64_t *random) {
    uint8_t *section = input + SECTIONS_AT + 16 * next(random, SECTIONS);
    const uint64_t begin = number_at(section, 8), end = (size + 63) / 64 * 64;
    if (begin >= size || end >= most) return size;
    uint64_t moved = size - begin < most - end ? size - begin : most - end;
    if (next(random, 2)) moved = next(random, moved) + (uint64_t)1;
    memset(input + size, 0, end - size);
    memcpy(input + end, input + begin, moved);
    memcpy(section, &end, 8);
    return end + moved;
}

size_t LLVMFuzzerCustomMutator(uint8_t *input, size_t size, size_t most, unsigned seed) {
    uint64_t random = seed;
    next(&random, 1);
    if (size < HEADER || !next(&random, 8)) {
        size = LLVMFuzzerMutate(input, size, most);
    } else if (!next(&random, 8)) {
        size = move_to_end(input, size, most, &random);
    } else if (!next(&random, 16)) {
        size -= next(&random, size - HEADER < 64 ? size - HEADER : 64);
    } else {
        for (uint32_t times = next(&random, 3); times < 3; times++) replace_number(input, size, &random);
    }
    if (size < HEADER || !next(&random, 16)) return size;
    const uint64_t whole = size;
    memcpy(input, "SFforest\1\0\0", 12);
    memcpy(input + SIZE_AT, &whole, 8);
    return size;
}
