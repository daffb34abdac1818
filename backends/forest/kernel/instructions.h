/* Everything that is compiled once for each instruction set. Included after the set's own part, of `vector/`. */
#include "encode.h"
#include "few.h"
#include "block.h"
