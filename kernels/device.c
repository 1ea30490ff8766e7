#include "kernels/device.h"

#include <string.h>

#include "kernels/arch.h"
#include "kernels/device_table.h"

int32_t device_count(void) {
    return device_table_count;
}

const Device *device_at(int32_t index) {
    return &device_table[index];
}

const Device *device_find(const char *name) {
    for (int32_t i = 0; i < device_table_count; ++i)
        if (strcmp(device_table[i].name, name) == 0) return &device_table[i];
    return NULL;
}

const Device *device_for_gpu(const char *gpu) {
    for (int32_t i = 0; i < device_table_count; ++i)
        if (strcmp(device_table[i].gpu, gpu) == 0) return &device_table[i];
    return NULL;
}

double device_l2_per_clock(const Device *device) {
    return device->l2_gb_per_s * 1e3 / ((double)device->sm_count * device->clock_mhz);
}

double device_fp32_per_us(const Device *device) {
    return device->fp32_tflops * 1e6 / 2 / device->sm_count;
}

double device_bytes_us(const Device *device, double bytes) {
    bool fits = bytes <= (double)device->l2_bytes;
    return bytes / ((fits ? device->l2_gb_per_s : device->dram_gb_per_s) * 1e3);
}

double device_roofline_us(const Device *device, DType dtype, bool tf32, double flops, double bytes) {
    double rate = dtype_bits(dtype) > 16 ? device->fp32_tflops : device->fp16_tflops;
    if (dtype_bits(dtype) <= 8) rate *= 2;
    if (dtype == DTYPE_F32 && tf32 && device->tf32_tflops > rate) rate = device->tf32_tflops;
    double work = flops / (rate * 1e6), moved = bytes / (device->dram_gb_per_s * 1e3);
    return work > moved ? work : moved;
}

/* -- lists -- */

static bool is_file(const char *name) {
    size_t length = strlen(name);
    return strchr(name, '/') != NULL || (length > 4 && strcmp(name + length - 4, ".gpu") == 0);
}

static Status unknown(const char *name, Diag *diag) {
    const char *what = strncmp(name, "sm_", 3) == 0 ? "GPU architecture" : "GPU";
    Status status = FAIL(diag, STATUS_USAGE, "unknown %s '%s'", what, name);
    diag_hint(diag, "known are sm_75, sm_80, sm_86, sm_89, sm_90, sm_100, sm_120, what 'smelt device list' "
                    "shows, and files of descriptions ('./my.gpu')");
    return status;
}

static Status find(const char *name, NativeDevice native, void *user, Arena *arena, const Device **out,
                   Diag *diag) {
    if (strcmp(name, "native") == 0 && native != NULL) return native(user, out);
    if (is_file(name)) return device_read(name, arena, out, diag);
    *out = arch_find(name);
    if (*out == NULL) *out = device_find(name);
    return *out != NULL ? STATUS_OK : unknown(name, diag);
}

static Status add(const Device *device, const char *name, DeviceList *list, Diag *diag) {
    if (list->count == MOST_DEVICES)
        return FAIL(diag, STATUS_USAGE, "more than %d GPUs are named", MOST_DEVICES);
    for (int32_t i = 0; i < list->count; ++i) {
        if (strcmp(list->at[i]->arch, device->arch) != 0) continue;
        if (list->at[i] == device)
            return FAIL(diag, STATUS_USAGE, "GPU architecture '%s' is given twice", name);
        return FAIL(diag, STATUS_USAGE, "'%s' and '%s' are both %s; a plan is for one of each architecture",
                    list->at[i]->name, device->name, device->arch);
    }
    list->at[list->count++] = device;
    return STATUS_OK;
}

Status device_list_parse(const char *text, NativeDevice native, void *user, Arena *arena, DeviceList *out,
                         Diag *diag) {
    *out = (DeviceList){0};
    do {
        size_t length = strcspn(text, ",");
        const char *name = arena_strndup(arena, text, length);
        const Device *device = NULL;
        TRY_ALLOC(diag, name);
        TRY(find(name, native, user, arena, &device, diag));
        TRY(add(device, name, out, diag));
        text += length + (text[length] == ',');
    } while (*text != '\0');
    return STATUS_OK;
}

const char *device_list_text(const DeviceList *list, Arena *arena) {
    const char *text = arena_strdup(arena, "");
    for (int32_t i = 0; i < list->count && text != NULL; ++i)
        text = arena_printf(arena, "%s%s%s (%s)", text, i > 0 ? ", " : "", list->at[i]->name,
                            list->at[i]->label);
    return text;
}
