/* Every tactic on the graphs of tests/kernels. For every architecture: the first config of its first problem;
 * for one each, in turn: each problem with the tactic that is chosen. Of all the others, which differ from
 * those in numbers, and which kernels_host compiles as C++, some. Exits with 77 (skipped) where there is no
 * NVRTC. */
#include "base/file.h"
#include "kernels.h"
#include "kernels/arch.h"
#include "kernels/jit.h"

enum { ONE_IN = 4 /* of the others */ };

typedef struct Units {
    Arena arena;
    Diag diag;
    const Device *device; /* that tactics choose for */
    NameMap known;        /* entries that are there already */
    JitRequest *requests;
    int32_t count, capacity;
    int32_t turn;      /* of the architectures */
    int32_t others;    /* that have come by */
    int32_t uses[256]; /* problems, per tactic */
} Units;

/* For all architectures that can have it, or the one whose turn it is; only: for this one. */
static void add_units(Units *u, const Emission *emission, bool everywhere, const char *only,
                      const char *work) {
    for (int32_t i = 0; i < emission->launch_count; ++i) {
        const KernelLaunch *launch = &emission->launches[i];
        if (launch->call != NULL) continue; /* nothing is compiled */
        int32_t least = strstr(launch->source, "__cluster_dims__") != NULL ? CLUSTERS_SM : 0;
        if (name_map_find(&u->known, launch->entry) >= 0) continue;
        CHECK(name_map_set(&u->known, &u->arena, launch->entry, u->count));
        for (int32_t a = 0; a < (everywhere || only != NULL ? arch_count() : 1); ++a) {
            const Device *device = arch_at((a + u->turn) % arch_count());
            if ((only != NULL && strcmp(device->arch, only) != 0) || device->sm < least) continue;
            if (!ARENA_RESERVE(&u->arena, u->requests, u->count, u->capacity)) exit(1);
            u->requests[u->count++] = (JitRequest){
                .entry = launch->entry, .source = launch->source, .device = device, .work = work};
        }
        u->turn++;
    }
}

/* All tactics that take the problem. */
static void add_problem(Units *u, Graph *graph, const Problem *problem) {
    Config configs[MOST_CONFIGS];
    int32_t takers = 0;
    const char *why;
    const Tactic *chosen = tactic_choose(problem, u->device, &u->arena, &why);
    if (chosen == NULL) {
        fprintf(stderr, "no tactic for %s: %s\n", problem->key, why);
        CHECK(false && "every step of tests/kernels has a tactic");
        return;
    }
    for (int32_t t = 0; t < tactic_count(); ++t) {
        const Tactic *tactic = tactic_at(t);
        if (tactic_refuses(tactic, problem, u->device) != NULL) continue;
        int32_t count = tactic->configs(problem, u->device, configs);
        CHECK(count > 0 && count <= MOST_CONFIGS);
        bool first = u->uses[t] == 0;
        if (!first) count = 1;
        for (int32_t c = 0; c < count; ++c) {
            const bool other = first ? c > 0 : tactic != chosen;
            if (other && u->others++ % ONE_IN != 0) continue;
            add_units(u, emit_problem(graph, problem, tactic, &configs[c], u->device, &u->arena, &u->diag),
                      first && c == 0, tactic->arch,
                      arena_printf(&u->arena, "%s [%s, config %d]", problem->key, tactic->name, c));
        }
        u->uses[t]++;
        takers++;
    }
    CHECK(takers > 0);
}

static void add_graph(Units *u, const char *path) {
    Graph *graph = read_kernel_graph(path, &u->arena, &u->diag);
    for (int32_t at = 0; at < graph->blocks[MAIN_BLOCK].node_count;) {
        Problem *problem = ARENA_NEW(&u->arena, Problem);
        at = next_problem(graph, at, &u->arena, problem, &u->diag);
        add_problem(u, graph, problem);
    }
}

/* only: graphs whose name contains this; NULL: all. */
static void add_graphs(Units *u, const char *only) {
    char **names;
    int32_t count;
    const char *folder = SMELT_SOURCE_DIR "/tests/kernels";
    CHECK_OK(folder_list(&u->arena, folder, &names, &count, &u->diag), &u->diag);
    for (int32_t i = 0; i < count; ++i)
        if (strstr(names[i], ".ir") != NULL && (only == NULL || strstr(names[i], only) != NULL))
            add_graph(u, path_join(&u->arena, folder, names[i]));
    for (int32_t t = 0; t < tactic_count() && only == NULL; ++t) {
        if (u->uses[t] == 0)
            fprintf(stderr, "no graph of tests/kernels uses tactic %s\n", tactic_at(t)->name);
        CHECK(u->uses[t] > 0);
    }
}

int main(int argc, char **argv) {
    Units u = {0};
    Jit *jit = NULL;
    JitOptions options = {.cache_folder = "kernel_cache"};
    u.device = with_all_tactics(arch_find("sm_90"), &u.arena);
    add_graphs(&u, argc > 1 ? argv[1] : NULL);
    Status status = jit_create(&options, &u.arena, &jit, &u.diag);
    if (status == STATUS_WRONG_DEVICE && test_failures == 0) {
        fprintf(stderr, "skipped: %s\n", u.diag.text);
        return 77;
    }
    CHECK_OK(status, &u.diag);
    CHECK_OK(jit_compile(jit, u.requests, u.count, &u.arena, &u.diag), &u.diag);
    for (int32_t i = 0; i < u.count; ++i) CHECK(u.requests[i].cubin_size > 0);
    jit_destroy(jit);
    arena_reset(&u.arena);
    return test_result();
}
