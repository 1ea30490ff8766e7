#include "kernels/arch.h"

#include <string.h>

typedef struct Arch {
    const char *name, *device;
} Arch;

static const Arch archs[] = {
#define ARCH(name, device) {name, device},
#include "kernels/arch.def"
#undef ARCH
};

int32_t arch_count(void) {
    return (int32_t)(sizeof archs / sizeof archs[0]);
}

const Device *arch_at(int32_t index) {
    return device_find(archs[index].device);
}

const Device *arch_find(const char *name) {
    for (int32_t i = 0; i < arch_count(); ++i) {
        size_t digits = strspn(archs[i].name, "sm_0123456789");
        if (strcmp(archs[i].name, name) == 0 ||
            (strlen(name) == digits && strncmp(archs[i].name, name, digits) == 0))
            return arch_at(i);
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
        if (runs_on(arch_at(i), sm)) return arch_at(i);
    return NULL;
}

Device arch_common(const DeviceList *list) {
    Device common = *list->at[0];
    for (int32_t i = 1; i < list->count; ++i) {
        if (list->at[i]->sm < common.sm) common.sm = list->at[i]->sm;
        if (list->at[i]->shared_per_block < common.shared_per_block)
            common.shared_per_block = list->at[i]->shared_per_block;
        common.arch = "several";
    }
    return common;
}
