#include <string.h>

#include "cli/commands.h"
#include "cli/probe.h"
#include "kernels/arch.h"

static void print_list(void) {
    printf("%-12s %-24s %-8s %-14s %4s %8s %8s %10s\n", "name", "GPU", "for", "numbers", "SMs", "fp16",
           "fp32", "memory");
    for (int32_t i = 0; i < device_count(); ++i) {
        const Device *device = device_at(i);
        bool stands = arch_find(device->arch) == device;
        printf("%-12s %-24s %-7s%c %-14s %4d %8.4g %8.4g %7.5g GB/s\n", device->name, device->gpu,
               device->arch, stands ? '*' : ' ', device->label, device->sm_count, device->fp16_tflops,
               device->fp32_tflops, device->dram_gb_per_s);
    }
    printf("rates in TFLOP/s; * stands for its architecture in --gpu=sm_XX\n");
}

static Status print_device(App *app, const Device *device) {
    ByteWriter text = byte_writer(&app->arena);
    device_write(device, &text);
    if (text.failed) return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    fwrite(text.data, 1, text.size, stdout);
    return STATUS_OK;
}

static Status describe(App *app, const char *name, const CompileSettings *settings) {
    const Device *device = name != NULL ? device_find(name) : NULL;
    if (name == NULL) TRY(probe_device(app, settings, &device));
    if (device != NULL) return print_device(app, device);
    diag_hint(&app->diag, "smelt device list");
    return FAIL(&app->diag, STATUS_USAGE, "there is no description '%s'", name);
}

Status command_device(App *app, const Command *self, int argc, char **argv) {
    CompileSettings settings = {0};
    const Option table[] = {{"device", 0, OPTION_INT, &settings.device, "N",
                             "which GPU of this machine is described (0)", 0, 1023},
                            {"cache-dir", 0, OPTION_TEXT, &settings.cache_dir, "DIR",
                             "where compiled kernels are kept (~/.cache/smelt)", 0, 0}};
    TextList words = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, sizeof table / sizeof table[0], &words, 1, 2, &done));
    if (done) return STATUS_OK;
    bool lists = strcmp(words.items[0], "list") == 0 && words.count == 1;
    if (!lists && strcmp(words.items[0], "describe") != 0)
        return FAIL(&app->diag, STATUS_USAGE, "device: '%s' is neither 'list' nor 'describe'",
                    words.items[0]);
    if (!lists) return describe(app, words.count > 1 ? words.items[1] : NULL, &settings);
    print_list();
    return STATUS_OK;
}
