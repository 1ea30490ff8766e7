/* ONNX to Graph. */
#ifndef SMELT_FRONTEND_IMPORT_H
#define SMELT_FRONTEND_IMPORT_H

#include "base/file.h"
#include "ir/graph.h"

/* A shape the user states for an input before import ("--shape x:1x3x224x224"): dims < 0 stay symbolic. */
typedef struct InputShape {
    const char *name;
    int32_t rank;
    int64_t dim[SMELT_MAX_RANK];
    /* Where dim < 0 and max > 0: the range that the symbol gets, and the value to tune for. */
    int64_t min[SMELT_MAX_RANK], opt[SMELT_MAX_RANK], max[SMELT_MAX_RANK];
} InputShape;

typedef struct ImportOptions {
    const InputShape *shapes;
    int32_t shape_count;
    const Log *log;
} ImportOptions;

/* A model's memory: the mapped file, its external data and the graph's arena. */
typedef struct Model {
    Arena arena;
    FileMap file;
    FileRange *external;
    int32_t external_count;
    Graph *graph;
    uint64_t hash; /* of the model file's bytes */
} Model;

/* Reads a model from a file, or from memory (folder: where external data may lie; NULL: external data is
 * refused; bytes may go once the call returns). On failure *out is empty and model_destroy is harmless. All
 * unsupported operators are gathered into one UNSUPPORTED failure with counts and the first node of each. */
Status model_import(const char *path, const ImportOptions *options, Allocator *allocator, Model *out,
                    Diag *diag);
Status model_import_bytes(const void *bytes, size_t size, const char *name, const char *folder,
                          const ImportOptions *options, Allocator *allocator, Model *out, Diag *diag);
void model_destroy(Model *model);

/* Something that models may hold besides the operators of ops/: an older form of one, or an operator of
 * others, and the operators that it becomes. */
typedef struct ImportForm {
    const char *domain, *op;
    int16_t first, last; /* opsets; 0: from the first, to the newest */
    bool kept;           /* it becomes one of its own name (in its newest form), with others */
    const char *others;  /* "Add Mul", "" */
} ImportForm;

/* Form i of the list; false past its end. */
bool import_form(int32_t i, ImportForm *out);

#endif
