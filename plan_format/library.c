#include "plan_format/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const LibraryName library_names[PLAN_LIBRARIES] = {
#define LIBRARY(id, key, name, variable, version, file, older)                                               \
    [PLAN_##id] = {key, name, variable, version, file, older},
#include "plan_format/libraries.def"
#undef LIBRARY
};

static bool try_path(Library *library, const char *folder, const char *file) {
    int length = snprintf(library->path, sizeof library->path, "%s%s", folder, file);
    if (length < 0 || length >= (int)sizeof library->path) return false;
    library->handle = dlopen(library->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    return library->handle != NULL;
}

static bool find_file(const LibraryName *name, Library *out) {
    static const char *const folders[] = {"", "/usr/local/cuda/lib64/"};
    const char *named = getenv(name->variable);
    if (named != NULL && named[0] != '\0') return try_path(out, "", named);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; ++i)
        if (try_path(out, folders[i], name->file) || try_path(out, folders[i], name->older)) return true;
    return false;
}

/* ISO C has no conversion from object to function pointers; POSIX promises that the bits are right. */
bool library_function(void *handle, const char *name, void *function) {
    void *symbol = dlsym(handle, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol != NULL;
}

Status library_open(PlanLibrary which, Library *out, Diag *diag) {
    const LibraryName *name = &library_names[which];
    size_t (*version)(void);
    *out = (Library){0};
    if (!find_file(name, out)) {
        diag_hint(diag, "install it, or name its file in %s", name->variable);
        return FAIL(diag, STATUS_WRONG_DEVICE, "%s (%s) is not installed", name->name, name->file);
    }
    if (!library_function(out->handle, name->version, &version))
        return FAIL(diag, STATUS_WRONG_DEVICE, "%s lacks %s", out->path, name->version);
    unsigned number = (unsigned)version();
    snprintf(out->version, sizeof out->version, "%u.%u.%u", number / 10000, number / 100 % 100, number % 100);
    return STATUS_OK;
}
