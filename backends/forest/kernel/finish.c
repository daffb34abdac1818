/* From sums of leaves to predictions, by the names of Treelite's post-processors. In float64: a probability of 1e-8 keeps
 * its digits. */
#include <math.h>

#include "forest.h"

static double processed(const forest *f, double x) {
    switch ((postprocessor)f->postprocessor) {
    case SIGMOID: return 1 / (1 + exp(-f->alpha * x));
    case EXPONENTIAL: return exp(x);
    case LOGARITHM_ONE_PLUS_EXP: return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case SIGNED_SQUARE: return x * fabs(x);
    case HINGE: return x > 0;
    case EXPONENTIAL_STANDARD_RATIO: return exp2(-x / f->ratio);
    default: return x;
    }
}

static void softmax(const double *margins, uint32_t count, float *out) {
    double largest = margins[0], sum = 0;
    for (uint32_t k = 1; k < count; k++) largest = margins[k] > largest ? margins[k] : largest;
    for (uint32_t k = 0; k < count; k++) sum += exp(margins[k] - largest);
    for (uint32_t k = 0; k < count; k++) out[k] = (float)(exp(margins[k] - largest) / sum);
}

void forest_finish(const forest *f, double *sums, uint32_t count, float *out) {
    const uint32_t outputs = f->outputs;
    for (uint32_t r = 0; r < count; r++, sums += outputs, out += outputs) {
        for (uint32_t k = 0; k < outputs; k++) sums[k] = sums[k] * f->scale[k] + f->base[k];
        if (f->postprocessor == SOFTMAX) {
            for (uint32_t k = 0; k < outputs; k += f->group) softmax(sums + k, f->group, out + k);
            continue;
        }
        for (uint32_t k = 0; k < outputs; k++) {
            const double result = processed(f, sums[k]);
            out[k] = (float)(f->negated ? -result - f->offset : result);
        }
    }
}
