#include "tests/kernels_host/moments.h"

#include <math.h>

#include "kernels/sums_text.h"
#include "tests/test.h"

typedef struct Sums {
    double count, mean, squares;
} Sums;

static Sums merged(Sums a, Sums b) {
    double count = a.count + b.count, apart = b.mean - a.mean;
    if (count <= 0) return a;
    return (Sums){count, a.mean + apart * b.count / count,
                  a.squares + b.squares + apart * apart * a.count * b.count / count};
}

static int64_t places_of(const Tensor *x) {
    return tensor_count(x) / (x->dim[0] * x->dim[1]);
}

/* Of places [first, last) of a channel; `row` counts channels of all entries. */
static Sums sums_of(const Tensor *x, int64_t row, int64_t first, int64_t last) {
    Sums sums = {0};
    for (int64_t i = first; i < last; ++i)
        sums = merged(sums, (Sums){1, dtype_load_f64(x->dtype, x->data, row * places_of(x) + i), 0});
    return sums;
}

void moments_fill(const Tensor *x, int64_t parts, char *scratch) {
    int64_t channels = x->dim[1], places = places_of(x);
    float *moments = (float *)scratch;
    float *counts = (float *)(scratch + moment_counts_at(x->dim[0] * parts, channels));
    for (int64_t part = 0; part < x->dim[0] * parts; ++part)
        for (int64_t c = 0; c < channels; ++c) {
            int64_t number = part % parts;
            Sums sums = sums_of(x, part / parts * channels + c, number * places / parts,
                                (number + 1) * places / parts);
            moments[2 * (part * channels + c)] = (float)sums.mean;
            moments[2 * (part * channels + c) + 1] = (float)sums.squares;
            counts[part] = (float)sums.count;
        }
}

void moments_check(const Tensor *y, int64_t parts, const char *scratch, const char *what) {
    enum { TOLERANCE = 500 /* a part of it */ };
    int64_t channels = y->dim[1];
    const float *moments = (const float *)scratch;
    const float *counts = (const float *)(scratch + moment_counts_at(y->dim[0] * parts, channels));
    for (int64_t row = 0; row < y->dim[0] * channels; ++row) {
        Sums found = {0}, expected = sums_of(y, row, 0, places_of(y));
        for (int64_t part = row / channels * parts; part < (row / channels + 1) * parts; ++part) {
            const float *own = moments + 2 * (part * channels + row % channels);
            found = merged(found, (Sums){(double)counts[part], (double)own[0], (double)own[1]});
        }
        double deviation = sqrt(expected.squares / expected.count);
        bool right = found.count == expected.count &&
                     fabs(found.mean - expected.mean) * TOLERANCE <= deviation + fabs(expected.mean) &&
                     fabs(found.squares - expected.squares) * TOLERANCE <= 4 * expected.squares + 1e-6;
        if (!right)
            fprintf(stderr, "%s: channel %lld: %g elements, mean %g, squares %g instead of %g, %g, %g\n",
                    what, (long long)row, found.count, found.mean, found.squares, expected.count,
                    expected.mean, expected.squares);
        CHECK(right);
        if (!right) return;
    }
}
