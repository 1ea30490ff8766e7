/* Text files of ours, line by line. */
#ifndef SMELT_BASE_LINES_H
#define SMELT_BASE_LINES_H

#include "base/file.h"

typedef struct LineReader {
    const char *text; /* the file as it is; until lines_close */
    size_t size;
    char *begin, *at; /* a copy, in which lines are cut, and the rest of it */
    int32_t line;     /* number of the last one, from 1 */
    FileMap map;
    Diag *diag;
} LineReader;

/* Fails with BAD_DATA where the file is larger than `most` bytes or has a zero byte. Close it in either case.
 */
Status lines_open(const char *path, size_t most, Arena *arena, LineReader *out, Diag *diag);
void lines_close(LineReader *lines);
/* Cuts the next line off, without its end, in the arena. NULL: there is none, or its end is missing. */
char *lines_next(LineReader *lines);
/* Bytes of the file in front of a line that lines_next has returned. */
size_t lines_before(const LineReader *lines, const char *line);
/* BAD_DATA at the last line. */
Status lines_fail(const LineReader *lines, const char *format, ...) SMELT_PRINTF(2, 3);

#endif
