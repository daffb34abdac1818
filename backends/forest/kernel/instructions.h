/* Everything that is compiled once for each instruction set. Included after SET names it and its part of `vector/`. */
#include "encode.h"
#include "few.h"
#include "block.h"
