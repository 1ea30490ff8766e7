/* Status codes and diagnostics: the one way in which anything in smelt fails.
 *
 * Every function that can fail returns a Status and fills the caller's Diag. The innermost FAIL wins; callers
 * on the way up add where it happened with diag_context. Libraries never print, exit or abort. Whatever a
 * file or a caller can cause is a Status; assert is for faults of our own. */
#ifndef SMELT_BASE_STATUS_H
#define SMELT_BASE_STATUS_H

#include <stddef.h>

/* Values are pinned: they cross the public C interface. */
typedef enum Status {
    STATUS_OK = 0,
    STATUS_USAGE = 1,        /* a flag, name or combination that the caller must change */
    STATUS_BAD_MODEL = 2,    /* an ONNX model or IR text that is malformed or inconsistent */
    STATUS_UNSUPPORTED = 3,  /* well-formed, but asks for something smelt does not do */
    STATUS_BAD_PLAN = 4,     /* a plan that is truncated, edited, or of another version */
    STATUS_BAD_DATA = 5,     /* input tensors that do not fit the model, unreadable tensor files */
    STATUS_IO = 6,           /* the operating system refused a file operation */
    STATUS_WRONG_DEVICE = 7, /* no GPU, no driver, or a GPU that the plan is not for */
    STATUS_NO_MEMORY = 8,    /* an allocation failed or a stated limit was reached */
    STATUS_CUDA_FAILED = 9,  /* the driver reported a failure during a run */
    STATUS_INTERNAL = 10,    /* a broken invariant of smelt itself */
    STATUS_MISMATCH = 11     /* a comparison that was asked for did not hold */
} Status;

enum { DIAG_TEXT = 1024, DIAG_CONTEXT = 320 };

/* Where a failure happened, outermost first. Each level keeps the first text it is given. */
typedef enum DiagLevel { DIAG_FILE, DIAG_NODE, DIAG_TENSOR, DIAG_LEVELS } DiagLevel;

/* A caller owns its Diag (zero-initialise it); it holds the first failure until diag_clear. */
typedef struct Diag {
    Status status;
    const char *source_file; /* where in smelt FAIL stood; shown at debug level only */
    int source_line;
    char text[DIAG_TEXT];
    char hint[DIAG_CONTEXT];
    char context[DIAG_LEVELS][DIAG_CONTEXT];
} Diag;

#define SMELT_PRINTF(format_index, first_argument)                                                           \
    __attribute__((format(printf, format_index, first_argument)))
#define SMELT_MUST_CHECK __attribute__((warn_unused_result))

/* Records the failure unless diag already holds one; diag may be NULL. Called through FAIL. */
void diag_fail(Diag *diag, Status status, const char *source_file, int source_line, const char *format, ...)
    SMELT_PRINTF(5, 6);

/* Adds where it happened. Does nothing when that level is already filled or diag is NULL. */
void diag_context(Diag *diag, DiagLevel level, const char *format, ...) SMELT_PRINTF(3, 4);

/* Adds advice for the user ("pass --shape ..."); the first hint wins. */
void diag_hint(Diag *diag, const char *format, ...) SMELT_PRINTF(2, 3);

void diag_clear(Diag *diag);

/* Writes "file: node, tensor: text" and the hint on a line of its own into buffer, always terminated. */
void diag_format(const Diag *diag, char *buffer, size_t size);

/* "bad model", "unsupported", ... */
const char *status_name(Status status);

/* Its value is the status itself, so that compilers and analyzers see which paths fail. */
#define FAIL(diag, status, ...)                                                                              \
    (diag_fail((diag), (status), __FILE__, __LINE__, __VA_ARGS__), (Status)(status))

/* Forwards a failure to the caller. */
#define TRY(expression)                                                                                      \
    do {                                                                                                     \
        Status try_status_ = (expression);                                                                   \
        if (try_status_ != STATUS_OK) return try_status_;                                                    \
    } while (0)

/* Fails with NO_MEMORY when an allocation returned NULL. */
#define TRY_ALLOC(diag, pointer)                                                                             \
    do {                                                                                                     \
        if ((pointer) == NULL) return FAIL((diag), STATUS_NO_MEMORY, "out of memory");                       \
    } while (0)

#endif
