#include "kernels/tactic.h"

#include <string.h>

#include "kernels/chain.h"
#include "kernels/norm_text.h"
#include "kernels/planes_text.h"
#include "plan_format/library.h"

#define TACTIC(name) extern const Tactic tactic_##name;
#include "kernels/tactics.def"
#undef TACTIC

static const Tactic *const tactics[] = {
#define TACTIC(name) &tactic_##name,
#include "kernels/tactics.def"
#undef TACTIC
};

int32_t tactic_count(void) {
    return (int32_t)(sizeof tactics / sizeof tactics[0]);
}

_Static_assert(sizeof tactics / sizeof tactics[0] <= MOST_TACTICS, "each tactic has its switches");

const Tactic *tactic_at(int32_t index) {
    return tactics[index];
}

void config_prefer(Config *configs, int32_t best) {
    Config first = configs[best];
    memmove(configs + 1, configs, (size_t)best * sizeof *configs);
    configs[0] = first;
}

int32_t config_insert(const Config *config, double cost, int32_t most, double *costs, Config *out,
                      int32_t count) {
    int32_t at = count;
    for (; at > 0 && costs[at - 1] > cost; --at) {
        if (at == most) continue;
        costs[at] = costs[at - 1];
        out[at] = out[at - 1];
    }
    if (at == most) return count;
    costs[at] = cost;
    out[at] = *config;
    return count < most ? count + 1 : count;
}

/* -- which may be used -- */

static int32_t find_name(const char *name, size_t length) {
    for (int32_t i = 0; i < tactic_count(); ++i)
        if (strlen(tactics[i]->name) == length && memcmp(tactics[i]->name, name, length) == 0) return i;
    return -1;
}

static Status parse_switches(const char *text, TacticSwitches *out, Diag *diag) {
    for (const char *at = text; *at != 0;) {
        int32_t length = (int32_t)strcspn(at, ",");
        int32_t index = length > 0 ? find_name(at + 1, (size_t)length - 1) : -1;
        if (length == 0 || (at[0] != '+' && at[0] != '-'))
            return FAIL(diag, STATUS_USAGE, "tactics: '%.*s' has no sign: expected +NAME or -NAME", length,
                        at);
        if (index < 0) return FAIL(diag, STATUS_USAGE, "tactics: there is no '%.*s'", length - 1, at + 1);
        out->on[index] = at[0] == '+';
        out->off[index] = at[0] == '-';
        at += length + (at[length] == ',');
    }
    return STATUS_OK;
}

/* A tactic that is called as a library needs it. */
static Status find_libraries(TacticSwitches *switches, Diag *diag) {
    for (int i = 0; i < PLAN_LIBRARIES; ++i) {
        Library library;
        int32_t index = find_name(library_names[i].key, strlen(library_names[i].key));
        if (index < 0 || !switches->on[index]) continue;
        TRY(library_open((PlanLibrary)i, &library, diag));
        memcpy(switches->libraries[i], library.version, sizeof library.version);
    }
    return STATUS_OK;
}

Status tactics_switch(const char *text, DeviceList *list, Arena *arena, Diag *diag) {
    if (text == NULL) return STATUS_OK;
    TacticSwitches *switches = ARENA_NEW(arena, TacticSwitches);
    TRY_ALLOC(diag, switches);
    TRY(parse_switches(text, switches, diag));
    TRY(find_libraries(switches, diag));
    for (int32_t i = 0; i < list->count; ++i) {
        Device *device = ARENA_NEW(arena, Device);
        TRY_ALLOC(diag, device);
        *device = *list->at[i];
        device->switches = switches;
        list->at[i] = device;
    }
    return STATUS_OK;
}

static bool is_on(const Tactic *tactic, const Device *device) {
    const TacticSwitches *switches = device->switches;
    if (switches == NULL) return !tactic->optional;
    int32_t index = find_name(tactic->name, strlen(tactic->name));
    return switches->on[index] || (!tactic->optional && !switches->off[index]);
}

