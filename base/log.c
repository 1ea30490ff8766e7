#include "base/log.h"

#include <stddef.h>
#include <stdio.h>

void log_line(const Log *log, LogLevel level, const char *format, ...) {
    if (log == NULL || log->line == NULL || level > log->level) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    log->line(log->user, level, text);
}
