/* find_faces PLAN PICTURE.png OUT.png: finds faces with YuNet through smelt's runtime, and draws them.
 *
 * The model takes a picture as planar blue-green-red floats and answers on three grids (strides 8, 16 and
 * 32): for each cell a class score, an objectness, a box and five landmarks. Source of the decoding: the
 * model's own post-processing in libfacedetection. */
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/smelt_runtime.h"

enum { MOST_FACES = 64, LANDMARKS = 5, GRIDS = 3, CHANNELS = 3 };
static const int strides[GRIDS] = {8, 16, 32};
static const float least_score = 0.6f, most_overlap = 0.3f;

typedef struct Face {
    float score, x, y, width, height;
    float landmark[LANDMARKS][2];
} Face;

typedef struct Picture {
    int width, height;
    unsigned char *rgb;
} Picture;

static int read_picture(const char *path, Picture *out) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_file(&image, path)) return 0;
    image.format = PNG_FORMAT_RGB;
    out->width = (int)image.width;
    out->height = (int)image.height;
    out->rgb = malloc(PNG_IMAGE_SIZE(image));
    return out->rgb != NULL && png_image_finish_read(&image, NULL, out->rgb, 0, NULL);
}

static int write_picture(const char *path, const Picture *picture) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)picture->width,
                       .height = (png_uint_32)picture->height,
                       .format = PNG_FORMAT_RGB};
    return png_image_write_to_file(&image, path, 0, picture->rgb, 0, NULL);
}

/* Planar BGR floats at the model's size; the nearest pixel where sizes differ. */
static void fill_input(const Picture *picture, int width, int height, float *input) {
    for (int c = 0; c < CHANNELS; ++c)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
                int at = y * picture->height / height * picture->width + x * picture->width / width;
                input[(c * height + y) * width + x] = picture->rgb[at * CHANNELS + (CHANNELS - 1 - c)];
            }
}

