/* normalize_on_write: an InstanceNormalization or GroupNormalization, with what is computed from its
 * elements, joins the convolution whose result it alone reads: the kernel normalises what it has made once
 * all of its blocks have met; where the target has kernels for that and they take less time. */
#include "passes/contraction.h"
#include "passes/runs.h"

/* The step of the convolution whose result the normalisation reads, with nothing behind it; or none. */
static Run maker_of(const Joiner *j, const Run *behind) {
    const Run none = {0};
    const Node *node = &j->graph->nodes[behind->nodes[0]];
    NodeId producer = j->graph->values[node->inputs[0]].producer;
    if (producer == NONE || j->graph->nodes[producer].op != OP_Conv ||
        j->graph->nodes[producer].block != node->block ||
        only_user(j->graph, &j->uses, node->block, node->inputs[0]) != behind->nodes[0])
        return none;
    Run maker = run_with(j->graph, producer);
    return maker.count > 0 && maker.nodes[maker.count - 1] == producer ? maker : none;
}

static Status join(Joiner *j, const Run *behind) {
    Joint joint = {.first = maker_of(j, behind),
                   .second = *behind,
                   .normalisation = behind->nodes[0],
                   .how = "computed by the convolution in front"};
    Run whole = joint.first;
    if (whole.count == 0 || whole.count + behind->count > REGION_NODES) return STATUS_OK;
    joint.anchor = whole.nodes[whole.count - 1];
    run_append(&whole, behind);
    Way ways[2] = {{.nodes = whole.nodes}, {.nodes = whole.nodes}};
    (void)way_add(&ways[0], joint.first.count, NONE);
    (void)way_add(&ways[0], behind->count, NONE);
    (void)way_add(&ways[1], whole.count, joint.anchor);
    return joiner_join(j, &joint, ways);
}

Status pass_normalize_on_write(PassCtx *ctx) {
    return join_normalisations(ctx, join);
}
