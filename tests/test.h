/* The few macros that unit tests use. A failed CHECK reports file, line and values, and the test goes on;
 * main returns test_result(). Tests are programs: one file, one ctest entry. */
#ifndef SMELT_TESTS_TEST_H
#define SMELT_TESTS_TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_failures, test_checks;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        test_checks++;                                                                                       \
        if (!(condition)) {                                                                                  \
            test_failures++;                                                                                 \
            fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #condition);                    \
        }                                                                                                    \
    } while (0)

#define CHECK_INT(actual, expected)                                                                          \
    do {                                                                                                     \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                          \
        test_checks++;                                                                                       \
        if (actual_ != expected_) {                                                                          \
            test_failures++;                                                                                 \
            fprintf(stderr, "%s:%d: %s is %lld, expected %lld\n", __FILE__, __LINE__, #actual, actual_,      \
                    expected_);                                                                              \
        }                                                                                                    \
    } while (0)

#define CHECK_STR(actual, expected)                                                                          \
    do {                                                                                                     \
        const char *actual_ = (actual), *expected_ = (expected);                                             \
        test_checks++;                                                                                       \
        if (actual_ == NULL || strcmp(actual_, expected_) != 0) {                                            \
            test_failures++;                                                                                 \
            fprintf(stderr, "%s:%d: %s is \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #actual,           \
                    actual_ == NULL ? "(null)" : actual_, expected_);                                        \
        }                                                                                                    \
    } while (0)

#define CHECK_NEAR(actual, expected, tolerance)                                                              \
    do {                                                                                                     \
        double actual_ = (double)(actual), expected_ = (double)(expected);                                   \
        test_checks++;                                                                                       \
        if (!(fabs(actual_ - expected_) <= (double)(tolerance))) {                                           \
            test_failures++;                                                                                 \
            fprintf(stderr, "%s:%d: %s is %.9g, expected %.9g\n", __FILE__, __LINE__, #actual, actual_,      \
                    expected_);                                                                              \
        }                                                                                                    \
    } while (0)

/* A status is OK; prints the diag otherwise (needs base/status.h). */
#define CHECK_OK(status, diag)                                                                               \
    do {                                                                                                     \
        test_checks++;                                                                                       \
        if ((status) != STATUS_OK) {                                                                         \
            char text_[2048];                                                                                \
            test_failures++;                                                                                 \
            diag_format((diag), text_, sizeof text_);                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, text_);                               \
        }                                                                                                    \
    } while (0)

static inline int test_result(void) {
    if (test_checks == 0) {
        fprintf(stderr, "no check ran\n");
        return 1;
    }
    fprintf(stderr, "%d checks, %d failed\n", test_checks, test_failures);
    return test_failures == 0 ? 0 : 1;
}

#endif
