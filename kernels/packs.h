/* Chains of pointwise nodes over packs of consecutive elements: how the lanes of a pack get their operands
 * and give their results. */
#ifndef SMELT_KERNELS_PACKS_H
#define SMELT_KERNELS_PACKS_H

#include "kernels/chain.h"
#include "kernels/tactic.h"

/* How the lanes of a pack get an operand. */
typedef enum Fetch {
    FETCH_LITERAL,
    FETCH_SEED,  /* what the anchor gives: x[k] */
    FETCH_PACK,  /* one vector access */
    FETCH_SPLAT, /* one element for all lanes */
    FETCH_EACH   /* an index for each lane */
} Fetch;

Fetch packs_fetch(const ChainOperand *operand, int32_t lanes);

/* Threads of a block each of which has one of count / lanes packs of the problem's values. */
int32_t packs_threads(const Problem *problem, const Device *device, Dim count, int32_t lanes);

/* "        Pack<float, N> v0;" for each operand that is read as a pack, and for each read through indices
 * that the lanes share. count: text of the number of lanes; into: "o." where they are members of `o`. */
void packs_declare(Chain *chain, int32_t lanes, const char *count, const char *into, ByteWriter *out);
/* "        v0 = load_pack<N>(p0, i);": what declare declared. */
void packs_load(const Chain *chain, int32_t lanes, const char *count, const char *into, ByteWriter *out);
/* "        prefetch_l2(p0 + i);": the same, to the L2 cache alone. */
void packs_prefetch(const Chain *chain, int32_t lanes, ByteWriter *out);
/* Members of a struct: Operands, which has what declare declares as members, and read(i, o), which loads
 * them, as its template's argument says (PackLoads, EarlyLoads of core.cuh). */
void packs_operands(Chain *chain, int32_t lanes, const char *count, ByteWriter *out);
/* The statements of one pack of which packs_load has been: from: as its into; results are stored. seed: the
 * anchor's value, x[k], or NONE. given: a value that x[k] gets, or NONE. */
void packs_compute(const Chain *chain, int32_t lanes, const char *count, const char *from, ValueId seed,
                   ValueId given, ByteWriter *out);

#endif
