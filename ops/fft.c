/* Radix-2 transforms (Cooley & Tukey, 1965), and for other lengths a convolution with a chirp made of them
 * (Bluestein, "A linear filtering approach to the computation of discrete Fourier transform", 1970). */
#include "ops/fft.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

static bool is_power_of_two(int64_t n) {
    return (n & (n - 1)) == 0;
}

/* The power of two that a convolution of length n takes: at least 2n - 1. */
static int64_t padded_length(int64_t n) {
    int64_t m = 1;
    while (m < 2 * n - 1) m *= 2;
    return m;
}

size_t fft_table_size(int64_t n) {
    if (n > INT64_C(1) << 48) return SIZE_MAX;
    return 2 * (size_t)n + 3 * (size_t)padded_length(n);
}

size_t fft_work_size(int64_t n) {
    return n > INT64_C(1) << 48 ? SIZE_MAX : 2 * (size_t)padded_length(n);
}

static void reverse_bits(double *data, int64_t m) {
    for (int64_t i = 1, j = 0; i < m; ++i) {
        int64_t bit = m >> 1;
        for (; (j & bit) != 0; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i >= j) continue;
        for (int part = 0; part < 2; ++part) {
            double swap = data[2 * i + part];
            data[2 * i + part] = data[2 * j + part];
            data[2 * j + part] = swap;
        }
    }
}

/* Forward transform of m numbers, m a power of two. */
static void transform(const Fft *fft, double *data) {
    int64_t m = fft->m;
    reverse_bits(data, m);
    for (int64_t half = 1; half < m; half *= 2) {
        int64_t step = m / (2 * half);
        for (int64_t start = 0; start < m; start += 2 * half) {
            double *a = data + 2 * start, *b = a + 2 * half;
            for (int64_t k = 0; k < half; ++k) {
                double c = fft->twiddle[2 * k * step], s = fft->twiddle[2 * k * step + 1];
                double re = b[2 * k] * c - b[2 * k + 1] * s, im = b[2 * k] * s + b[2 * k + 1] * c;
                b[2 * k] = a[2 * k] - re;
                b[2 * k + 1] = a[2 * k + 1] - im;
                a[2 * k] += re;
                a[2 * k + 1] += im;
            }
        }
    }
}

static void conjugate(double *data, int64_t n) {
    for (int64_t i = 0; i < n; ++i) data[2 * i + 1] = -data[2 * i + 1];
}

/* to = a * b, elementwise; to may be a. */
static void multiply(double *to, const double *a, const double *b, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        double re = a[2 * i] * b[2 * i] - a[2 * i + 1] * b[2 * i + 1];
        double im = a[2 * i] * b[2 * i + 1] + a[2 * i + 1] * b[2 * i];
        to[2 * i] = re;
        to[2 * i + 1] = im;
    }
}

static void init_chirp(Fft *fft) {
    int64_t n = fft->n, square = 0; /* k^2 modulo 2n, which is the chirp's period */
    memset(fft->filter, 0, 2 * (size_t)fft->m * sizeof(double));
    for (int64_t k = 0; k < n; ++k) {
        double angle = PI * (double)square / (double)n;
        double re = cos(angle), im = sin(angle);
        fft->chirp[2 * k] = re;
        fft->chirp[2 * k + 1] = -im;
        int64_t mirror = k == 0 ? 0 : fft->m - k;
        fft->filter[2 * k] = fft->filter[2 * mirror] = re / (double)fft->m;
        fft->filter[2 * k + 1] = fft->filter[2 * mirror + 1] = im / (double)fft->m;
        square = (square + 2 * k + 1) % (2 * n);
    }
    transform(fft, fft->filter);
}

void fft_init(Fft *fft, int64_t n, double *memory) {
    bool simple = is_power_of_two(n);
    *fft = (Fft){.n = n, .m = simple ? n : padded_length(n), .twiddle = memory};
    for (int64_t k = 0; k < fft->m / 2; ++k) {
        double angle = 2 * PI * (double)k / (double)fft->m;
        fft->twiddle[2 * k] = cos(angle);
        fft->twiddle[2 * k + 1] = -sin(angle);
    }
    if (simple) return;
    fft->chirp = memory + fft->m;
    fft->filter = fft->chirp + 2 * n;
    init_chirp(fft);
}

static void run_chirp(const Fft *fft, double *data, double *work) {
    multiply(work, data, fft->chirp, fft->n);
    memset(work + 2 * fft->n, 0, 2 * (size_t)(fft->m - fft->n) * sizeof(double));
    transform(fft, work);
    multiply(work, work, fft->filter, fft->m);
    conjugate(work, fft->m); /* conjugates around a forward transform make the inverse */
    transform(fft, work);
    conjugate(work, fft->n);
    multiply(data, work, fft->chirp, fft->n);
}

void fft_run(const Fft *fft, double *data, bool inverse, double *work) {
    if (inverse) conjugate(data, fft->n);
    if (fft->chirp == NULL)
        transform(fft, data);
    else
        run_chirp(fft, data, work);
    if (inverse) conjugate(data, fft->n);
}
