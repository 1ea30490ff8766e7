#include "base/lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

Status lines_open(const char *path, size_t most, Arena *arena, LineReader *out, Diag *diag) {
    *out = (LineReader){.diag = diag};
    TRY(file_map(path, &out->map, diag));
    out->text = (const char *)out->map.data;
    out->size = out->map.size;
    if (out->size > most)
        return FAIL(diag, STATUS_BAD_DATA, "%zu bytes, where %zu are the most", out->size, most);
    out->begin = out->at = arena_strndup(arena, out->size > 0 ? out->text : "", out->size);
    TRY_ALLOC(diag, out->at);
    return strlen(out->at) == out->size ? STATUS_OK
                                        : FAIL(diag, STATUS_BAD_DATA, "a zero byte in a text file");
}

void lines_close(LineReader *lines) {
    file_unmap(&lines->map);
    lines->text = NULL;
}

char *lines_next(LineReader *lines) {
    char *line = lines->at, *end = strchr(line, '\n');
    if (end == NULL) return NULL;
    *end = '\0';
    lines->at = end + 1;
    lines->line++;
    return line;
}

size_t lines_before(const LineReader *lines, const char *line) {
    return (size_t)(line - lines->begin);
}

Status lines_fail(const LineReader *lines, const char *format, ...) {
    char text[DIAG_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return FAIL(lines->diag, STATUS_BAD_DATA, "line %d: %s", lines->line, text);
}
