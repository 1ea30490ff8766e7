/* smelt inspect --why: what became of a node. */
#ifndef SMELT_CLI_WHY_H
#define SMELT_CLI_WHY_H

#include "cli/compile.h"

/* Compiles the model and prints where the nodes of that name went (an ONNX node, a node of the graph, or the
 * value that one computes), pass by pass, and what was refused on the way. USAGE with near names when there
 * is none. Kernels are compiled and named only where settings ask for a GPU. */
Status why_node(App *app, const char *path, CompileSettings *settings, const char *wanted, bool json);

#endif
