/* What plan_verify refuses: one change to a good plan, and the words that must come. */
#ifndef SMELT_TESTS_PLAN_RULES_H
#define SMELT_TESTS_PLAN_RULES_H

#include "plan_format/plan.h"
#include "tests/test.h"

static inline void expect_refusal(const Plan *plan, int line, const char *part) {
    Arena scratch = {0};
    Diag diag = {0};
    Status status = plan_verify(plan, &scratch, &diag);
    test_checks++;
    if (status != STATUS_BAD_PLAN || strstr(diag.text, part) == NULL) {
        test_failures++;
        fprintf(stderr, "line %d: got '%s', expected '%s'\n", line, diag.text, part);
    }
    arena_reset(&scratch);
}

/* What the change does to the plan is refused with these words; `renew` makes it good again. */
#define PLAN_RULE(plan, renew, change, part)                                                                 \
    do {                                                                                                     \
        change;                                                                                              \
        expect_refusal(&(plan), __LINE__, part);                                                             \
        renew;                                                                                               \
    } while (0)

#endif
