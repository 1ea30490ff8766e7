/* What plans are made for: the command line's --target and --gpu, or what this machine has. */
#ifndef SMELT_CLI_TARGET_H
#define SMELT_CLI_TARGET_H

#include "cli/compile.h"

enum { MOST_TARGET_ARCHS = 16 };

typedef struct Target {
    bool cuda;
    int32_t arch_count; /* of a cuda target */
    const char *archs[MOST_TARGET_ARCHS];
} Target;

/* Where --target is not given: cuda when a GPU and NVRTC are there, else cpu, and a line says so. */
Status target_choose(App *app, const CompileSettings *settings, Target *out);

#endif
