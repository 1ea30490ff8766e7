/* Logging by callback. A Log is passed to whoever may speak; libraries print nothing themselves. */
#ifndef SMELT_BASE_LOG_H
#define SMELT_BASE_LOG_H

#include <stdarg.h>

/* Levels by how often a line may come. */
typedef enum LogLevel {
    LOG_ERROR,   /* once, before giving up */
    LOG_WARNING, /* something was repaired, ignored or is slow */
    LOG_INFO,    /* once per model */
    LOG_PASS,    /* once per pass */
    LOG_NODE     /* once per node */
} LogLevel;

typedef struct Log {
    void (*line)(void *user, LogLevel level, const char *text);
    void *user;
    LogLevel level; /* lines above this level are dropped before they are formatted */
} Log;

/* log may be NULL. Lines over 1023 bytes are cut. */
void log_line(const Log *log, LogLevel level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
