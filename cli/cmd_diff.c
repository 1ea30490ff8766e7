#include "cli/commands.h"
#include "plan_format/plan.h"

static Status open_plan(App *app, const char *path, FileMap *map, Plan *plan) {
    TRY(file_map(path, map, &app->diag));
    return plan_read(map->data, map->size, path, &app->arena, plan, &app->diag);
}

Status command_diff(App *app, const Command *self, int argc, char **argv) {
    TextList paths = {0};
    bool done;
    TRY(command_begin(app, self, argc, argv, NULL, 0, &paths, 2, 2, &done));
    if (done) return STATUS_OK;
    FileMap maps[2] = {{0}, {0}};
    Plan plans[2];
    int64_t differences = 0;
    ByteWriter out = byte_writer(&app->arena);
    Status status = open_plan(app, paths.items[0], &maps[0], &plans[0]);
    if (status == STATUS_OK) status = open_plan(app, paths.items[1], &maps[1], &plans[1]);
    if (status == STATUS_OK) status = plan_diff(&plans[0], &plans[1], &out, &differences, &app->diag);
    if (status == STATUS_OK && out.size > 0) fwrite(out.data, 1, out.size, stdout);
    file_unmap(&maps[0]);
    file_unmap(&maps[1]);
    if (status != STATUS_OK) return status;
    printf("%lld difference%s\n", (long long)differences, differences == 1 ? "" : "s");
    return differences == 0 ? STATUS_OK : STATUS_MISMATCH;
}
