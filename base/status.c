#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void diag_fail(Diag *diag, Status status, const char *source_file, int source_line, const char *format, ...) {
    if (diag == NULL || diag->status != STATUS_OK) return;
    diag->status = status;
    diag->source_file = source_file;
    diag->source_line = source_line;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(diag->text, sizeof diag->text, format, arguments);
    va_end(arguments);
}

void diag_context(Diag *diag, DiagLevel level, const char *format, ...) {
    if (diag == NULL || diag->status == STATUS_OK || diag->context[level][0] != '\0') return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(diag->context[level], sizeof diag->context[level], format, arguments);
    va_end(arguments);
}

void diag_hint(Diag *diag, const char *format, ...) {
    if (diag == NULL || diag->hint[0] != '\0') return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(diag->hint, sizeof diag->hint, format, arguments);
    va_end(arguments);
}

void diag_clear(Diag *diag) {
    if (diag != NULL) memset(diag, 0, sizeof *diag);
}

/* Appends at *used, never past size, and keeps the terminator. */
static void append(char *buffer, size_t size, size_t *used, const char *text) {
    while (*text != '\0' && *used + 1 < size) buffer[(*used)++] = *text++;
    if (size > 0) buffer[*used] = '\0';
}

void diag_format(const Diag *diag, char *buffer, size_t size) {
    static const char *const separators[DIAG_LEVELS] = {": ", ", ", ", "};
    size_t used = 0;
    if (size > 0) buffer[0] = '\0';
    const char *pending = "";
    for (int level = 0; level < DIAG_LEVELS; ++level) {
        if (diag->context[level][0] == '\0') continue;
        append(buffer, size, &used, pending);
        append(buffer, size, &used, diag->context[level]);
        pending = separators[level];
    }
    if (used > 0) append(buffer, size, &used, ": ");
    append(buffer, size, &used, diag->text[0] != '\0' ? diag->text : status_name(diag->status));
    if (diag->hint[0] != '\0') {
        append(buffer, size, &used, "\nhint: ");
        append(buffer, size, &used, diag->hint);
    }
}

const char *status_name(Status status) {
    switch (status) {
    case STATUS_OK:
        return "ok";
    case STATUS_USAGE:
        return "usage";
    case STATUS_BAD_MODEL:
        return "bad model";
    case STATUS_UNSUPPORTED:
        return "unsupported";
    case STATUS_BAD_PLAN:
        return "bad plan";
    case STATUS_BAD_DATA:
        return "bad data";
    case STATUS_IO:
        return "file error";
    case STATUS_WRONG_DEVICE:
        return "wrong device";
    case STATUS_NO_MEMORY:
        return "out of memory";
    case STATUS_CUDA_FAILED:
        return "CUDA failure";
    case STATUS_INTERNAL:
        return "internal fault";
    case STATUS_MISMATCH:
        return "mismatch";
    }
    return "unknown status";
}
