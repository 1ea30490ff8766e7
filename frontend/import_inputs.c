/* The model's inputs: declared types, symbolic dimensions, and the shapes that the user states. */
#include <string.h>

#include "base/bytes.h"
#include "frontend/importer.h"

static const InputShape *stated_shape(const Importer *im, const char *name) {
    for (int32_t i = 0; i < im->options->shape_count; ++i)
        if (strcmp(im->options->shapes[i].name, name) == 0) return &im->options->shapes[i];
    return NULL;
}

static const Onnx__TensorShapeProto *declared_shape(const Onnx__ValueInfoProto *info) {
    return info->type == NULL || info->type->tensor_type == NULL ? NULL : info->type->tensor_type->shape;
}

/* The symbol's name of a dimension, or NULL where it has none of its own: exporters also write "?" and
 * "None" for several unrelated dimensions. */
static const char *symbol_name(const Onnx__TensorShapeProto__Dimension *dim) {
    const char *name = proto_text(dim->dim_param);
    bool anonymous = name[0] == '\0' || strcmp(name, "?") == 0 || strcmp(name, "None") == 0;
    return anonymous ? NULL : name;
}

static bool is_parameter(const Scope *scope, const Onnx__ValueInfoProto *info) {
    return !scope_has_own(scope, proto_text(info->name));
}

/* -- names that the user's shapes make exact -- */

static Status fix_dim(Importer *im, const char *name, int64_t extent) {
    int32_t known = name_map_find(&im->dims, name);
    if (known >= 0 && im->fixed_dims[known] != extent)
        return FAIL(im->diag, STATUS_USAGE, "the stated shapes make dimension '%s' both %lld and %lld", name,
                    (long long)im->fixed_dims[known], (long long)extent);
    if (known >= 0) return STATUS_OK;
    if (!ARENA_RESERVE(&im->scratch, im->fixed_dims, im->fixed_count, im->fixed_capacity) ||
        !name_map_set(&im->dims, &im->scratch, name, im->fixed_count))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    im->fixed_dims[im->fixed_count++] = extent;
    return STATUS_OK;
}

static Status fix_named_dims(Importer *im, const Onnx__ValueInfoProto *info) {
    const InputShape *stated = stated_shape(im, proto_text(info->name));
    const Onnx__TensorShapeProto *declared = declared_shape(info);
    if (stated == NULL || declared == NULL) return STATUS_OK;
    if ((size_t)stated->rank != declared->n_dim)
        return FAIL(im->diag, STATUS_USAGE, "the stated shape of '%s' has rank %d, the model's has rank %zu",
                    stated->name, stated->rank, declared->n_dim);
    for (int32_t i = 0; i < stated->rank; ++i) {
        const Onnx__TensorShapeProto__Dimension *dim = declared->dim[i];
        const char *name = symbol_name(dim);
        if (stated->dim[i] >= 0 && name != NULL) TRY(fix_dim(im, name, stated->dim[i]));
        if (stated->dim[i] >= 0 && dim->has_dim_value && dim->dim_value > 0 &&
            dim->dim_value != stated->dim[i])
            log_line(im->options->log, LOG_WARNING,
                     "input '%s': the model says %lld for dimension %d, the stated shape %lld", stated->name,
                     (long long)dim->dim_value, i, (long long)stated->dim[i]);
    }
    return STATUS_OK;
}

/* A stated shape must be for an input. */
static Status check_stated_names(Importer *im, const Scope *scope, const Onnx__GraphProto *graph) {
    for (int32_t i = 0; i < im->options->shape_count; ++i) {
        const InputShape *stated = &im->options->shapes[i];
        bool found = false;
        ByteWriter names = byte_writer(&im->scratch);
        for (size_t k = 0; k < graph->n_input; ++k) {
            if (!is_parameter(scope, graph->input[k])) continue;
            const char *name = proto_text(graph->input[k]->name);
            found = found || strcmp(name, stated->name) == 0;
            if (names.size < 256) write_format(&names, "%s'%.64s'", names.size == 0 ? "" : ", ", name);
        }
        write_u8(&names, 0);
        if (names.failed) return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
        if (!found)
            return FAIL(im->diag, STATUS_USAGE, "a shape is stated for '%s', but the inputs are %s",
                        stated->name, (const char *)names.data);
        if (stated->rank < 0 || stated->rank > SMELT_MAX_RANK)
            return FAIL(im->diag, STATUS_USAGE, "the stated shape of '%s' has rank %d, at most %d",
                        stated->name, stated->rank, SMELT_MAX_RANK);
    }
    return STATUS_OK;
}

/* -- shapes -- */

