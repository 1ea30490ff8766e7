#include "ops/blas.h"

#include <dlfcn.h>
#include <string.h>

/* dlsym gives an object pointer; C has no cast to a function pointer that -Wpedantic accepts. */
#define FIND_FUNCTION(library, name, target)                                                                 \
    do {                                                                                                     \
        void *address_ = dlsym((library), (name));                                                           \
        memcpy(&(target), &address_, sizeof address_);                                                       \
    } while (0)

static void *open_library(void) {
    static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        void *library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library != NULL) return library;
    }
    return NULL;
}

void blas_open(Blas *out) {
    void (*set_threads)(int) = NULL;
    *out = (Blas){.library = open_library()};
    if (out->library == NULL) return;
    FIND_FUNCTION(out->library, "cblas_sgemm", out->sgemm);
    FIND_FUNCTION(out->library, "cblas_dgemm", out->dgemm);
    FIND_FUNCTION(out->library, "openblas_set_num_threads", set_threads);
    if (out->sgemm == NULL || out->dgemm == NULL || set_threads == NULL)
        blas_close(out);
    else
        set_threads(1);
}

void blas_close(Blas *blas) {
    if (blas->library != NULL) dlclose(blas->library);
    *blas = (Blas){0};
}
