#include "kernels/timing_cache.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/lines.h"

enum { MOST_ROWS = 1 << 22, MOST_BYTES = 1 << 30 };
static const char first_line[] = "smelt-timings 1\n";

TimingCache *timing_cache_create(Arena *arena, const char *gpu) {
    TimingCache *cache = ARENA_NEW(arena, TimingCache);
    if (cache == NULL) return NULL;
    *cache = (TimingCache){.arena = arena, .gpu = arena_strdup(arena, gpu)};
    return cache->gpu != NULL ? cache : NULL;
}

const char *timing_tactic_name(Arena *arena, const Tactic *tactic) {
    return arena_printf(arena, "%s.%d", tactic->name, tactic->version);
}

/* -- rows in order -- */

static int compare_configs(const Config *a, const Config *b) {
    if (a->count != b->count) return a->count < b->count ? -1 : 1;
    for (int32_t i = 0; i < a->count; ++i)
        if (a->number[i] != b->number[i]) return a->number[i] < b->number[i] ? -1 : 1;
    return 0;
}

static int compare_rows(const Timing *a, const Timing *b) {
    int order = strcmp(a->problem, b->problem);
    if (order == 0) order = strcmp(a->tactic, b->tactic);
    return order != 0 ? order : compare_configs(&a->config, &b->config);
}

