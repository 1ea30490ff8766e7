/* Libraries that a plan may call, found by dlopen: builds want their versions, the runtime their functions.
 */
#ifndef SMELT_PLAN_FORMAT_LIBRARY_H
#define SMELT_PLAN_FORMAT_LIBRARY_H

#include "plan_format/plan.h"

typedef struct LibraryName {
    const char *key, *name, *variable, *version, *file, *older; /* see libraries.def */
} LibraryName;
extern const LibraryName library_names[PLAN_LIBRARIES];

typedef struct Library {
    void *handle;
    char path[256];   /* that it was found under */
    char version[16]; /* "13.1.0" */
} Library;

/* Opens the file that its variable names; without one looks as the loader does, then in /usr/local/cuda.
 * Fails with WRONG_DEVICE and a hint. A library once opened stays loaded. */
Status library_open(PlanLibrary which, Library *out, Diag *diag);
/* Sets the function pointer that `function` points to; false: what dlopen gave has none of that name. */
bool library_function(void *handle, const char *name, void *function);

#endif
