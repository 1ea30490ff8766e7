#include <stdio.h>
#include <string.h>

#include "kernels/arch.h"
#include "kernels/lowering.h"
#include "kernels/planes_text.h"
#include "kernels/weights_ahead.h"
#include "plan_format/library.h"

enum { MOST_NAMED = 4 /* slow steps */ };

typedef struct CudaLowering {
    Lowering base;
    const LowerCudaOptions *options;
    const Choice *tried; /* the plan is to time it alone; NULL: it is not */
    Graph *graph;
    UseTable uses;
    const DeviceList *devices;
    Device device;   /* what all of them can do: steps are of what it can do */
    Arena work;      /* units and problems, until they are compiled */
    NameMap kernels; /* unit -> kernel */
    NameMap calls;   /* text of a library call -> call */
    int32_t kernel_capacity, launch_capacity, arg_capacity, map_capacity, request_capacity, request_count,
        call_capacity, operand_capacity;
    JitRequest *requests; /* of every kernel for every architecture, kernel by kernel; without a source: it
                             is not used there */
    bool *known_symbols;  /* that the steps so far find */
    int32_t symbol_count;
    int32_t device_steps, host_steps, slow_steps; /* slow: of both */
    ByteWriter slow_names;                        /* of the first slow ones, as users read them */
    NodeId slow_node;                             /* the last of them */
    const char *choices;                          /* of the step at hand */
    int32_t arch_step_capacity;
    /* Per device: of what value the last step has left moments, in so many parts (0: of none), and where in
     * scratch memory. */
    ValueId moments[MOST_DEVICES];
    int64_t moment_parts[MOST_DEVICES], moments_at[MOST_DEVICES];
    int64_t constant_bytes; /* of the graph */
} CudaLowering;

static const char *list_archs(const CudaLowering *c) {
    char *text = arena_strdup(c->base.arena, c->devices->at[0]->arch);
    for (int32_t i = 1; text != NULL && i < c->devices->count; ++i)
        text = arena_printf(c->base.arena, "%s,%s", text, c->devices->at[i]->arch);
    return text;
}

/* -- launches -- */

/* The plan's kernel for a launch on a device; a unit that is there already is shared. */
static Status add_kernel(CudaLowering *c, const KernelLaunch *launch, const char *work, int32_t device,
                         int32_t *out) {
    Lowering *l = &c->base;
    Plan *plan = l->plan;
    *out = name_map_find(&c->kernels, launch->source);
    if (*out >= 0) {
        c->requests[*out * c->devices->count + device].source = launch->source;
        return STATUS_OK;
    }
    if (!ARENA_RESERVE(l->arena, plan->kernels, plan->kernel_count, c->kernel_capacity) ||
        !name_map_set(&c->kernels, &c->work, launch->source, plan->kernel_count))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    const char *entry = arena_strdup(l->arena, launch->entry);
    TRY_ALLOC(l->diag, entry);
    for (int32_t i = 0; i < c->devices->count; ++i) {
        if (!ARENA_RESERVE(&c->work, c->requests, c->request_count, c->request_capacity))
            return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
        c->requests[c->request_count++] = (JitRequest){.entry = launch->entry,
                                                       .source = i == device ? launch->source : NULL,
                                                       .device = c->devices->at[i],
                                                       .work = work};
    }
    *out = plan->kernel_count++;
    plan->kernels[*out] = (PlanKernel){.entry = entry,
                                       .param_count = launch->arg_count,
                                       .cubin_first = *out * c->devices->count,
                                       .cubin_count = c->devices->count};
    return STATUS_OK;
}

/* All numbers of a call as text. */
static const char *call_key(CudaLowering *c, const KernelCall *from) {
    ByteWriter key = byte_writer(&c->work);
    const PlanCall *call = &from->call;
    write_format(&key, "%d %d %d %lld", call->library, call->choice, call->tf32, (long long)call->workspace);
    for (int i = 0; i < PLAN_CALL_AFTER; ++i) write_format(&key, " %d", call->after[i]);
    for (int i = 0; i < PLAN_CALL_AXES; ++i)
        write_format(&key, " %d,%d,%d,%d", call->step[i], call->dilation[i], call->low[i], call->high[i]);
    for (int32_t o = 0; o < call->operand_count; ++o) {
        write_format(&key, " %d %d", from->operands[o].dtype, from->operands[o].rank);
        for (int i = 0; i < PLAN_CALL_RANK; ++i)
            write_format(&key, " %lld:%lld", (long long)from->operands[o].dim[i],
                         (long long)from->operands[o].stride[i]);
    }
    write_u8(&key, 0);
    return key.failed ? NULL : (const char *)key.data;
}

