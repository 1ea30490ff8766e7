/* Fourier transforms against their sums for every length up to 70; windows; statistics of the random
 * generators. */
#include "op_values.h"

static const double tau = 6.283185307179586;

/* Output k of line `line` of a transform over the middle axis of [lines, n, 2], by its sum. */
static void plain_dft(const Tensor *x, int64_t line, int64_t n, int64_t length, double sign, int64_t k,
                      double *re, double *im) {
    *re = *im = 0;
    for (int64_t i = 0; i < n && i < length; ++i) {
        double angle = sign * tau * (double)(i * k % length) / (double)length;
        double a = op_run_at(x, (line * n + i) * 2), b = op_run_at(x, (line * n + i) * 2 + 1);
        *re += a * cos(angle) - b * sin(angle);
        *im += a * sin(angle) + b * cos(angle);
    }
}

static double dft_error(const OpRun *run, int64_t n, int64_t length, bool inverse) {
    const Tensor *x = &run->input[0], *y = &run->output[0];
    double worst = 0, scale = inverse ? 1 / (double)length : 1;
    for (int64_t line = 0; line < x->dim[0]; ++line) {
        for (int64_t k = 0; k < y->dim[1]; ++k) {
            double re, im;
            plain_dft(x, line, n, length, inverse ? 1 : -1, k, &re, &im);
            worst = fmax(worst, fabs(op_run_at(y, (line * y->dim[1] + k) * 2) - re * scale));
            worst = fmax(worst, fabs(op_run_at(y, (line * y->dim[1] + k) * 2 + 1) - im * scale));
        }
    }
    return worst;
}

static void test_lengths(void) {
    OpRun run = {0};
    for (int64_t n = 1; n <= 70; ++n) {
        for (int kind = 0; kind < 3; ++kind) { /* forward, inverse, one-sided */
            int64_t length = n % 3 == 0 ? n + 5 : n % 5 == 0 ? n - 3 : n;
            double given = (double)length;
            op_noise(&run, DTYPE_F64, 3, (const int64_t[]){2, n, 2}, -1, 1);
            op_values(&run, DTYPE_I64, -1, &given);
            CHECK(attr_set_int(&run.attrs, &run.arena, "inverse", kind == 1));
            CHECK(attr_set_int(&run.attrs, &run.arena, "onesided", kind == 2));
            CHECK_OK(op_run_name(&run, "DFT", 1), &run.diag);
            CHECK_INT(run.output[0].dim[1], kind == 2 ? length / 2 + 1 : length);
            CHECK_NEAR(dft_error(&run, n, length, kind == 1), 0, 1e-12 * (double)length);
            op_run_end(&run);
        }
    }
}

/* A real signal's one-sided spectrum gives the signal back. */
static void test_round_trip(void) {
    for (int64_t n = 1; n <= 40; ++n) {
        OpRun run = {.random = (uint64_t)n}, back = {0};
        double length = (double)n, worst = 0;
        const Tensor *x = op_noise(&run, DTYPE_F32, 3, (const int64_t[]){3, n, 1}, -1, 1);
        CHECK(attr_set_int(&run.attrs, &run.arena, "onesided", 1));
        CHECK_OK(op_run_name(&run, "DFT", 1), &run.diag);
        back.input[0] = run.output[0];
        back.present[0] = true;
        back.input_count = 1;
        op_values(&back, DTYPE_I64, -1, &length);
        CHECK(attr_set_int(&back.attrs, &back.arena, "onesided", 1));
        CHECK(attr_set_int(&back.attrs, &back.arena, "inverse", 1));
        CHECK_OK(op_run_name(&back, "DFT", 1), &back.diag);
        CHECK_INT(tensor_count(&back.output[0]), 3 * n);
        for (int64_t i = 0; i < 3 * n; ++i)
            worst = fmax(worst, fabs(op_run_at(x, i) - op_run_at(&back.output[0], i)));
        CHECK_NEAR(worst, 0, 1e-5);
        op_run_end(&back);
        op_run_end(&run);
    }
}

static void test_frames(void) {
    OpRun run = {0};
    double worst = 0;
    const Tensor *x = op_noise(&run, DTYPE_F32, 3, (const int64_t[]){2, 50, 1}, -1, 1);
    op_values(&run, DTYPE_I64, -1, (const double[]){7});
    const Tensor *w = op_noise(&run, DTYPE_F32, 1, (const int64_t[]){12}, 0, 1);
    CHECK_OK(op_run_name(&run, "STFT", 1), &run.diag);
    const Tensor *y = &run.output[0];
    CHECK_INT(y->dim[1], 6);
    CHECK_INT(y->dim[2], 7);
    for (int64_t frame = 0; frame < 12; ++frame) {
        for (int64_t k = 0; k < 7; ++k) {
            double re = 0, im = 0;
            for (int64_t i = 0; i < 12; ++i) {
                double value = op_run_at(w, i) * op_run_at(x, frame / 6 * 50 + frame % 6 * 7 + i);
                re += value * cos(tau * (double)(i * k) / 12);
                im -= value * sin(tau * (double)(i * k) / 12);
            }
            worst = fmax(worst, fabs(op_run_at(y, (frame * 7 + k) * 2) - re));
            worst = fmax(worst, fabs(op_run_at(y, (frame * 7 + k) * 2 + 1) - im));
        }
    }
    CHECK_NEAR(worst, 0, 1e-5);
    op_run_end(&run);
    op_noise(&run, DTYPE_F32, 2, (const int64_t[]){1, 5}, -1, 1); /* shorter than a frame */
    op_values(&run, DTYPE_I64, -1, (const double[]){1});
    op_omit(&run);
    op_values(&run, DTYPE_I64, -1, (const double[]){8});
    CHECK_OK(op_run_name(&run, "STFT", 1), &run.diag);
    CHECK_INT(tensor_count(&run.output[0]), 0);
    op_run_end(&run);
}

