/* What plans are made for: the command line's --target and --gpu, or what this machine has. */
#ifndef SMELT_CLI_TARGET_H
#define SMELT_CLI_TARGET_H

#include "cli/compile.h"

/* Where --target is not given: cuda when a GPU and NVRTC are there, else cpu, and a line says so. */
Status target_choose(App *app, const CompileSettings *settings, Target *out);

#endif
