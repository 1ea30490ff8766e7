/* Measures the GPU that is here, for its description. */
#ifndef SMELT_CLI_PROBE_H
#define SMELT_CLI_PROBE_H

#include "cli/compile.h"

/* The description of GPU number settings->device: limits and clock as the driver says, or its architecture
 * has them; rates from times of smelt's own kernels, labelled measured. In the app's arena. Fails with
 * WRONG_DEVICE where there is no GPU or NVRTC is missing. */
Status probe_device(App *app, const CompileSettings *settings, const Device **out);

#endif
