#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { PROGRESS_DELAY = 2 }; /* seconds */

void progress_begin(Progress *progress, const char *what) {
    *progress = (Progress){.started = clock_seconds(), .what = what};
}

void progress_step(Progress *progress, const char *detail, int64_t done, int64_t total) {
    double elapsed = clock_seconds() - progress->started;
    if (!isatty(STDERR_FILENO) || elapsed < PROGRESS_DELAY) return;
    double left = done > 0 ? elapsed / (double)done * (double)(total - done) : 0;
    fprintf(stderr, "\r\033[K%s %lld/%lld%s%s (%.0f s left)", progress->what, (long long)done,
            (long long)total, detail[0] != '\0' ? " " : "", detail, left);
    fflush(stderr);
    progress->shown = true;
}

void progress_end(Progress *progress) {
    if (progress->shown) fprintf(stderr, "\r\033[K");
    progress->shown = false;
}

void write_json_string(FILE *out, const char *text) {
    Arena arena = {0};
    ByteWriter writer = byte_writer(&arena);
    write_json_text(&writer, text);
    if (writer.failed)
        fprintf(out, "null");
    else
        fwrite(writer.data, 1, writer.size, out);
    arena_reset(&arena);
}

void write_json_number(ByteWriter *out, const char *key, bool known, double value) {
    if (known)
        write_format(out, ", \"%s\": %.9g", key, value);
    else
        write_format(out, ", \"%s\": null", key);
}
