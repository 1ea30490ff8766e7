/* make_models TESTS: writes TESTS/bad_models/ *.onnx and TESTS/fuzz/corpus/import/ *.onnx. Run it after a
 * change to bad_models.h; the files are small and checked in. */
#include <stdio.h>

#include "bad_models.h"

static int write_models(const char *tests, const char *folder, const SampleModel *models, int count) {
    for (int i = 0; i < count; ++i) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s/%s.onnx", tests, folder, models[i].name);
        Wire model = models[i].make();
        FILE *file = fopen(path, "wb");
        if (file == NULL || fwrite(model.data, 1, model.size, file) != model.size || fclose(file) != 0) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: make_models TESTS_FOLDER\n");
        return 2;
    }
    return write_models(argv[1], "bad_models", bad_models, BAD_MODEL_COUNT) +
           write_models(argv[1], "fuzz/corpus/import", seed_models, SEED_MODEL_COUNT);
}
