#include "kernels/arch.h"

#include <string.h>

static const Device devices[] = {
#define ARCH(name, sm, sm_count, shared, example) {name, sm, sm_count, shared},
#include "kernels/arch.def"
#undef ARCH
};

int32_t arch_count(void) {
    return (int32_t)(sizeof devices / sizeof devices[0]);
}

const Device *arch_at(int32_t index) {
    return &devices[index];
}

const Device *arch_find(const char *name) {
    for (int32_t i = 0; i < arch_count(); ++i) {
        size_t digits = strspn(devices[i].arch, "sm_0123456789");
        if (strcmp(devices[i].arch, name) == 0 ||
            (strlen(name) == digits && strncmp(devices[i].arch, name, digits) == 0))
            return &devices[i];
    }
    return NULL;
}

bool arch_is_exact(const Device *device) {
    return strspn(device->arch, "sm_0123456789") != strlen(device->arch);
}

static bool runs_on(const Device *device, int32_t sm) {
    if (arch_is_exact(device)) return device->sm == sm;
    return device->sm <= sm && device->sm / 10 == sm / 10;
}

const Device *arch_for_sm(int32_t sm) {
    for (int32_t i = arch_count() - 1; i >= 0; --i)
        if (runs_on(&devices[i], sm)) return &devices[i];
    return NULL;
}

Status arch_find_all(const char *const *names, int32_t count, const Device *out[MOST_ARCHS], Diag *diag) {
    if (count < 1 || count > MOST_ARCHS)
        return FAIL(diag, STATUS_USAGE, "%d GPU architectures, 1 to %d are possible", count, MOST_ARCHS);
    for (int32_t i = 0; i < count; ++i) {
        out[i] = arch_find(names[i]);
        if (out[i] == NULL) {
            Status status = FAIL(diag, STATUS_USAGE, "unknown GPU architecture '%s'", names[i]);
            diag_hint(diag, "known are sm_75, sm_80, sm_86, sm_89, sm_90, sm_100 and sm_120");
            return status;
        }
        for (int32_t k = 0; k < i; ++k)
            if (out[k] == out[i])
                return FAIL(diag, STATUS_USAGE, "GPU architecture '%s' is given twice", names[i]);
    }
    return STATUS_OK;
}

Device arch_common(const Device *const *list, int32_t count) {
    Device common = *list[0];
    for (int32_t i = 1; i < count; ++i) {
        if (list[i]->sm < common.sm) common.sm = list[i]->sm;
        if (list[i]->shared_per_block < common.shared_per_block)
            common.shared_per_block = list[i]->shared_per_block;
        common.arch = "several";
    }
    return common;
}