static void test_windows(void) {
    static const char *const names[] = {"HannWindow", "HammingWindow", "BlackmanWindow"};
    OpRun run = {0};
    for (int i = 0; i < 3; ++i) {
        for (int periodic = 0; periodic < 2; ++periodic) {
            op_values(&run, DTYPE_I64, -1, (const double[]){9});
            CHECK(attr_set_int(&run.attrs, &run.arena, "periodic", periodic));
            CHECK_OK(op_run_name(&run, names[i], 1), &run.diag);
            const Tensor *y = &run.output[0];
            CHECK_NEAR(op_run_at(y, 4), 1, periodic ? 0.1 : 1e-6);
            for (int k = 1; k < 4; ++k)
                CHECK_NEAR(op_run_at(y, k), op_run_at(y, (periodic ? 9 : 8) - k), 1e-6);
            op_run_end(&run);
        }
    }
}

/* -- random numbers -- */

enum { DRAWS = 200000 };

static void check_moments(const Tensor *y, double mean, double deviation) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < DRAWS; ++i) sum += op_run_at(y, i);
    for (int64_t i = 0; i < DRAWS; ++i) squares += pow(op_run_at(y, i) - sum / DRAWS, 2);
    CHECK_NEAR(sum / DRAWS, mean, 5 * deviation / sqrt(DRAWS));
    CHECK_NEAR(sqrt(squares / DRAWS), deviation, 0.02 * deviation);
}

static void run_random(OpRun *run, const char *name, const char *a, float x, const char *b, float y,
                       float seed) {
    op_run_ints(run, "shape", 1, (const int64_t[]){DRAWS});
    CHECK(attr_set_float(&run->attrs, &run->arena, a, x));
    CHECK(attr_set_float(&run->attrs, &run->arena, b, y));
    CHECK(attr_set_float(&run->attrs, &run->arena, "seed", seed));
    CHECK_OK(op_run_name(run, name, 1), &run->diag);
}

static void test_distributions(void) {
    OpRun run = {0}, again = {0}, other = {0};
    run_random(&run, "RandomNormal", "mean", 3, "scale", 2, 1);
    check_moments(&run.output[0], 3, 2);
    run_random(&again, "RandomNormal", "mean", 3, "scale", 2, 1);
    run_random(&other, "RandomNormal", "mean", 3, "scale", 2, 2);
    CHECK(memcmp(run.output[0].data, again.output[0].data, DRAWS * sizeof(float)) == 0);
    CHECK(memcmp(run.output[0].data, other.output[0].data, DRAWS * sizeof(float)) != 0);
    op_run_end(&again);
    op_run_end(&other);
    op_run_end(&run);
    run_random(&run, "RandomUniform", "low", -1, "high", 5, 7);
    check_moments(&run.output[0], 2, 6 / sqrt(12));
    for (int64_t i = 0; i < DRAWS; ++i) CHECK(fabs(op_run_at(&run.output[0], i) - 2) <= 3);
    op_run_end(&run);
}

static void test_choices(void) {
    static const double shares[] = {0.5, 0.125, 0.375};
    OpRun run = {0};
    Tensor *logits = op_input(&run, DTYPE_F32, 2, (const int64_t[]){1, 3});
    int64_t counts[3] = {0};
    for (int i = 0; i < 3; ++i) dtype_store_f64(DTYPE_F32, logits->data, i, log(shares[i]) + 5);
    CHECK(attr_set_int(&run.attrs, &run.arena, "sample_size", DRAWS));
    CHECK_OK(op_run_name(&run, "Multinomial", 1), &run.diag);
    for (int64_t i = 0; i < DRAWS; ++i) counts[(int)op_run_at(&run.output[0], i)]++;
    for (int i = 0; i < 3; ++i) CHECK_NEAR((double)counts[i] / DRAWS, shares[i], 0.01);
    op_run_end(&run);
    Tensor *chances = op_input(&run, DTYPE_F32, 1, (const int64_t[]){DRAWS});
    for (int64_t i = 0; i < DRAWS; ++i) dtype_store_f64(DTYPE_F32, chances->data, i, 0.25);
    CHECK_OK(op_run_name(&run, "Bernoulli", 1), &run.diag);
    check_moments(&run.output[0], 0.25, sqrt(0.25 * 0.75));
    op_run_end(&run);
}

int main(void) {
    test_lengths();
    test_round_trip();
    test_frames();
    test_windows();
    test_distributions();
    test_choices();
    return test_result();
}
