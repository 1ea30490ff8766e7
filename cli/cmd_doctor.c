#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "kernels/arch.h"
#include "kernels/nvrtc.h"
#include "plan_format/library.h"
#include "runtime/smelt_runtime.h"

static void report_gpu(int index, const SmeltDevice *device) {
    const Device *arch = arch_for_sm(device->compute_capability);
    printf("GPU %-12d %s, sm_%d, %d multiprocessors, %s%s\n", index, device->name, device->compute_capability,
           device->multiprocessors, byte_text((double)device->memory).text,
           arch != NULL ? "" : ": smelt makes no code for it");
}

static void report_gpus(void) {
    SmeltDevice device;
    SmeltError error;
    int count = 0;
    for (; smelt_device(count, &device, &error) == SMELT_OK; ++count) {
        if (count == 0)
            printf("%-16s supports CUDA %d.%d\n", "NVIDIA driver", device.driver_version / 1000,
                   device.driver_version % 1000 / 10);
        report_gpu(count, &device);
    }
    if (count > 0) return;
    printf("%-16s %.*s\n", "GPU", (int)strcspn(error.message, "\n"), error.message);
    printf("%-16s without one, only plans for the CPU target run here\n", "");
}

static void report_nvrtc(void) {
    Nvrtc nvrtc;
    Diag diag = {0};
    if (nvrtc_open(&nvrtc, &diag) == STATUS_OK) {
        printf("%-16s %d.%d (%s)\n", "NVRTC", nvrtc.major, nvrtc.minor, nvrtc.path);
        nvrtc_close(&nvrtc);
        return;
    }
    printf("%-16s %s\n", "NVRTC", diag.text);
    printf("%-16s without it, GPU plans run but are not built here\n", "");
    if (diag.hint[0] != '\0') printf("%-16s hint: %s\n", "", diag.hint);
}

static void report_library(PlanLibrary which) {
    const LibraryName *name = &library_names[which];
    Library library;
    Diag diag = {0};
    if (library_open(which, &library, &diag) == STATUS_OK) {
        printf("%-16s %s (%s)\n", name->name, library.version, library.path);
        return;
    }
    printf("%-16s %s\n", name->name, diag.text);
    printf("%-16s only plans that are built with --tactics=+%s need it\n", "", name->key);
    printf("%-16s hint: %s\n", "", diag.hint);
}

Status command_doctor(App *app, const Command *self, int argc, char **argv) {
    TextList none = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, NULL, 0, &none, 0, 0, &done));
    if (done) return STATUS_OK;
    printf("%-16s %s\n", "smelt", SMELT_VERSION);
    printf("%-16s %ld\n", "CPU cores", sysconf(_SC_NPROCESSORS_ONLN));
    report_gpus();
    report_nvrtc();
    for (int i = 0; i < PLAN_LIBRARIES; ++i) report_library((PlanLibrary)i);
    return STATUS_OK;
}
