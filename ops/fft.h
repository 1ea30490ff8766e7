/* Discrete Fourier transforms of any length in double precision, in O(n log n). */
#ifndef SMELT_OPS_FFT_H
#define SMELT_OPS_FFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tables for one length; complex numbers are pairs of doubles. */
typedef struct Fft {
    int64_t n;
    int64_t m;       /* power of two that the transforms inside have; n itself where that is one */
    double *twiddle; /* m / 2 complex: exp(-2 pi i k / m) */
    double *chirp;   /* n complex: exp(-pi i k^2 / n); NULL where n is a power of two */
    double *filter;  /* m complex: transform of the chirp's conjugate, over m */
} Fft;

/* Doubles that the tables for length n need, and a transform's work; neither falls as n grows. SIZE_MAX: n is
 * too large. */
size_t fft_table_size(int64_t n);
size_t fft_work_size(int64_t n);
/* Fills the tables in memory of fft_table_size(n) doubles; n >= 1. */
void fft_init(Fft *fft, int64_t n, double *memory);
/* Transforms n complex numbers in place; the inverse is not divided by n. work has fft_work_size(n) doubles.
 */
void fft_run(const Fft *fft, double *data, bool inverse, double *work);

#endif
