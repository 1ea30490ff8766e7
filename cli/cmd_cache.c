#include <string.h>

#include "cli/commands.h"
#include "kernels/timing_cache.h"

Status command_cache(App *app, const Command *self, int argc, char **argv) {
    const char *output = NULL;
    const Option table[] = {{"output", 'o', OPTION_TEXT, &output, "FILE",
                             "where the merged cache goes; an old file stays whole until the new one is", 0,
                             0}};
    TextList words = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, table, 1, &words, 2, 1 << 16, &done));
    if (done) return STATUS_OK;
    if (strcmp(words.items[0], "merge") != 0)
        return FAIL(&app->diag, STATUS_USAGE, "cache: '%s' is not 'merge'", words.items[0]);
    if (output == NULL) return FAIL(&app->diag, STATUS_USAGE, "cache merge needs -o FILE");
    TimingCache *all, *next;
    TRY(timing_cache_read(words.items[1], &app->arena, &all, &app->diag));
    for (int32_t i = 2; i < words.count; ++i) {
        TRY(timing_cache_read(words.items[i], &app->arena, &next, &app->diag));
        TRY(timing_cache_merge(all, next, &app->diag));
    }
    TRY(timing_cache_write(all, output, &app->diag));
    fprintf(stderr, "%s: %d times for %s\n", output, all->count, all->gpu);
    return STATUS_OK;
}
