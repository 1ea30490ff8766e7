#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/lines.h"
#include "kernels/arch.h"

enum { MOST_BYTES = 65536, LONGEST_TEXT = 64 };
static const char first_line[] = "smelt-gpu 1";

typedef enum FieldKind { FIELD_TEXT, FIELD_COUNT, FIELD_RATE } FieldKind;

/* A line of a description: "key value". */
typedef struct Field {
    const char *key;
    FieldKind kind;
    size_t offset; /* in Device */
    double least, most;
    const char *what;
} Field;

static const Field fields[] = {
    {"name", FIELD_TEXT, offsetof(Device, name), 0, 0, "for --gpu and for plans"},
    {"gpu", FIELD_TEXT, offsetof(Device, gpu), 0, 0, "as the driver calls it"},
    {"arch", FIELD_TEXT, offsetof(Device, arch), 0, 0, "that kernels are compiled for"},
    {"label", FIELD_TEXT, offsetof(Device, label), 0, 0, "measured or specification"},
#define DEVICE_COUNT(key, least, most, what) {#key, FIELD_COUNT, offsetof(Device, key), least, most, what},
#define DEVICE_RATE(key, least, most, what)  {#key, FIELD_RATE, offsetof(Device, key), least, most, what},
#include "kernels/device.def"
#undef DEVICE_COUNT
#undef DEVICE_RATE
};
enum { FIELDS = sizeof fields / sizeof fields[0] };

/* -- reading -- */

typedef struct DeviceReading {
    LineReader lines;
    Arena *arena;
    Device device;
    bool seen[FIELDS];
} DeviceReading;

static Status read_text(DeviceReading *r, const Field *field, const char *value) {
    char *copy = arena_strdup(r->arena, value);
    TRY_ALLOC(r->lines.diag, copy);
    for (const char *c = value; *c != '\0'; ++c)
        if (*c < ' ' || *c > '~')
            return lines_fail(&r->lines, "%s: a character that is not ASCII", field->key);
    if (value[0] == '\0' || strlen(value) > LONGEST_TEXT)
        return lines_fail(&r->lines, "%s: expected 1 to %d characters", field->key, LONGEST_TEXT);
    memcpy((char *)&r->device + field->offset, &copy, sizeof copy);
    return STATUS_OK;
}

static Status read_number(DeviceReading *r, const Field *field, const char *value) {
    char *end, *at = (char *)&r->device + field->offset;
    double number = strtod(value, &end);
    bool plain = strspn(value, "0123456789.e+") == strlen(value) && end != value && *end == '\0';
    if (!plain || !(number >= field->least && number <= field->most) ||
        (field->kind == FIELD_COUNT && number != floor(number)))
        return lines_fail(&r->lines, "%s is '%.64s', expected %s from %.15g to %.15g", field->key, value,
                          field->kind == FIELD_COUNT ? "an integer" : "a number", field->least, field->most);
    if (field->kind == FIELD_COUNT)
        memcpy(at, &(int32_t){(int32_t)number}, sizeof(int32_t));
    else
        memcpy(at, &number, sizeof number);
    return STATUS_OK;
}

static Status read_field(DeviceReading *r, char *line) {
    char *value = strchr(line, ' ');
    if (value == NULL) return lines_fail(&r->lines, "expected 'key value', found '%.64s'", line);
    *value++ = '\0';
    for (int i = 0; i < FIELDS; ++i) {
        if (strcmp(fields[i].key, line) != 0) continue;
        if (r->seen[i]) return lines_fail(&r->lines, "'%s' is there twice", line);
        r->seen[i] = true;
        return fields[i].kind == FIELD_TEXT ? read_text(r, &fields[i], value)
                                            : read_number(r, &fields[i], value);
    }
    return lines_fail(&r->lines, "unknown key '%.64s'", line);
}

/* Without a hash the file is someone's own; with one it must be as it was written. */
static Status read_end(DeviceReading *r, const char *line) {
    uint64_t hash;
    int used = -1;
    if (strcmp(line, "end") != 0 &&
        (sscanf(line, "end %16" SCNx64 "%n", &hash, &used) != 1 || used < 0 || line[used] != '\0' ||
         hash != hash_bytes(r->lines.text, lines_before(&r->lines, line))))
        return lines_fail(&r->lines, "the hash does not fit: the file was edited (a description of one's own "
                                     "ends with 'end' alone)");
    return *r->lines.at == '\0' ? STATUS_OK : lines_fail(&r->lines, "text behind the end");
}

/* What no line alone can tell. */
static Status check(DeviceReading *r) {
    Device *device = &r->device;
    for (int i = 0; i < FIELDS; ++i)
        if (!r->seen[i]) return lines_fail(&r->lines, "'%s' is missing", fields[i].key);
    const Device *arch = arch_find(device->arch);
    if (arch == NULL)
        return lines_fail(&r->lines, "arch '%s' is none that smelt makes code for", device->arch);
    device->arch = arch->arch;
    device->sm = arch->sm;
    if (strcmp(device->label, "measured") != 0 && strcmp(device->label, "specification") != 0)
        return lines_fail(&r->lines, "label '%s' is not measured or specification", device->label);
    if (strcspn(device->name, " ,/()") != strlen(device->name))
        return lines_fail(&r->lines, "name '%s' has one of ' ,/()'", device->name);
    if (device->shared_per_block > device->shared_per_sm)
        return lines_fail(&r->lines, "shared_per_block is more than shared_per_sm");
    return STATUS_OK;
}

static Status read_all(DeviceReading *r, const char *path, Diag *diag) {
    TRY(lines_open(path, MOST_BYTES, r->arena, &r->lines, diag));
    char *line = lines_next(&r->lines);
    if (line == NULL || strcmp(line, first_line) != 0)
        return lines_fail(&r->lines, "expected '%s': a description of another version, or none", first_line);
    while ((line = lines_next(&r->lines)) != NULL && strncmp(line, "end", 3) != 0)
        if (line[0] != '#' && line[0] != '\0') TRY(read_field(r, line));
    if (line == NULL) return lines_fail(&r->lines, "the end is missing: the file was cut off");
    TRY(read_end(r, line));
    return check(r);
}

Status device_read(const char *path, Arena *arena, const Device **out, Diag *diag) {
    DeviceReading *reading = ARENA_NEW(arena, DeviceReading);
    TRY_ALLOC(diag, reading);
    reading->arena = arena;
    Status status = read_all(reading, path, diag);
    lines_close(&reading->lines);
    if (status != STATUS_OK) diag_context(diag, DIAG_FILE, "%s", path);
    *out = &reading->device;
    return status;
}

/* -- writing -- */

void device_write(const Device *device, ByteWriter *out) {
    ByteWriter text = byte_writer(out->arena);
    write_format(&text, "%s\n", first_line);
    for (int i = 0; i < FIELDS; ++i) {
        const char *at = (const char *)device + fields[i].offset;
        write_format(&text, "# %s\n%s ", fields[i].what, fields[i].key);
        if (fields[i].kind == FIELD_TEXT)
            write_format(&text, "%s\n", *(const char *const *)(const void *)at);
        else if (fields[i].kind == FIELD_COUNT)
            write_format(&text, "%" PRId32 "\n", *(const int32_t *)(const void *)at);
        else
            write_format(&text, "%.15g\n", *(const double *)(const void *)at);
    }
    write_bytes(out, text.data, text.size);
    write_format(out, "end %016" PRIx64 "\n", hash_bytes(text.data, text.size));
    out->failed = out->failed || text.failed;
}