static float clamp01(float x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* Faces of one grid above the least score. */
static int decode_grid(int stride, int columns, int rows, const float *cls, const float *obj,
                       const float *box, const float *points, Face *faces, int count) {
    for (int i = 0; i < columns * rows && count < MOST_FACES; ++i) {
        float score = sqrtf(clamp01(cls[i]) * clamp01(obj[i])), s = (float)stride;
        float column = (float)(i % columns), row = (float)(i / columns);
        if (score < least_score) continue;
        Face *face = &faces[count++];
        face->score = score;
        face->width = expf(box[4 * i + 2]) * s;
        face->height = expf(box[4 * i + 3]) * s;
        face->x = (column + box[4 * i]) * s - face->width / 2;
        face->y = (row + box[4 * i + 1]) * s - face->height / 2;
        for (int k = 0; k < LANDMARKS; ++k) {
            face->landmark[k][0] = (points[2 * (LANDMARKS * i + k)] + column) * s;
            face->landmark[k][1] = (points[2 * (LANDMARKS * i + k) + 1] + row) * s;
        }
    }
    return count;
}

static float overlap(const Face *a, const Face *b) {
    float w = fminf(a->x + a->width, b->x + b->width) - fmaxf(a->x, b->x);
    float h = fminf(a->y + a->height, b->y + b->height) - fmaxf(a->y, b->y);
    float common = fmaxf(w, 0) * fmaxf(h, 0);
    return common / (a->width * a->height + b->width * b->height - common);
}

static int by_score(const void *a, const void *b) {
    float x = ((const Face *)a)->score, y = ((const Face *)b)->score;
    return (x < y) - (x > y);
}

/* Keeps the best of faces that overlap. */
static int suppress(Face *faces, int count) {
    int kept = 0;
    qsort(faces, (size_t)count, sizeof *faces, by_score);
    for (int i = 0; i < count; ++i) {
        int keep = 1;
        for (int k = 0; k < kept && keep; ++k) keep = overlap(&faces[i], &faces[k]) <= most_overlap;
        if (keep) faces[kept++] = faces[i];
    }
    return kept;
}

static void set_pixel(Picture *p, int x, int y, const unsigned char colour[CHANNELS]) {
    if (x >= 0 && y >= 0 && x < p->width && y < p->height)
        memcpy(p->rgb + (y * p->width + x) * CHANNELS, colour, CHANNELS);
}

static void draw_face(Picture *p, const Face *face, float scale_x, float scale_y) {
    static const unsigned char green[] = {0, 220, 0}, yellow[] = {255, 230, 0};
    int left = (int)(face->x * scale_x), top = (int)(face->y * scale_y);
    int right = left + (int)(face->width * scale_x), bottom = top + (int)(face->height * scale_y);
    for (int t = 0; t < 2; ++t) {
        for (int x = left; x <= right; ++x)
            set_pixel(p, x, top + t, green), set_pixel(p, x, bottom - t, green);
        for (int y = top; y <= bottom; ++y)
            set_pixel(p, left + t, y, green), set_pixel(p, right - t, y, green);
    }
    for (int k = 0; k < LANDMARKS; ++k)
        for (int dy = -1; dy <= 1; ++dy)
            for (int dx = -1; dx <= 1; ++dx)
                set_pixel(p, (int)(face->landmark[k][0] * scale_x) + dx,
                          (int)(face->landmark[k][1] * scale_y) + dy, yellow);
}

/* The picture in a terminal that shows 24-bit colour: two pixels per character. */
static void show_picture(const Picture *p) {
    enum { COLUMNS = 64 };
    int rows = COLUMNS * p->height / p->width / 2 * 2;
    for (int y = 0; y < rows; y += 2) {
        for (int x = 0; x < COLUMNS; ++x) {
            const unsigned char *up =
                p->rgb + (y * p->height / rows * p->width + x * p->width / COLUMNS) * CHANNELS;
            const unsigned char *down =
                p->rgb + ((y + 1) * p->height / rows * p->width + x * p->width / COLUMNS) * CHANNELS;
            printf("\033[38;2;%d;%d;%dm\033[48;2;%d;%d;%dm\u2580", up[0], up[1], up[2], down[0], down[1],
                   down[2]);
        }
        printf("\033[0m\n");
    }
}

/* The context's result for a named output. */
static const float *output(SmeltEngine *engine, SmeltContext *context, const char *kind, int stride,
                           SmeltError *error) {
    char name[32];
    const void *data = NULL;
    size_t size;
    snprintf(name, sizeof name, "%s_%d", kind, stride);
    if (smelt_context_output(context, smelt_engine_find_binding(engine, name), &data, &size, error) !=
        SMELT_OK)
        return NULL;
    return data;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Runs the model; returns the number of faces, -1 on failure. */
static int find_faces(SmeltEngine *engine, SmeltContext *context, const Picture *picture, Face *faces,
                      SmeltBinding *in, double *ms, SmeltError *error) {
    void *buffers[16] = {NULL};
    int count = 0;
    if (smelt_engine_binding(engine, 0, in, error) != SMELT_OK || smelt_engine_binding_count(engine) > 16 ||
        in->rank != 4)
        return -1;
    int width = (int)in->dims[3], height = (int)in->dims[2];
    if (width <= 0 || height <= 0 || in->dims[1] != CHANNELS) return -1;
    float *input = malloc(sizeof(float) * CHANNELS * (size_t)width * (size_t)height);
    if (input == NULL) return -1;
    fill_input(picture, width, height, input);
    buffers[0] = input;
    int status = smelt_context_run(context, buffers, NULL, error); /* once to warm up */
    double start = milliseconds();
    if (status == SMELT_OK) status = smelt_context_run(context, buffers, NULL, error);
    *ms = milliseconds() - start;
    for (int g = 0; g < GRIDS && status == SMELT_OK; ++g) {
        const float *cls = output(engine, context, "cls", strides[g], error),
                    *obj = output(engine, context, "obj", strides[g], error);
        const float *box = output(engine, context, "bbox", strides[g], error),
                    *points = output(engine, context, "kps", strides[g], error);
        if (cls == NULL || obj == NULL || box == NULL || points == NULL)
            status = SMELT_BAD_PLAN;
        else
            count = decode_grid(strides[g], width / strides[g], height / strides[g], cls, obj, box, points,
                                faces, count);
    }
    free(input);
    return status == SMELT_OK ? suppress(faces, count) : -1;
}

static void report(Picture *picture, const Face *faces, int count, const SmeltBinding *in, double ms,
                   const char *path) {
    float scale_x = (float)picture->width / (float)in->dims[3],
          scale_y = (float)picture->height / (float)in->dims[2];
    printf("%d face%s in %.1f ms\n", count, count == 1 ? "" : "s", ms);
    for (int i = 0; i < count; ++i) {
        const Face *f = &faces[i];
        printf("  score %.2f at (%.0f, %.0f), %.0f x %.0f; eyes (%.0f, %.0f) (%.0f, %.0f)\n", f->score, f->x,
               f->y, f->width, f->height, f->landmark[0][0], f->landmark[0][1], f->landmark[1][0],
               f->landmark[1][1]);
        draw_face(picture, f, scale_x, scale_y);
    }
    if (isatty(STDOUT_FILENO)) show_picture(picture);
    printf(write_picture(path, picture) ? "drawn into %s\n" : "cannot write %s\n", path);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: find_faces PLAN PICTURE.png OUT.png\n");
        return 2;
    }
    SmeltEngine *engine = NULL;
    SmeltContext *context = NULL;
    SmeltError error = {0};
    SmeltBinding in;
    Picture picture = {0};
    Face faces[MOST_FACES];
    double ms = 0;
    int count = -1;
    if (!read_picture(argv[2], &picture))
        snprintf(error.message, sizeof error.message, "%s: not a PNG picture that can be read", argv[2]);
    else if (smelt_engine_load(argv[1], NULL, &engine, &error) == SMELT_OK &&
             smelt_context_create(engine, NULL, &context, &error) == SMELT_OK)
        count = find_faces(engine, context, &picture, faces, &in, &ms, &error);
    if (count >= 0)
        report(&picture, faces, count, &in, ms, argv[3]);
    else
        fprintf(stderr, "find_faces: %s\n",
                error.message[0] != '\0' ? error.message : "the plan is not YuNet's");
    smelt_context_destroy(context);
    smelt_engine_destroy(engine);
    free(picture.rgb);
    return count >= 0 ? 0 : 3;
}