/* Dimension i: the stated extent, the model's, or a symbol (with the stated range). */
static Status import_dim(Importer *im, const char *input, int32_t i, const InputShape *stated,
                         const Onnx__TensorShapeProto__Dimension *declared, Dim *out) {
    bool open = stated != NULL && stated->dim[i] < 0;
    const char *name = declared == NULL ? NULL : symbol_name(declared);
    int32_t fixed = name == NULL ? -1 : name_map_find(&im->dims, name);
    if (stated != NULL && !open)
        *out = stated->dim[i];
    else if (fixed >= 0)
        *out = im->fixed_dims[fixed];
    else if (!open && declared != NULL && declared->has_dim_value && declared->dim_value > 0)
        *out = declared->dim_value;
    else {
        if (name == NULL) name = arena_printf(&im->scratch, "%s.dim%d", input, i);
        TRY_ALLOC(im->diag, name);
        *out = dim_symbol(im->graph->dims, name, SYMBOL_INPUT);
    }
    if (!dim_is_exact(*out) && open && stated->max[i] > 0) {
        Symbol *symbol = dim_symbol_at(im->graph->dims, dim_symbol_index(im->graph->dims, *out));
        symbol->min = stated->min[i];
        symbol->opt = stated->opt[i];
        symbol->max = stated->max[i];
    }
    return STATUS_OK;
}

static Status import_shape(Importer *im, const Onnx__ValueInfoProto *info, Shape *out) {
    const Onnx__TensorShapeProto *declared = declared_shape(info);
    const InputShape *stated = stated_shape(im, proto_text(info->name));
    if (declared == NULL && stated == NULL) {
        diag_hint(im->diag, "pass --shape %s:1x3x224x224 (with the real numbers)", proto_text(info->name));
        return FAIL(im->diag, STATUS_UNSUPPORTED, "the model does not say how many dimensions it has");
    }
    if (declared != NULL && declared->n_dim > SMELT_MAX_RANK)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "rank %zu is over the limit of %d", declared->n_dim,
                    SMELT_MAX_RANK);
    *out = (Shape){.rank = stated != NULL ? stated->rank : (int32_t)declared->n_dim};
    int64_t elements = 1;
    for (int32_t i = 0; i < out->rank; ++i) {
        const Onnx__TensorShapeProto__Dimension *dim = declared == NULL ? NULL : declared->dim[i];
        if (dim != NULL && dim->has_dim_value && dim->dim_value < -1)
            return FAIL(im->diag, STATUS_BAD_MODEL, "dimension %d is negative (%lld)", i,
                        (long long)dim->dim_value);
        TRY(import_dim(im, proto_text(info->name), i, stated, dim, &out->dim[i]));
        if (dim_is_exact(out->dim[i]) && out->dim[i] > 0 &&
            (__builtin_mul_overflow(elements, out->dim[i], &elements) || elements > INT64_MAX / 16))
            return FAIL(im->diag, STATUS_BAD_MODEL, "its dimensions are too large: their product overflows");
    }
    return STATUS_OK;
}

static const char *other_kind(const Onnx__TypeProto *type) {
    if (type->sequence_type != NULL) return "a sequence";
    if (type->optional_type != NULL) return "an optional";
    if (type->map_type != NULL) return "a map";
    if (type->opaque_type != NULL) return "an opaque value";
    return type->sparse_tensor_type != NULL ? "a sparse tensor" : NULL;
}

Status check_tensor_type(Importer *im, const Onnx__ValueInfoProto *info) {
    if (info->type == NULL) return STATUS_OK;
    const char *other = other_kind(info->type);
    if (other != NULL)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "it is %s, only tensors are supported", other);
    if (info->type->tensor_type == NULL) return STATUS_OK;
    int32_t type = info->type->tensor_type->elem_type;
    if (type == DTYPE_STRING)
        return FAIL(im->diag, STATUS_UNSUPPORTED, "it is a tensor of strings, which are not supported");
    if (type != DTYPE_NONE && !dtype_is_valid(type))
        return FAIL(im->diag, STATUS_BAD_MODEL, "its element type %d is unknown", type);
    return STATUS_OK;
}

static Status import_input(Importer *im, Scope *scope, const Onnx__ValueInfoProto *info) {
    TRY(check_tensor_type(im, info));
    if (info->type == NULL || info->type->tensor_type == NULL ||
        info->type->tensor_type->elem_type == DTYPE_NONE)
        return FAIL(im->diag, STATUS_BAD_MODEL, "it has no element type");
    Shape shape;
    TRY(import_shape(im, info, &shape));
    ValueId value;
    TRY(scope_define(im, scope, info->name, &value));
    Value *row = &im->graph->values[value];
    row->dtype = (DType)info->type->tensor_type->elem_type;
    row->shape = shape;
    row->has_shape = true;
    if (!block_add_param(im->graph, scope->block, value))
        return FAIL(im->diag, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

Status import_inputs(Importer *im, Scope *scope, const Onnx__GraphProto *graph) {
    TRY(check_stated_names(im, scope, graph));
    for (size_t i = 0; i < graph->n_input; ++i)
        if (is_parameter(scope, graph->input[i])) TRY(fix_named_dims(im, graph->input[i]));
    for (size_t i = 0; i < graph->n_input; ++i) {
        const char *name = proto_text(graph->input[i]->name);
        ValueId known;
        if (name[0] == '\0') return FAIL(im->diag, STATUS_BAD_MODEL, "input %zu has no name", i);
        if (scope_find(scope, name, &known)) {
            if (value_is_constant(im->graph, known)) continue;
            return FAIL(im->diag, STATUS_BAD_MODEL, "input '%s' is listed twice", name);
        }
        Status status = import_input(im, scope, graph->input[i]);
        if (status != STATUS_OK) {
            diag_context(im->diag, DIAG_TENSOR, "input '%s'", name);
            return status;
        }
    }
    return STATUS_OK;
}