bool tactics_want_f32_layout(const Device *device) {
    bool want = false;
    for (int32_t i = 0; i < tactic_count(); ++i)
        want = want || (tactics[i]->f32_layout && is_on(tactics[i], device));
    return want;
}

/* -- what no tactic takes -- */

static const char *value_refusal(const Problem *problem, ValueId id) {
    const Value *value = problem_value(problem, id);
    if (!value->has_shape || value->dtype == DTYPE_NONE) return "a value of unknown type";
    return NULL;
}

/* Every late symbol of the dim is known when the step begins. */
static bool dim_is_known(const Problem *problem, Dim d) {
    DimTable *dims = problem->graph->dims;
    DimCode codes[DIM_POSTFIX_MAX];
    if (!dim_is_late(dims, d)) return true;
    int32_t count = dim_postfix(dims, d, codes, DIM_POSTFIX_MAX);
    bool known = count <= DIM_POSTFIX_MAX;
    for (int32_t i = 0; known && i < count; ++i) {
        if (codes[i].op != DIM_SYMBOL || dim_symbol_at(dims, (int32_t)codes[i].value)->kind != SYMBOL_LATE)
            continue;
        known = codes[i].value < problem->symbol_count && problem->known_symbols[codes[i].value];
    }
    return known;
}

/* Dims that the step itself must find: each a symbol (may_find), or none at all. */
static bool dims_are_known(const Problem *problem, ValueId id, bool may_find) {
    const Shape *shape = &problem_value(problem, id)->shape;
    bool known = true;
    for (int32_t i = 0; i < shape->rank; ++i) {
        bool lone = dim_symbol_index(problem->graph->dims, shape->dim[i]) >= 0;
        known = known && ((may_find && lone) || dim_is_known(problem, shape->dim[i]));
    }
    return known;
}

static bool sizes_are_known(const Problem *problem, bool may_find) {
    bool known = true;
    for (int32_t i = 0; i < problem->input_count; ++i)
        known = known && dims_are_known(problem, problem->inputs[i], false);
    for (int32_t i = 0; i < problem->output_count; ++i)
        known = known && dims_are_known(problem, problem->outputs[i], may_find);
    return known;
}

static bool has_body(const Node *node) {
    for (int32_t i = 0; i < node->attrs.count; ++i)
        if (node->attrs.items[i].kind == ATTR_BLOCK) return true;
    return false;
}

static const char *general_refusal(const Problem *problem) {
    const char *why = NULL;
    for (int32_t i = 0; why == NULL && i < problem->input_count; ++i)
        why = value_refusal(problem, problem->inputs[i]);
    for (int32_t i = 0; why == NULL && i < problem->output_count; ++i)
        why = value_refusal(problem, problem->outputs[i]);
    if (why != NULL) return why;
    if (!sizes_are_known(problem, true)) return "sizes that depend on data";
    if (problem->output_count == 0) return "nothing leaves it";
    for (int32_t i = 0; i < problem->node_count; ++i)
        if (has_body(&problem->graph->nodes[problem->nodes[i]])) return "control flow";
    if (problem->anchor == NONE) return NULL;
    why = problem_prologue_refuses(problem);
    return why != NULL ? why : problem_epilogue_refuses(problem);
}

static bool has_plain_values(const Problem *problem) {
    const Graph *graph = problem->graph;
    for (int32_t n = 0; n < problem->node_count; ++n) {
        const Node *node = &graph->nodes[problem->nodes[n]];
        for (int32_t i = 0; i < node->input_count; ++i)
            if (node->inputs[i] != NONE && !value_is_plain(&graph->values[node->inputs[i]])) return false;
        for (int32_t o = 0; o < node->output_count; ++o)
            if (node->outputs[o] != NONE && !value_is_plain(&graph->values[node->outputs[o]])) return false;
    }
    return true;
}

static PrologueUse wanted_prologue(const Problem *problem) {
    if (problem->anchor == NONE || !problem_has_front(problem)) return PROLOGUE_NONE;
    return problem_prologue_leaves(problem) ? PROLOGUE_STORES : PROLOGUE_READS;
}

