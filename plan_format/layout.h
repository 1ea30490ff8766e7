/* The layout of FORMAT.md as code, once for both directions: the writer and the reader walk the same record
 * descriptions. Private to plan_format. */
#ifndef SMELT_PLAN_FORMAT_LAYOUT_H
#define SMELT_PLAN_FORMAT_LAYOUT_H

#include "base/hash.h"
#include "plan_format/plan.h"

enum {
    PLAN_HEADER_SIZE = 32,
    PLAN_SECTION_ENTRY_SIZE = 32,
    PLAN_SECTION_LIMIT = 64,
    PLAN_SECTION_ALIGNMENT = 8,
    PLAN_CHECKSUM_OFFSET = 24, /* of the header's checksum field */
    PLAN_SECTION_REQUIRED = 1  /* flag */
};
extern const uint8_t plan_magic[8];

typedef enum PlanSectionKind {
    PLAN_META = 1,
    PLAN_BINDINGS,
    PLAN_DIMS,
    PLAN_MEMORY,
    PLAN_WEIGHTS,
    PLAN_KERNELS,
    PLAN_STEPS,
    PLAN_DEBUG,
    PLAN_CALLS,
    PLAN_ARCHITECTURES,
    PLAN_SECTION_KINDS
} PlanSectionKind;

/* Data that records of a section point to by place. */
typedef enum CodecPool { POOL_STRINGS, POOL_LISTS, POOL_BYTES, POOL_COUNT } CodecPool;

/* Walks one section, to write or to read it. */
typedef struct Codec {
    bool writing;
    int32_t minor; /* version of the plan being read */
    bool lenient;  /* it is above our own: reserved fields may be anything */
    Arena *arena;
    const char *section; /* name, for messages */
    Diag *diag;
    ByteWriter pools_out[POOL_COUNT]; /* writing */
    ByteWriter tables_out;
    NameMap places; /* string -> place */
    ByteReader in;  /* reading */
    const char *strings;
    const int32_t *lists;
    const uint8_t *bytes;
    uint32_t pool_count[POOL_COUNT];
    const char *problem; /* first thing wrong with the record being read, NULL when fine */
    int64_t found, expected;
} Codec;

typedef struct SectionLayout {
    const char *name;
    bool expected;                              /* every plan has it */
    bool required;                              /* marked REQUIRED where it is */
    bool has_lists;                             /* pools that its tables use */
    const char *byte_pool;                      /* name of its bytes, NULL where there are none */
    Status (*tables)(Codec *codec, Plan *plan); /* NULL: raw bytes */
} SectionLayout;

/* Indexed by PlanSectionKind. */
extern const SectionLayout plan_sections[PLAN_SECTION_KINDS];

/* Encodes a section of plan; *out gets its bytes, in arena. */
Status section_encode(PlanSectionKind kind, const Plan *plan, Arena *arena, ByteWriter *out, Diag *diag);
/* Decodes it into plan. Sections must be decoded in the order of their kinds. */
Status section_decode(PlanSectionKind kind, const uint8_t *bytes, size_t size, int32_t minor, Plan *plan,
                      Arena *arena, Diag *diag);

#endif