/* The plan's call; one that is there already is shared. */
static Status add_call(CudaLowering *c, const KernelCall *from, int32_t *kernel) {
    Lowering *l = &c->base;
    Plan *plan = l->plan;
    const char *key = call_key(c, from);
    TRY_ALLOC(l->diag, key);
    int32_t known = name_map_find(&c->calls, key);
    *kernel = -1 - (known >= 0 ? known : plan->call_count);
    if (known >= 0) return STATUS_OK;
    if (!name_map_set(&c->calls, &c->work, key, plan->call_count) ||
        !ARENA_RESERVE(l->arena, plan->calls, plan->call_count, c->call_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    plan->calls[plan->call_count] = from->call;
    plan->calls[plan->call_count++].operand_first = plan->operand_count;
    for (int32_t i = 0; i < from->call.operand_count; ++i) {
        if (!ARENA_RESERVE(l->arena, plan->operands, plan->operand_count, c->operand_capacity))
            return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
        plan->operands[plan->operand_count++] = from->operands[i];
    }
    return STATUS_OK;
}

/* META names the libraries that are called, with the versions that were found when their tactics were
 * switched on. */
static Status note_libraries(CudaLowering *c) {
    bool called[PLAN_LIBRARIES] = {false};
    for (int32_t i = 0; i < c->base.plan->call_count; ++i) called[c->base.plan->calls[i].library] = true;
    for (int i = 0; i < PLAN_LIBRARIES; ++i) {
        if (!called[i]) continue;
        const char *key = arena_printf(c->base.arena, "library.%s", library_names[i].key);
        TRY_ALLOC(c->base.diag, key);
        TRY(lower_meta(&c->base, key, c->device.switches->libraries[i]));
    }
    return STATUS_OK;
}

/* Strides of a map are bytes in plans. */
static Status add_map(CudaLowering *c, const KernelMap *from) {
    Lowering *l = &c->base;
    DimTable *dims = c->graph->dims;
    int32_t element = dtype_bits(c->graph->values[from->value].dtype) / 8;
    PlanMap map = {.rank = from->rank, .swizzle = from->swizzle, .windows = from->windows};
    for (int32_t i = 0; i < from->rank; ++i) {
        TRY(lower_dim(l, from->dim[i], &map.dim[i]));
        if (i > 0) TRY(lower_dim(l, dim_mul(dims, from->stride[i], element), &map.stride[i - 1]));
        if (!from->windows) map.box[i] = from->box[i];
    }
    for (int32_t i = 0; from->windows && i + 2 < from->rank; ++i) {
        map.step[i] = from->step[i];
        map.low[i] = from->low[i];
        map.high[i] = from->high[i];
    }
    map.box[0] = from->box[0];
    if (from->windows) map.box[1] = from->pixels;
    if (!ARENA_RESERVE(l->arena, l->plan->maps, l->plan->map_count, c->map_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    l->plan->maps[l->plan->map_count++] = map;
    return STATUS_OK;
}

static Status fill_arg(CudaLowering *c, const KernelArg *from, PlanArg *arg) {
    Lowering *l = &c->base;
    if (from->kind == KERNEL_ARG_MAP) {
        arg->number = l->plan->map_count;
        TRY(add_map(c, from->map));
        if (from->map->channels_last)
            return lower_channels_last(l, from->value, l->plan->arg_count, &arg->value);
        return lower_value(l, from->value, &arg->value);
    }
    if (from->kind != KERNEL_ARG_VALUE) return lower_dim(l, from->number, &arg->number);
    arg->written = from->written;
    if (from->turned) return lower_channels_last(l, from->value, l->plan->arg_count, &arg->value);
    if (from->in_any_order) return lower_in_any_order(l, from->value, l->plan->arg_count, &arg->value);
    return lower_value(l, from->value, &arg->value);
}

static Status add_arg(CudaLowering *c, const KernelArg *from) {
    static const int32_t kinds[] = {[KERNEL_ARG_VALUE] = PLAN_ARG_VALUE,
                                    [KERNEL_ARG_NUMBER] = PLAN_ARG_NUMBER,
                                    [KERNEL_ARG_SCRATCH] = PLAN_ARG_SCRATCH,
                                    [KERNEL_ARG_MAP] = PLAN_ARG_MAP};
    Lowering *l = &c->base;
    PlanArg arg = {.kind = kinds[from->kind], .value = -1};
    TRY(fill_arg(c, from, &arg));
    if (!ARENA_RESERVE(l->arena, l->plan->args, l->plan->arg_count, c->arg_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    l->plan->args[l->plan->arg_count++] = arg;
    return STATUS_OK;
}

static Status add_launch(CudaLowering *c, const KernelLaunch *from, const char *work, int32_t device) {
    Lowering *l = &c->base;
    PlanLaunch launch = {
        .shared_bytes = from->shared_bytes, .arg_first = l->plan->arg_count, .arg_count = from->arg_count};
    launch.together = from->together;
    TRY(from->call != NULL ? add_call(c, from->call, &launch.kernel)
                           : add_kernel(c, from, work, device, &launch.kernel));
    for (int32_t i = 0; i < 3; ++i) {
        launch.block[i] = from->block[i];
        TRY(lower_dim(l, from->grid[i], &launch.grid[i]));
    }
    for (int32_t i = 0; i < from->arg_count; ++i) TRY(add_arg(c, &from->args[i]));
    if (!ARENA_RESERVE(l->arena, l->plan->launches, l->plan->launch_count, c->launch_capacity))
        return FAIL(l->diag, STATUS_NO_MEMORY, "out of memory");
    l->plan->launches[l->plan->launch_count++] = launch;
    return STATUS_OK;
}

/* -- steps -- */

/* A lone view whose output lies where its input lies, or a Concat, Split or Slice whose parts all lie in the
 * whole: nothing is to be done. */
static bool stays_view(CudaLowering *c, const NodeId *nodes, int32_t count) {
    const Node *node = &c->graph->nodes[nodes[0]];
    if (count == 1 && parts_are_in_place(c->graph, nodes[0], &c->work)) return true;
    if (count != 1 || (op_def(node->op)->flags & OPF_VIEW) == 0 || node->output_count != 1 ||
        node->inputs[0] == NONE || node->outputs[0] == NONE)
        return false;
    const PlanValue *from = &c->base.plan->values[c->base.values[node->inputs[0]]];
    const PlanValue *to = &c->base.plan->values[c->base.values[node->outputs[0]]];
    return from->storage == to->storage && from->storage != PLAN_OWN && from->storage != PLAN_NOWHERE &&
           from->index == to->index && from->offset == to->offset;
}

/* Values that only the step's own nodes see are in registers. */
static void hide_inner_values(CudaLowering *c, const Problem *problem) {
    for (int32_t n = 0; n < problem->node_count; ++n) {
        const Node *node = &c->graph->nodes[problem->nodes[n]];
        for (int32_t o = 0; o < node->output_count; ++o) {
            bool leaves = node->outputs[o] == NONE;
            for (int32_t i = 0; i < problem->output_count; ++i)
                if (problem->outputs[i] == node->outputs[o]) leaves = true;
            if (leaves) continue;
            PlanValue *value = &c->base.plan->values[c->base.values[node->outputs[o]]];
            value->storage = PLAN_NOWHERE;
            value->index = -1;
            value->offset = 0;
        }
    }
}

/* Times of one GPU say nothing of others, of which plans may be too. */
static const TimingCache *timings_of(const CudaLowering *c, const Device *device) {
    const TimingCache *timings = c->options->timings;
    char arch[32];
    snprintf(arch, sizeof arch, " sm_%d ", device->sm);
    return c->devices->count == 1 || timings == NULL || strstr(timings->gpu, arch) != NULL ? timings : NULL;
}

/* moments_us: see choice_best_leaving. */
static Choice choose(const CudaLowering *c, const Problem *problem, const Device *device, double moments_us) {
    if (c->tried != NULL && c->graph->nodes[problem->nodes[0]].op != OP_Reformat) return *c->tried;
    if (c->options->variant > 0) return choice_numbered(problem, device, c->options->variant);
    return choice_best_leaving(problem, device, timings_of(c, device), moments_us);
}

/* Lists what no fast kernel does; once where devices do it. how: "by conv_direct". */
static void list_slow(CudaLowering *c, NodeId id, const char *how, const char *why) {
    const char *op = op_def(c->graph->nodes[id].op)->name, *name = node_title(c->graph, id);
    log_line(c->base.options->log, LOG_PASS, "slow: %s '%s' %s (%s)", op, name, how, why);
    if (id == c->slow_node) return;
    c->slow_node = id;
    if (c->slow_steps++ < MOST_NAMED)
        write_format(&c->slow_names, "%s%s '%.80s' %s", c->slow_steps > 1 ? ", " : "", op, name, how);
}

/* One line for users; the plan has the steps, --verbose the reasons. */
static void say_slow(CudaLowering *c) {
    write_u8(&c->slow_names, 0);
    if (c->slow_steps == 0 || c->slow_names.failed) return;
    log_line(c->base.options->log, LOG_WARNING, "slow, for want of a fast kernel: %d steps (%s%s)",
             c->slow_steps, (const char *)c->slow_names.data, c->slow_steps > MOST_NAMED ? ", .." : "");
}

/* "conv_wgmma 128,64,4 (measured, 21.8 us)" for the step on a device; several pieces one behind the other. */
static Status note_choice(CudaLowering *c, const Problem *problem, const Choice *choice,
                          const Device *device) {
    Choice said = *choice;
    if (c->options->untimed) said.microseconds = 0;
    const char *text = choice_text(&said, c->base.arena);
    const char *slow =
        c->options->trial == NULL ? tactic_slow(choice->tactic, problem, device, &c->work) : NULL;
    if (slow != NULL) {
        const char *how = arena_printf(&c->work, "by %s", choice->tactic->name);
        TRY_ALLOC(c->base.diag, how);
        list_slow(c, problem->anchor, how, slow);
        if (text != NULL) text = arena_printf(c->base.arena, "%s, slow", text);
    }
    if (text != NULL && c->choices != NULL) text = arena_printf(c->base.arena, "%s; %s", c->choices, text);
    TRY_ALLOC(c->base.diag, text);
    c->choices = text;
    return STATUS_OK;
}

/* What of a step a tactic takes: all of it, where one does. */
typedef struct Piece {
    Problem problem;
    const Tactic *tactic;
} Piece;

/* The longest run of nodes from the first on that a tactic takes; *why: why not all `count` of them. */
static Status find_piece(CudaLowering *c, const NodeId *nodes, int32_t count, Piece *out, const char **why) {
    const char *reason;
    *why = NULL;
    for (int32_t length = count; length > 0; --length) {
        TRY(problem_create(c->graph, &c->uses, nodes, length, &c->work, &out->problem, c->base.diag));
        out->problem.known_symbols = c->known_symbols;
        out->problem.symbol_count = c->symbol_count;
        out->tactic = tactic_choose(&out->problem, &c->device, &c->work, &reason);
        if (*why == NULL) *why = reason;
        if (out->tactic != NULL) break;
    }
    return dim_table_check(c->graph->dims, STATUS_UNSUPPORTED, "sizes within the step overflow 64 bits",
                           c->base.diag);
}

/* -- moments: a step that leaves those of its result, and the normalisation behind it, which does not read
 * the result for them -- */

/* Nodes of the step behind a node, 0: there is none in the block. */
static int32_t next_step(const Graph *graph, NodeId last, const NodeId **nodes) {
    const Block *block = &graph->blocks[graph->nodes[last].block];
    int32_t first = node_position(graph, last) + 1;
    *nodes = block->nodes + first;
    return first < block->node_count ? step_end(graph, block, first) - first : 0;
}

/* What the step behind one with nothing behind its anchor gains by moments that it finds; one that is tried
 * by itself leaves none. */
static Status ask_next(CudaLowering *c, const Problem *problem, const Device *device, double *moments_us) {
    const NodeId *nodes;
    const char *why;
    Problem next;
    *moments_us = 0;
    NodeId last = problem->nodes[problem->node_count - 1];
    if (last != problem->anchor || c->tried != NULL) return STATUS_OK;
    int32_t count = next_step(c->graph, last, &nodes);
    if (count == 0) return STATUS_OK;
    TRY(problem_create(c->graph, &c->uses, nodes, count, &c->work, &next, c->base.diag));
    if (next.anchor == NONE || problem_read_input(&next) != c->graph->nodes[last].outputs[0])
        return STATUS_OK;
    if (tactic_choose(&next, &c->device, &c->work, &why) == NULL) return STATUS_OK;
    Choice behind = choose(c, &next, device, 0);
    *moments_us = choice_moments_us(&next, device, &behind);
    return STATUS_OK;
}

/* Chooses how the step is done, with the moments that it finds and leaves. */
static Status arrange_moments(CudaLowering *c, const Problem *problem, int32_t index, Choice *choice,
                              Emission *emission) {
    const Node *anchor = problem_anchor(problem);
    const Device *device = c->devices->at[index];
    int64_t left = c->moment_parts[index];
    double moments_us;
    TRY(ask_next(c, problem, device, &moments_us));
    *choice = choose(c, problem, device, moments_us);
    c->moment_parts[index] = 0;
    if (anchor == NULL) return STATUS_OK;
    if (left > 0 && problem_read_input(problem) == c->moments[index] &&
        choice_moments_us(problem, device, choice) > 0) {
        emission->finds_parts = left;
        emission->finds_at = c->moments_at[index];
    }
    if (moments_us > 0) emission->leaves_parts = choice_moment_parts(problem, device, choice);
    c->moments[index] = anchor->outputs[0];
    c->moment_parts[index] = emission->leaves_parts;
    return STATUS_OK;
}

static Status emit_piece(CudaLowering *c, const Piece *piece, int32_t index, Dim *scratch_bytes,
                         int32_t *launch_count) {
    const Problem *problem = &piece->problem;
    const Device *device = c->devices->at[index];
    Choice choice;
    int32_t repeats = c->options->trial != NULL ? c->options->trial->repeats : 1;
    if (c->graph->nodes[problem->nodes[0]].op == OP_Reformat) repeats = 1;
    Emission emission = {.arena = &c->work, .graph = c->graph, .problem = problem, .diag = c->base.diag};
    TRY(arrange_moments(c, problem, index, &choice, &emission));
    const char *work = arena_printf(&c->work, "%s (%s)", problem->key, choice.tactic->name);
    TRY_ALLOC(c->base.diag, work);
    if (c->tried == NULL) weights_look_ahead(problem, device, c->constant_bytes, &emission);
    TRY(choice.tactic->emit(&choice.config, device, &emission));
    c->moments_at[index] = emission.leaves_at;
    *scratch_bytes = dim_max(c->graph->dims, *scratch_bytes, emission.scratch_bytes);
    for (int32_t r = 0; r < repeats; ++r)
        for (int32_t i = 0; i < emission.launch_count; ++i)
            TRY(add_launch(c, &emission.launches[i], work, index));
    *launch_count += repeats * emission.launch_count;
    TRY(note_choice(c, problem, &choice, device));
    hide_inner_values(c, problem);
    return STATUS_OK;
}

/* So many, those that are missing of steps on the host. */
static Status fill_arch_steps(CudaLowering *c, int64_t wanted) {
    Plan *plan = c->base.plan;
    while (plan->arch_step_count < wanted) {
        if (!ARENA_RESERVE(c->base.arena, plan->arch_steps, plan->arch_step_count, c->arch_step_capacity))
            return FAIL(c->base.diag, STATUS_NO_MEMORY, "out of memory");
        plan->arch_steps[plan->arch_step_count++] = (PlanArchStep){0};
    }
    return STATUS_OK;
}

static Status finish_arch_steps(CudaLowering *c) {
    Plan *plan = c->base.plan;
    if (plan->kernel_count > 0)
        return fill_arch_steps(c, (int64_t)plan->step_count * (c->devices->count - 1));
    plan->arch_step_count = 0; /* only views, if anything */
    if (c->devices->count == 1 || plan->launch_count == 0) return STATUS_OK;
    return FAIL(c->base.diag, STATUS_UNSUPPORTED, "a plan that only calls libraries is for one GPU");
}

/* What the step does on device number `index`. */
static Status keep_arch_step(CudaLowering *c, PlanStep *step, int32_t index, const PlanArchStep *own) {
    Plan *plan = c->base.plan;
    if (index == 0) {
        step->launch_first = own->launch_first;
        step->launch_count = own->launch_count;
        step->scratch_bytes = own->scratch_bytes;
        return STATUS_OK;
    }
    int32_t place = (int32_t)(step - plan->steps) * (c->devices->count - 1) + index - 1;
    TRY(fill_arch_steps(c, place + 1));
    plan->arch_steps[place] = *own;
    return STATUS_OK;
}

/* "conv_mma ..." or, where devices differ, "sm_80: conv_mma ..., sm_90a: conv_wgmma ...". */
static Status note_device(CudaLowering *c, PlanStep *step, int32_t index) {
    Arena *arena = c->base.arena;
    if (index == 0) {
        step->reason = c->choices;
        return STATUS_OK;
    }
    if (index == 1) step->reason = arena_printf(arena, "%s: %s", c->devices->at[0]->arch, step->reason);
    TRY_ALLOC(c->base.diag, step->reason);
    step->reason = arena_printf(arena, "%s, %s: %s", step->reason, c->devices->at[index]->arch, c->choices);
    TRY_ALLOC(c->base.diag, step->reason);
    return STATUS_OK;
}

/* The step as launches of its pieces, one after the other, for each device. */
static Status emit_step(CudaLowering *c, const Piece *pieces, int32_t count, PlanStep *step) {
    step->kind = PLAN_STEP_LAUNCH;
    for (int32_t d = 0; d < c->devices->count; ++d) {
        PlanArchStep own = {.launch_first = c->base.plan->launch_count};
        Dim scratch_bytes = 0;
        c->choices = NULL;
        for (int32_t i = 0; i < count; ++i)
            TRY(emit_piece(c, &pieces[i], d, &scratch_bytes, &own.launch_count));
        TRY(lower_dim(&c->base, scratch_bytes, &own.scratch_bytes));
        TRY(keep_arch_step(c, step, d, &own));
        TRY(note_device(c, step, d));
    }
    return STATUS_OK;
}

static Status emit_view(CudaLowering *c, PlanStep *step) {
    const PlanArchStep own = {.launch_first = c->base.plan->launch_count};
    step->kind = PLAN_STEP_LAUNCH;
    for (int32_t d = 0; d < c->devices->count; ++d) TRY(keep_arch_step(c, step, d, &own));
    return STATUS_OK;
}

static Status keep_on_host(CudaLowering *c, PlanStep *step, NodeId node, const char *why) {
    memset(c->moment_parts, 0, sizeof c->moment_parts);
    step->reason = arena_strdup(c->base.arena, why);
    TRY_ALLOC(c->base.diag, step->reason);
    c->host_steps++;
    list_slow(c, node, "on the host", why);
    return STATUS_OK;
}

/* Takes a region apart that no tactic takes as a whole. *piece_count is 0 where a node has none at all. */
static Status find_pieces(CudaLowering *c, const NodeId *nodes, int32_t count, Piece *pieces,
                          int32_t *piece_count, const char **why) {
    *piece_count = 0;
    *why = NULL;
    for (int32_t first = 0; first < count;) {
        Piece *piece = &pieces[*piece_count];
        const char *reason;
        if (first > 0 && stays_view(c, nodes + first, 1)) {
            first++;
            continue;
        }
        TRY(find_piece(c, nodes + first, count - first, piece, &reason));
        if (*why == NULL) *why = reason;
        /* Only one piece can leave sizes at the start of the step's scratch memory. */
        if (piece->tactic == NULL || (first > 0 && piece->tactic->finds_sizes)) {
            *piece_count = 0;
            return STATUS_OK;
        }
        problem_find_symbols(c->graph, nodes + first, piece->problem.node_count, c->known_symbols,
                             c->symbol_count);
        first += piece->problem.node_count;
        ++*piece_count;
    }
    return STATUS_OK;
}

static Status choose_step(Lowering *l, PlanStep *step, const NodeId *nodes, int32_t count) {
    CudaLowering *c = l->target;
    const char *why;
    int32_t piece_count;
    if (stays_view(c, nodes, count)) return emit_view(c, step);
    Piece *pieces = ARENA_ARRAY(&c->work, Piece, count);
    TRY_ALLOC(l->diag, pieces);
    TRY(find_pieces(c, nodes, count, pieces, &piece_count, &why));
    if (piece_count == 0) return keep_on_host(c, step, nodes[0], why);
    if (piece_count > 1)
        log_line(c->base.options->log, LOG_PASS, "in %d parts: %s (%s)", piece_count, step->name, why);
    c->device_steps++;
    return emit_step(c, pieces, piece_count, step);
}

static Status finish_step(Lowering *l, PlanStep *step, const NodeId *nodes, int32_t count) {
    CudaLowering *c = l->target;
    TRY(choose_step(l, step, nodes, count));
    problem_find_symbols(c->graph, nodes, count, c->known_symbols, c->symbol_count);
    return STATUS_OK;
}

/* -- the whole -- */

static Status compile_kernels(CudaLowering *c) {
    Lowering *l = &c->base;
    Jit *jit = NULL;
    if (c->request_count == 0) return STATUS_OK;
    int32_t used = 0;
    JitRequest *requests = ARENA_ARRAY(&c->work, JitRequest, c->request_count);
    TRY_ALLOC(l->diag, requests);
    for (int32_t i = 0; i < c->request_count; ++i)
        if (c->requests[i].source != NULL) requests[used++] = c->requests[i];
    TRY(jit_create(&c->options->jit, &c->work, &jit, l->diag));
    Status status = jit_compile(jit, requests, used, l->arena, l->diag);
    /* Drivers run the code of any compiler with their major version. */
    const char *driver = arena_printf(l->arena, "%d.0", jit_major(jit));
    jit_destroy(jit);
    TRY(status);
    TRY(lower_meta(l, "driver", driver));
    l->plan->cubins = ARENA_ARRAY(l->arena, PlanCubin, c->request_count);
    TRY_ALLOC(l->diag, l->plan->cubins);
    l->plan->cubin_count = c->request_count;
    for (int32_t i = c->request_count - 1; i >= 0; --i) {
        const JitRequest *request = c->requests[i].source != NULL ? &requests[--used] : &c->requests[i];
        if (request->cubin_size > INT32_MAX)
            return FAIL(l->diag, STATUS_UNSUPPORTED, "%s is more than 2 GiB of code", request->work);
        l->plan->cubins[i] = (PlanCubin){.sm = request->device->sm,
                                         .accelerated = arch_is_exact(request->device),
                                         .data = request->cubin,
                                         .size = (uint32_t)request->cubin_size};
    }
    return STATUS_OK;
}

static Status lower_all(CudaLowering *c) {
    c->devices = &c->options->devices;
    c->device = arch_common(c->devices);
    c->symbol_count = dim_symbol_count(c->graph->dims);
    c->known_symbols = ARENA_ARRAY(&c->work, bool, c->symbol_count);
    TRY_ALLOC(c->base.diag, c->known_symbols);
    if (!use_table_build(c->graph, &c->work, &c->uses))
        return FAIL(c->base.diag, STATUS_NO_MEMORY, "out of memory");
    c->constant_bytes = weights_bytes(c->graph);
    TRY(lower_graph(&c->base));
    TRY(lower_meta(&c->base, "gpu", list_archs(c)));
    TRY(lower_meta(&c->base, "device", device_list_text(c->devices, c->base.arena)));
    TRY(note_libraries(c));
    TRY(compile_kernels(c));
    TRY(finish_arch_steps(c));
    say_slow(c);
    log_line(c->base.options->log, LOG_INFO, "%d steps on the GPU with %d kernels, %d on the host",
             c->device_steps, c->base.plan->kernel_count, c->host_steps);
    return lower_check(&c->base);
}

Status lower_to_cuda(Graph *graph, const LowerCudaOptions *options, Arena *arena, Plan *plan, Diag *diag) {
    CudaLowering lowering = {
        .base = {.graph = graph, .options = &options->base, .arena = arena, .plan = plan, .diag = diag},
        .options = options,
        .graph = graph};
    lowering.base.finish_step = finish_step;
    lowering.base.target = &lowering;
    if (options->trial != NULL && options->trial->choice.tactic != NULL)
        lowering.tried = &options->trial->choice;
    arena_init(&lowering.work, arena->allocator);
    lowering.slow_names = byte_writer(&lowering.work);
    lowering.slow_node = NONE;
    *plan = (Plan){.major = PLAN_MAJOR, .minor = PLAN_MINOR};
    Status status = lower_all(&lowering);
    arena_reset(&lowering.work);
    return status;
}