static bool has_late_inputs(const Problem *problem) {
    for (int32_t i = 0; i < problem->input_count; ++i)
        if (shape_is_late(problem->graph->dims, &problem_value(problem, problem->inputs[i])->shape))
            return true;
    return false;
}

const char *tactic_refuses(const Tactic *tactic, const Problem *problem, const Device *device) {
    const char *why = tactic->refuses(problem, device);
    if (why != NULL) return why;
    if (!is_on(tactic, device)) return tactic->optional ? "not switched on" : "switched off";
    if (tactic->arch != NULL && strcmp(device->arch, tactic->arch) != 0) return "another architecture";
    if (!sizes_are_known(problem, tactic->finds_sizes)) return "sizes that depend on data";
    /* Tensor maps, which tactics of one architecture use, are made when shapes are set. */
    if (tactic->arch != NULL && has_late_inputs(problem)) return "sizes that depend on data";
    if (problem->pooling != NONE && !tactic->pools) return "a pool behind the anchor";
    if (problem->squeeze != NONE && !tactic->squeezes) return "contractions behind the anchor";
    if (problem->middle != NONE && !tactic->inverts) return "contractions behind the anchor";
    if (problem_front_norm(problem) != NULL && !tactic->normalizes)
        return "a normalisation in front of the anchor";
    if (problem->normalization != NONE && !tactic->normalizes_results)
        return "a normalisation behind the anchor";
    bool planes = problem_front_planes(problem) != NULL;
    if (planes && !tactic->normalizes_planes) return "a normalisation of planes in front of the anchor";
    if (planes && !tactic->keeps_planes && problem_prologue_leaves(problem))
        return "a normalisation that leaves";
    if (!planes && wanted_prologue(problem) > tactic->prologue) return "nodes in front of the anchor";
    if (tactic->strided || has_plain_values(problem)) return NULL;
    return "values that are slices or in channels-last layout";
}

/* Adds a tactic's refusal to the reasons so far; that it is for other operators says nothing. */
static const char *add_reason(Arena *arena, const char *reasons, const Tactic *tactic, const char *refusal) {
    const char *text = reasons;
    if (strncmp(refusal, "not ", 4) == 0) return reasons;
    if (reasons == NULL)
        text = arena_printf(arena, "%s: %s", tactic->name, refusal);
    else
        text = arena_printf(arena, "%s; %s: %s", reasons, tactic->name, refusal);
    return text != NULL ? text : refusal;
}

static bool is_slow(const Tactic *tactic, const Problem *problem) {
    const Value *x = tactic->slow == SLOW_FOR_HALVES ? problem_input(problem, 0) : NULL;
    return tactic->slow == SLOW_FOR_ALL || (x != NULL && dtype_is_half(x->dtype));
}

const char *tactic_slow(const Tactic *tactic, const Problem *problem, const Device *device, Arena *arena) {
    const char *why = NULL;
    if (!is_slow(tactic, problem)) return NULL;
    for (int32_t i = 0; i < tactic_count(); ++i) {
        if (tactics[i]->optional || is_slow(tactics[i], problem)) continue;
        const char *refusal = tactic_refuses(tactics[i], problem, device);
        if (refusal == NULL) return NULL;
        why = add_reason(arena, why, tactics[i], refusal);
    }
    return why != NULL ? why : "there is no faster one for the operator";
}

const Tactic *tactic_choose(const Problem *problem, const Device *device, Arena *arena, const char **why) {
    const char *general = general_refusal(problem);
    *why = general;
    for (int32_t i = 0; general == NULL && i < tactic_count(); ++i) {
        const char *refusal = tactic_refuses(tactics[i], problem, device);
        if (refusal == NULL) return tactics[i];
        *why = add_reason(arena, *why, tactics[i], refusal);
    }
    if (*why == NULL) *why = "no tactic for the operator";
    return NULL;
}
