/* What plans are made for: the command line's --target and --gpu, or what this machine has. */
#ifndef SMELT_CLI_TARGET_H
#define SMELT_CLI_TARGET_H

#include "cli/compile.h"
#include "runtime/smelt_runtime.h"

/* Where --target is not given: cuda when a GPU and NVRTC are there, else cpu, and a line says so. */
Status target_choose(App *app, const CompileSettings *settings, Target *out);
/* The description of a GPU that is here: a built-in one of its name, else its architecture's with what the
 * driver says. Fails with WRONG_DEVICE where no code is made for it. In the app's arena. */
Status target_describe(App *app, const SmeltDevice *here, const Device **out);

#endif
