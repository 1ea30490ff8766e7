#include <dlfcn.h>
#include <unistd.h>

#include "cli/commands.h"

/* What smelt looks for at run time, and what goes without it. */
typedef struct Part {
    const char *name, *library, *lack;
} Part;

static const Part parts[] = {
    {"NVIDIA driver", "libcuda.so.1", "only plans for the CPU target run here"},
};

static void report_part(const Part *part) {
    void *library = dlopen(part->library, RTLD_LAZY | RTLD_LOCAL);
    printf("%-16s %s%s\n", part->name,
           library != NULL ? "found" : "not found: ", library != NULL ? "" : part->lack);
    if (library != NULL) dlclose(library);
}

Status command_doctor(App *app, const Command *self, int argc, char **argv) {
    TextList none = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, NULL, 0, &none, 0, 0, &done));
    if (done) return STATUS_OK;
    printf("%-16s %s\n", "smelt", SMELT_VERSION);
    printf("%-16s %ld\n", "CPU cores", sysconf(_SC_NPROCESSORS_ONLN));
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; ++i) report_part(&parts[i]);
    return STATUS_OK;
}
