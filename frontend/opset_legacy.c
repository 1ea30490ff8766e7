/* Operators that ONNX dropped (most were experimental). */
#include <string.h>

#include "frontend/opset_rules.h"

/* The experimental form before opset 9 states the axes of NCHW by across_channels, and may leave out the
 * division by the deviation. */
Status rewrite_mean_variance(Form *form) {
    static const int64_t all[] = {0, 1, 2, 3}, per_channel[] = {0, 2, 3};
    bool across = form_attr_int(form, "across_channels", 0) != 0;
    bool divides = form_attr_int(form, "normalize_variance", 1) != 0;
    int32_t count = across ? 4 : 3;
    const int64_t *axes = across ? all : per_channel;
    ValueId x = form_input(form, 0);
    form->attrs = (AttrList){0};
    if (divides) {
        form_note_attr(form, attr_set_ints(&form->attrs, form->im->arena, "axes", axes, count));
        return form->status;
    }
    FORM_BECOME(form, "Sub", x, FORM_NODE(form, "ReduceMean", NULL, x, form_ints(form, count, axes)));
    return form->status;
}

/* scale * x + bias[c], for NCHW. */
Status rewrite_image_scaler(Form *form) {
    ValueId x = form_input(form, 0);
    int32_t count;
    float scale = form_attr_float(form, "scale", 1);
    const float *bias = form_attr_floats(form, "bias", &count);
    form->attrs = (AttrList){0};
    ValueId scaled = FORM_NODE(form, "Mul", NULL, x, form_scalar(form, x, (double)scale));
    if (count <= 0) {
        FORM_BECOME(form, "Identity", scaled);
        return form->status;
    }
    int64_t axes[] = {1, 2};
    ValueId column =
        FORM_NODE(form, "Unsqueeze", NULL, form_floats(form, x, count, bias), form_ints(form, 2, axes));
    FORM_BECOME(form, "Add", scaled, column);
    return form->status;
}

/* border: left, top, right, bottom to cut from NCHW; or, with scale, the extents to keep from left, top on.
 */
Status rewrite_crop(Form *form) {
    int32_t borders, extents;
    const int64_t *border = form_attr_ints(form, "border", &borders);
    const int64_t *scale = form_attr_ints(form, "scale", &extents);
    if (borders != 4 || (extents != -1 && extents != 2))
        return form_refuse(form, "Crop needs 4 borders and no scale, or one of 2 numbers");
    int64_t starts[] = {border[1], border[0]}, ends[2], axes[] = {2, 3};
    for (int i = 0; i < 2; ++i) {
        int64_t cut = border[3 - i], keep;
        ends[i] = cut > 0 ? -cut : INT64_MAX;
        if (extents == 2 && __builtin_add_overflow(starts[i], scale[i], &keep))
            return form_refuse(form, "the extents to keep overflow");
        if (extents == 2) ends[i] = keep;
    }
    form->attrs = (AttrList){0};
    ValueId x = form_input(form, 0);
    FORM_BECOME(form, "Slice", x, form_ints(form, 2, starts), form_ints(form, 2, ends),
                form_ints(form, 2, axes));
    return form->status;
}

/* alpha * x + beta */
Status rewrite_affine(Form *form) {
    ValueId x = form_input(form, 0);
    double alpha = (double)form_attr_float(form, "alpha", 1), beta = (double)form_attr_float(form, "beta", 0);
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "Add", FORM_NODE(form, "Mul", NULL, x, form_scalar(form, x, alpha)),
                form_scalar(form, x, beta));
    return form->status;
}

Status rewrite_scale(Form *form) {
    ValueId x = form_input(form, 0);
    double scale = (double)form_attr_float(form, "scale", 1);
    form->attrs = (AttrList){0};
    FORM_BECOME(form, "Mul", x, form_scalar(form, x, scale));
    return form->status;
}

/* alpha * f(beta * x) */
static Status scaled_function(Form *form, const char *op) {
    ValueId x = form_input(form, 0);
    double alpha = (double)form_attr_float(form, "alpha", 1), beta = (double)form_attr_float(form, "beta", 1);
    form->attrs = (AttrList){0};
    ValueId inner = FORM_NODE(form, "Mul", NULL, x, form_scalar(form, x, beta));
    FORM_BECOME(form, "Mul", FORM_NODE(form, op, NULL, inner), form_scalar(form, x, alpha));
    return form->status;
}

Status rewrite_parametric_softplus(Form *form) {
    return scaled_function(form, "Softplus");
}

Status rewrite_scaled_tanh(Form *form) {
    return scaled_function(form, "Tanh");
}