/* Where the row is, or would be. */
static int32_t place_of(const TimingCache *cache, const Timing *row) {
    int32_t low = 0, high = cache->count;
    while (low < high) {
        int32_t middle = low + (high - low) / 2;
        if (compare_rows(&cache->rows[middle], row) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_plain_text(const char *text) {
    for (; *text != '\0'; ++text)
        if ((unsigned char)*text < ' ') return false;
    return true;
}

static bool put_row(TimingCache *cache, const Timing *row, bool lowers) {
    if (!is_plain_text(row->problem)) return true;
    int32_t place = place_of(cache, row);
    if (place < cache->count && compare_rows(&cache->rows[place], row) == 0) {
        if (!lowers || row->microseconds < cache->rows[place].microseconds)
            cache->rows[place].microseconds = row->microseconds;
        return true;
    }
    Timing copy = *row;
    copy.problem = arena_strdup(cache->arena, row->problem);
    copy.tactic = arena_strdup(cache->arena, row->tactic);
    if (copy.problem == NULL || copy.tactic == NULL ||
        !ARENA_RESERVE(cache->arena, cache->rows, cache->count, cache->capacity))
        return false;
    memmove(&cache->rows[place + 1], &cache->rows[place], (size_t)(cache->count - place) * sizeof(Timing));
    cache->rows[place] = copy;
    cache->count++;
    return true;
}

bool timing_cache_add(TimingCache *cache, const Timing *row) {
    return put_row(cache, row, true);
}

bool timing_cache_set(TimingCache *cache, const Timing *row) {
    return put_row(cache, row, false);
}

Status timing_cache_merge(TimingCache *to, const TimingCache *from, Diag *diag) {
    if (strcmp(to->gpu, from->gpu) != 0)
        return FAIL(diag, STATUS_USAGE, "times of '%s' and of '%s' do not go together", to->gpu, from->gpu);
    for (int32_t i = 0; i < from->count; ++i)
        if (!timing_cache_add(to, &from->rows[i])) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

const Timing *timing_cache_find(const TimingCache *cache, const char *problem, const Tactic *tactic,
                                const Config *config) {
    char name[128];
    snprintf(name, sizeof name, "%s.%d", tactic->name, tactic->version);
    const Timing wanted = {.problem = problem, .tactic = name, .config = *config};
    int32_t place = place_of(cache, &wanted);
    bool found = place < cache->count && compare_rows(&cache->rows[place], &wanted) == 0;
    return found ? &cache->rows[place] : NULL;
}

int32_t timing_cache_rows(const TimingCache *cache, const char *problem) {
    const Timing lowest = {.problem = problem, .tactic = ""};
    return place_of(cache, &lowest);
}

bool timing_cache_knows(const TimingCache *cache, const char *problem) {
    int32_t place = timing_cache_rows(cache, problem);
    return place < cache->count && strcmp(cache->rows[place].problem, problem) == 0;
}

static bool is_tactic(const char *name, size_t length) {
    char own[128];
    for (int32_t t = 0; t < tactic_count(); ++t) {
        int size = snprintf(own, sizeof own, "%s.%d", tactic_at(t)->name, tactic_at(t)->version);
        if ((size_t)size == length && memcmp(own, name, length) == 0) return true;
    }
    return false;
}

bool timing_is_current(const Timing *row) {
    for (const char *at = row->tactic;;) {
        size_t length = strcspn(at, "+");
        if (!is_tactic(at, length)) return false;
        at += length;
        if (*at++ == '\0') return true;
    }
}

/* -- reading -- */

typedef struct Reading {
    TimingCache *cache;
    LineReader lines;
} Reading;

static Status read_config(const Reading *r, const char *text, Config *out) {
    *out = (Config){0};
    while (*text != '\0') {
        char *end;
        long number = strtol(text, &end, 10);
        if (end == text || out->count == CONFIG_NUMBERS || number < INT32_MIN || number > INT32_MAX)
            return lines_fail(&r->lines, "a config is up to %d numbers", CONFIG_NUMBERS);
        out->number[out->count++] = (int32_t)number;
        if (*end != '\0' && *end != ',') return lines_fail(&r->lines, "a config is numbers and commas");
        text = *end == ',' ? end + 1 : end;
    }
    return STATUS_OK;
}

static Status read_row(Reading *r, char *line) {
    char *fields[4] = {line};
    for (int i = 1; i < 4; ++i) {
        fields[i] = strchr(fields[i - 1], '\t');
        if (fields[i] == NULL) return lines_fail(&r->lines, "expected problem, tactic, config and time");
        *fields[i]++ = '\0';
    }
    Timing row = {.problem = fields[0], .tactic = fields[1]};
    TRY(read_config(r, fields[2], &row.config));
    char *end;
    row.microseconds = strtod(fields[3], &end);
    if (end == fields[3] || *end != '\0' || !isfinite(row.microseconds) || row.microseconds <= 0)
        return lines_fail(&r->lines, "a time is a positive number of microseconds");
    if (!is_plain_text(row.problem) || !is_plain_text(row.tactic))
        return lines_fail(&r->lines, "control characters in a name");
    int32_t before = r->cache->count;
    if (before == MOST_ROWS) return lines_fail(&r->lines, "too many rows");
    if (before > 0 && compare_rows(&r->cache->rows[before - 1], &row) >= 0)
        return lines_fail(&r->lines, "rows are not in order");
    return timing_cache_add(r->cache, &row) ? STATUS_OK
                                            : FAIL(r->lines.diag, STATUS_NO_MEMORY, "out of memory");
}

static Status read_end(const Reading *r, const char *line) {
    int32_t rows;
    uint64_t hash;
    if (sscanf(line, "end %" SCNd32 " %" SCNx64, &rows, &hash) != 2 || rows != r->cache->count)
        return lines_fail(&r->lines, "the count of rows is another");
    if (hash != hash_bytes(r->lines.text, lines_before(&r->lines, line)))
        return lines_fail(&r->lines, "the hash does not fit: the file was edited");
    return *r->lines.at == '\0' ? STATUS_OK : lines_fail(&r->lines, "text behind the end");
}

static Status read_all(Reading *r, const char *path, Arena *arena, Diag *diag) {
    TRY(lines_open(path, MOST_BYTES, arena, &r->lines, diag));
    char *line = lines_next(&r->lines);
    if (line == NULL || strncmp(line, first_line, strlen(first_line) - 1) != 0 ||
        strlen(line) != strlen(first_line) - 1)
        return lines_fail(&r->lines, "expected 'smelt-timings 1': a cache of another version, or none");
    line = lines_next(&r->lines);
    if (line == NULL || strncmp(line, "gpu ", 4) != 0) return lines_fail(&r->lines, "expected 'gpu ...'");
    r->cache = timing_cache_create(arena, line + 4);
    TRY_ALLOC(diag, r->cache);
    while ((line = lines_next(&r->lines)) != NULL && strncmp(line, "end ", 4) != 0) TRY(read_row(r, line));
    if (line == NULL) return lines_fail(&r->lines, "the end is missing: the file was cut off");
    return read_end(r, line);
}

Status timing_cache_read(const char *path, Arena *arena, TimingCache **out, Diag *diag) {
    Reading reading = {0};
    Status status = read_all(&reading, path, arena, diag);
    lines_close(&reading.lines);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "%s", path);
    *out = reading.cache;
    return status;
}

/* -- writing -- */

Status timing_cache_write(const TimingCache *cache, const char *path, Diag *diag) {
    ByteWriter text = byte_writer(cache->arena);
    write_format(&text, "%sgpu %s\n", first_line, cache->gpu);
    for (int32_t i = 0; i < cache->count; ++i) {
        const Timing *row = &cache->rows[i];
        write_format(&text, "%s\t%s\t", row->problem, row->tactic);
        for (int32_t n = 0; n < row->config.count; ++n)
            write_format(&text, "%s%d", n > 0 ? "," : "", row->config.number[n]);
        write_format(&text, "\t%.3f\n", row->microseconds);
    }
    uint64_t hash = hash_bytes(text.data, text.size);
    write_format(&text, "end %d %016" PRIx64 "\n", cache->count, hash);
    if (text.failed) return FAIL(diag, STATUS_NO_MEMORY, "out of memory");
    return file_replace(path, text.data, text.size, diag);
}
