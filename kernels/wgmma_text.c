#include "kernels/wgmma_text.h"

#include <math.h>

#include "base/checked.h"
#include "ir/cost.h"
#include "kernels/planes_text.h"
#include "kernels/window_text.h"

enum {
    SHARED_RESERVED = 1024 + 512, /* by the driver for each block, and for barriers */
    SHARED_SLACK = 1024,          /* for the alignment of stages */
    MOST_STAGES = 8,
    ROWS_OF_A_STEP = 64,  /* of an instruction */
    BYTES_OF_A_STEP = 32, /* of the depth */
    BYTES_OF_A_LINE = 128,
    MOST_STAGE_LINE = 192,
    MOST_SLICES = 8, /* blocks of a cluster */
    LEAST_STEPS = 3, /* of a slice */
    LEAST_KEPT_STAGES = 3,
    IDLE_SHARE = 16, /* of the multiprocessors */
    STEP_LATENCY = 207,
    MOST_BOX = 256,          /* lines that a box has */
    LEAST_SHARED_ROWS = 128, /* of a tile */
    LEAST_SHARED_COLS = 64,
    COLUMNS_OF_A_PIECE = 32,
    MOST_WAITING = 96,         /* sums of a thread whose results wait for others */
    MOST_WAITING_OF_THREE = 80 /* of three warpgroups, which have fewer registers */
};

#define SHARING 1.3 /* time of blocks that share an operand, to that of others */

enum { SHARE_NOTHING, SHARE_ROWS, SHARE_COLS, KEEP_COLS };

/* Tiles of least to most columns, in steps. Registers of a thread bound rows x cols / 128 sums and how many
 * blocks share a multiprocessor. */
typedef struct TileFamily {
    int32_t warpgroups, repeat, least, most, step, resident;
} TileFamily;
static const TileFamily families[] = {{2, 1, 64, 256, 16, 1}, {2, 2, 64, 128, 32, 1}, {2, 1, 32, 128, 16, 2},
                                      {2, 1, 32, 64, 16, 3},  {1, 2, 64, 96, 32, 2},  {1, 1, 32, 96, 16, 3},
                                      {1, 1, 32, 64, 16, 4},  {1, 1, 64, 128, 64, 2}, {1, 1, 64, 128, 64, 1},
                                      {1, 1, 32, 32, 32, 2},  {2, 2, 32, 32, 32, 2},  {2, 4, 32, 32, 32, 1},
                                      {3, 1, 128, 192, 32, 1}};
enum { FAMILIES = sizeof families / sizeof families[0] };

/* How the blocks of a cluster work together. */
typedef struct Way {
    int32_t slices, shares;
} Way;
static const Way ways[] = {{1, SHARE_NOTHING}, {2, SHARE_NOTHING}, {4, SHARE_NOTHING}, {8, SHARE_NOTHING},
                           {1, SHARE_ROWS},    {1, SHARE_COLS},    {1, KEEP_COLS}};
enum { WAYS = sizeof ways / sizeof ways[0] };

const char *wgmma_refuses(const Problem *problem) {
    const Value *a = problem_input(problem, 0), *b = problem_input(problem, 1);
    if (a == NULL || b == NULL) return "operands that are left out";
    if (a->dtype != b->dtype) return "operands of different types";
    if (a->dtype == DTYPE_F32) return problem->graph->tf32 ? NULL : "fp32 without --precision=tf32";
    return dtype_is_half(a->dtype) ? NULL : "operands that are not fp16, bf16 or fp32";
}

int32_t wgmma_element(const Problem *problem) {
    return dtype_bits(problem_input(problem, 0)->dtype) / 8;
}

bool wgmma_reads_outer(int32_t element) {
    return element == 2;
}

void wgmma_describe_epilogue(const Problem *problem, WgmmaProblem *product) {
    const Node *anchor = problem_anchor(problem);
    int64_t results = value_count_at_opt(problem->graph, anchor->outputs[0]);
    for (int32_t i = 0; i < problem->input_count; ++i) {
        const Value *value = problem_value(problem, problem->inputs[i]);
        bool operand = false;
        for (int32_t k = 0; k < anchor->input_count; ++k)
            operand = operand || anchor->inputs[k] == problem->inputs[i];
        if (!operand && value->data == NULL)
            product->reads =
                product->reads || value_count_at_opt(problem->graph, problem->inputs[i]) >= results;
    }
    for (int32_t i = 0; i < problem->node_count; ++i) {
        OpId op = problem->graph->nodes[problem->nodes[i]].op;
        product->polynomial = product->polynomial || op == OP_Gelu || op == OP_Erf || op == OP_Tanh;
        product->quotient = product->quotient || op == OP_Swish || op == OP_Sigmoid;
    }
}

int32_t wgmma_rows(const Config *config) {
    return config->number[WGMMA_WARPGROUPS] * config->number[WGMMA_REPEAT] * ROWS_OF_A_STEP;
}

int32_t wgmma_copied_rows(const Config *config) {
    return wgmma_rows(config) / (config->number[WGMMA_SHARES] == SHARE_ROWS ? 2 : 1);
}

int32_t wgmma_copied_cols(const Config *config) {
    return config->number[WGMMA_COLS] / (config->number[WGMMA_SHARES] == SHARE_COLS ? 2 : 1);
}

static bool shares_of(const Config *config) {
    return config->number[WGMMA_SHARES] == SHARE_ROWS || config->number[WGMMA_SHARES] == SHARE_COLS;
}

static bool keeps_of(const Config *config) {
    return config->number[WGMMA_SHARES] == KEEP_COLS;
}

/* Blocks of a cluster. */
static int32_t cluster_of(const Config *config) {
    return shares_of(config) ? 2 : config->number[WGMMA_SLICES];
}

static int32_t stage_depth(const Config *config) {
    return config->number[WGMMA_DEPTH] * config->number[WGMMA_BLOCKS];
}

int32_t wgmma_line(int32_t element, int32_t part) {
    int32_t line = BYTES_OF_A_STEP;
    while (line < part * element) line *= 2;
    return line;
}

static int32_t stage_bytes(const WgmmaProblem *problem, const Config *config) {
    return wgmma_line(problem->element, config->number[WGMMA_DEPTH]) * config->number[WGMMA_BLOCKS] *
           (wgmma_rows(config) + (keeps_of(config) ? 0 : config->number[WGMMA_COLS]));
}

/* What the other slices send to a block: their sums of its units, of 8 columns of a row for each thread. */
static int32_t joined_bytes(const Config *config) {
    int32_t slices = config->number[WGMMA_SLICES], threads = config->number[WGMMA_WARPGROUPS] * 128,
            units = config->number[WGMMA_COLS] / 16 * config->number[WGMMA_REPEAT];
    return (units + slices - 1) / slices * (slices - 1) * threads * 8 * 4;
}

/* Parts of a run. */
static int64_t run_of(const WgmmaProblem *problem, const Config *config) {
    return ceil_div_i64(problem->depth, config->number[WGMMA_DEPTH]);
}

static int64_t steps_of(const WgmmaProblem *problem, const Config *config) {
    return ceil_div_i64(problem->runs * run_of(problem, config), config->number[WGMMA_BLOCKS]);
}

/* What a block keeps of the columns' operand. */
static int64_t kept_bytes(const WgmmaProblem *problem, const Config *config) {
    int64_t parts = steps_of(problem, config) * config->number[WGMMA_BLOCKS];
    if (!keeps_of(config)) return 0;
    return parts * config->number[WGMMA_COLS] * wgmma_line(problem->element, config->number[WGMMA_DEPTH]);
}

/* Instructions of a part that begins at `first` of a run. */
static int32_t instructions_of(const WgmmaProblem *problem, const Config *config, int64_t first) {
    int64_t part = config->number[WGMMA_DEPTH], rest = problem->depth - first;
    return (int32_t)ceil_div_i64((rest < part ? rest : part) * problem->element, BYTES_OF_A_STEP);
}

/* Of a run's last part. */
static int32_t last_instructions(const WgmmaProblem *problem, const Config *config) {
    return instructions_of(problem, config, (run_of(problem, config) - 1) * config->number[WGMMA_DEPTH]);
}

int32_t wgmma_spreads(const WgmmaProblem *problem, const Config *config) {
    /* Behind a run is the next one, which must meet no instruction. */
    if (!problem->spread || (problem->runs > 1 && problem->depth * problem->element % BYTES_OF_A_STEP != 0))
        return 0;
    if (problem->known_cols % 32 == 0 && config->number[WGMMA_COLS] % 32 == 0) return 32;
    return problem->alone ? 0 : 16;
}

/* Columns of which the threads of a row store 8 each: see SumUnits. */
static int32_t group_of(const WgmmaProblem *problem, const Config *config) {
    int32_t spread = wgmma_spreads(problem, config), cols = config->number[WGMMA_COLS];
    if (cols % 32 != 0 || spread == 16) return 16;
    bool whole = spread == 32 && cols % 64 == 0 && config->number[WGMMA_SLICES] == 1 && !problem->alone;
    return whole && problem->element == 2 ? 64 : 32; /* 32 of 4 bytes are a line */
}

/* -- what it costs -- */

double wgmma_l2_rate(const Device *device) {
    return 1.29 * device_l2_per_clock(device);
}

/* Blocks that run at one time. Clusters of more than two leave some multiprocessors idle: those that they do
 * not fill lie in groups apart. */
static int64_t most_blocks(const Device *device, const Config *config) {
    int32_t cluster = cluster_of(config), resident = config->number[WGMMA_RESIDENT];
    int32_t used = cluster > 2 ? device->sm_count - device->sm_count / IDLE_SHARE : device->sm_count;
    int64_t blocks = (int64_t)(used / cluster) * cluster * resident;
    return blocks > 0 ? blocks : (int64_t)device->sm_count * resident;
}

static int64_t tiles_of(const WgmmaProblem *problem, const Config *config) {
    int32_t shares = config->number[WGMMA_SHARES];
    int64_t rows = ceil_div_i64(problem->known_rows, wgmma_rows(config)),
            cols = ceil_div_i64(problem->known_cols, config->number[WGMMA_COLS]);
    if (shares == SHARE_COLS) rows = round_up_i64(rows, 2);
    if (shares == SHARE_ROWS) cols = round_up_i64(cols, 2);
    return rows * cols * problem->known_batch;
}

int64_t wgmma_blocks_of_columns(int64_t most, int64_t cols) {
    return most > cols ? most / cols * cols : cols;
}

/* Blocks that keep their columns. */
static int64_t keeping_blocks(const Device *device, const WgmmaProblem *problem, const Config *config) {
    return wgmma_blocks_of_columns(most_blocks(device, config),
                                   ceil_div_i64(problem->known_cols, config->number[WGMMA_COLS]));
}

/* Halves of L2's lines that a line of a part of so many elements meets: more where it begins anywhere. */
static double line_halves(const WgmmaProblem *problem, int32_t depth) {
    int64_t all = problem->depth * problem->element;
    double halves = depth * problem->element / 64.0;
    if (all % 64 != 0) halves += all % 32 == 0 ? 0.5 : 0.75;
    return halves;
}

/* The same with a share that all lines take. */
static double line_share(const WgmmaProblem *problem, int32_t depth, double share) {
    return share + (1 - share) / 2 * line_halves(problem, depth);
}

/* What copies take where blocks do several tiles, or one: to a line at the plain rate of L2, of products
 * those of rows, which blocks read at the same time, and of columns; of windows. Columns of a small operand
 * lie in few parts of L2, which all blocks ask. */
typedef struct CopyRates {
    double share, least_busy;
    struct {
        double rows, cols;
    } line[2];                /* of products, of windows */
    double asked, most_asked; /* cycles of a line: bytes of the operand divide them */
    double latency,
        behind; /* until a stage is there; behind others, each so many times as long as they take */
} CopyRates;
static const CopyRates many_rates = {0.00, 1, {{0.47, 0.61}, {0.73, 0.38}}, 378039, 5.1, 478, 1.14};
static const CopyRates once_rates = {0.89, 0.24, {{0.58, 0.49}, {1.15, 0.15}}, 0, 0, 703, 2.62};

/* Cycles of copying a stage's operands from L2 while so many blocks do. */
static double copy_cycles(const Device *device, const WgmmaProblem *problem, const Config *config,
                          const CopyRates *rates, double active) {
    double line = BYTES_OF_A_LINE / device_l2_per_clock(device) *
                  line_share(problem, config->number[WGMMA_DEPTH], rates->share);
    double bytes = (double)problem->known_cols * (double)(problem->depth * problem->runs) *
                   (double)problem->known_batch * problem->element;
    double asked = fmin(rates->most_asked, rates->asked / bytes);
    double rows = line * rates->line[problem->runs > 1].rows * wgmma_rows(config),
           cols = fmax(line * rates->line[problem->runs > 1].cols, asked) *
                  (keeps_of(config) ? 0 : config->number[WGMMA_COLS]);
    return config->number[WGMMA_BLOCKS] * (rows + cols) *
           fmax(rates->least_busy, fmin(active / device->sm_count, 1));
}

/* Cycles of a stage's products. TF32 takes as long as two bytes each of half precision. Where a tile has few
 * columns, shared memory does not keep up; one warpgroup waits between its instructions. */
static double product_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    double instructions = (double)ceil_div_i64(problem->depth * problem->element, BYTES_OF_A_STEP) /
                          (double)run_of(problem, config) * config->number[WGMMA_BLOCKS];
    bool lonely = config->number[WGMMA_WARPGROUPS] == 1 && config->number[WGMMA_RESIDENT] == 1;
    double cols = config->number[WGMMA_COLS], least = 1.13 * (32 + cols / 2);
    return (lonely ? 1.52 : 1) * instructions * BYTES_OF_A_STEP * wgmma_rows(config) *
           fmax(0.94 * cols, least) / device->fp16_per_clock;
}

/* Until a stage that is asked for is there, for each of those that are under way. */
static double copy_latency(const Config *config, const CopyRates *rates, double copies) {
    return (rates->latency + rates->behind * copies) / (config->number[WGMMA_STAGES] - 1);
}

static bool stores_halves(const WgmmaProblem *problem, const Config *config) {
    return config->number[WGMMA_COLS] % 32 != 0 || wgmma_spreads(problem, config) == 16;
}

/* Cycles to store a tile. Where results of others are read, registers are too few beside many sums, most so
 * of two blocks; polynomials are slow beside many sums, quotients where blocks share a
 * multiprocessor. */
static double epilogue_cycles(const WgmmaProblem *problem, const Config *config) {
    int32_t sums = config->number[WGMMA_REPEAT] * config->number[WGMMA_COLS] / 2;
    double each = group_of(problem, config) == 64 ? 0.116 : 0.111;
    if (problem->reads) each += config->number[WGMMA_RESIDENT] > 1 && sums > 40 ? 0.139 : 0.083;
    if (problem->reads && config->number[WGMMA_RESIDENT] == 1) each += 0.03 * (sums - 64) / 64.0;
    if (problem->polynomial) each += 0.85e-3 * config->number[WGMMA_COLS];
    if (problem->quotient && config->number[WGMMA_RESIDENT] > 1) each += 0.04;
    return each * wgmma_rows(config) * config->number[WGMMA_COLS];
}

/* Cycles for blocks that do several tiles: copies for the next one go on while a tile is stored. The last
 * round has fewer blocks. */
static double many_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    int32_t resident = config->number[WGMMA_RESIDENT];
    int64_t tiles = tiles_of(problem, config), blocks = keeps_of(config)
                                                            ? keeping_blocks(device, problem, config)
                                                            : (int64_t)device->sm_count * resident;
    double steps = (double)steps_of(problem, config), epilogue = epilogue_cycles(problem, config) + 322;
    double copies = copy_cycles(device, problem, config, &many_rates, device->sm_count),
           products = product_cycles(device, problem, config);
    double stage = fmax(copies, products), latency = copy_latency(config, &many_rates, copies);
    if (resident == 1) {
        double ahead = 0.10 * fmin(fmin(config->number[WGMMA_STAGES], steps) * copies, epilogue);
        return (double)ceil_div_i64(tiles, blocks) *
               (epilogue + fmax(steps * products, steps * fmax(stage, 1.32 * latency) - ahead));
    }
    double alone = steps * fmax(stage, latency) + epilogue, behind = 1.26 * epilogue;
    int64_t rounds = tiles / blocks, rest = tiles % blocks;
    double cycles = (double)rounds * (fmax(resident * steps * stage, alone) + behind);
    if (rest == 0) return cycles;
    double left = (double)ceil_div_i64(rest, device->sm_count);
    return cycles + fmax(left * steps * stage, steps * fmax(stage, 3.59 * latency) + epilogue) +
           (left > 1 ? behind : 0);
}

/* Cycles where each block does one tile: latencies count, of a step, of a copy and of the slices' meeting. */
static double once_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    static const double joins[MOST_SLICES + 1] = {[2] = 1725, [4] = 1866, [8] = 3214};
    int32_t slices = config->number[WGMMA_SLICES];
    int64_t blocks = tiles_of(problem, config) * slices;
    double sharing = (double)ceil_div_i64(blocks, device->sm_count);
    double copies = copy_cycles(device, problem, config, &once_rates, (double)blocks),
           stage = fmax(copies, product_cycles(device, problem, config));
    double latency = fmax(copy_latency(config, &once_rates, copies), STEP_LATENCY);
    double steps = (double)ceil_div_i64(steps_of(problem, config), slices);
    double epilogue = 0.91 * epilogue_cycles(problem, config) + 300;
    if (slices > 1)
        epilogue =
            epilogue / slices + joins[slices] + 0.135 * wgmma_rows(config) * config->number[WGMMA_COLS];
    double together = sharing * steps * stage, alone = steps * fmax(stage, latency) + epilogue;
    if (sharing < 2) return alone;
    return fmax(together, alone) + 0.73 * epilogue;
}

/* Microseconds in which L2 hands out what tiles read and takes what they store, in halves of its lines. */
static double l2_time(const Device *device, const WgmmaProblem *problem, const Config *config) {
    const double half = 64;
    int64_t parts = problem->runs * run_of(problem, config);
    double rows = (double)(ceil_div_i64(problem->known_rows, wgmma_rows(config)) * wgmma_rows(config)),
           results = (double)problem->known_rows * (double)problem->known_cols * problem->element / half,
           read = rows * fmin(7, (double)ceil_div_i64(problem->known_cols, config->number[WGMMA_COLS])) *
                  (double)parts * line_halves(problem, config->number[WGMMA_DEPTH]);
    double halves =
        0.38 * read + results * (stores_halves(problem, config) ? 2 : 1) + (problem->reads ? results : 0);
    return halves * half * (double)problem->known_batch / (0.66 * device->l2_gb_per_s * 1e3);
}

/* Of a normalisation of the left operand: parts of all channels are merged first; what a tile has then is
 * done in packs, before its products. A second step of a tile waits for the first one's. */
static double normal_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    double resident = config->number[WGMMA_RESIDENT], steps = (double)steps_of(problem, config);
    double tiles = (double)ceil_div_i64(tiles_of(problem, config), (int64_t)(device->sm_count * resident));
    double packs = steps * stage_depth(config) * wgmma_rows(config) / EPILOGUE_LANES;
    return 1500 + 26.0 * (double)problem->depth * resident + tiles * packs * (steps > 1 ? 1.2 : 0.5);
}

/* -- results that are normalised when all blocks have met (cuda/wgmma_behind.cuh) -- */

static int64_t grid_of(const Device *device, const WgmmaProblem *problem, const Config *config) {
    int64_t tiles = tiles_of(problem, config);
    if (config->number[WGMMA_SLICES] > 1) return tiles;
    return min_i64(tiles, (int64_t)device->sm_count * config->number[WGMMA_RESIDENT]);
}

/* Whether moments are those of tiles. Those of a block are fewer where it has several tiles, of the same
 * columns. */
static bool leaves_each(const Device *device, const WgmmaProblem *problem, const Config *config) {
    const int32_t *n = config->number;
    return n[WGMMA_SLICES] > 1 || problem->known_cols > n[WGMMA_COLS] ||
           grid_of(device, problem, config) == tiles_of(problem, config);
}

static int64_t behind_parts(const Device *device, const WgmmaProblem *problem, const Config *config) {
    if (!leaves_each(device, problem, config)) return grid_of(device, problem, config);
    int64_t rows = ceil_div_i64(problem->known_rows, wgmma_rows(config));
    return rows * min_i64(config->number[WGMMA_SLICES], 2 * config->number[WGMMA_REPEAT]);
}

/* Of all units that a tile has columns of. */
static int64_t behind_channels(const WgmmaProblem *problem, const Config *config) {
    return min_i64(problem->known_cols, config->number[WGMMA_COLS] + 2 * (problem->unit - 1));
}

static int64_t behind_shared(const WgmmaProblem *problem, const Config *config) {
    enum { PAIR = 8 /* bytes of two floats */ };
    /* Slices have it in their stages. */
    if (problem->unit == 0 || config->number[WGMMA_SLICES] > 1) return 0;
    int64_t warps = config->number[WGMMA_WARPGROUPS] * 4, cols = config->number[WGMMA_COLS];
    int64_t teams = max_i64(behind_channels(problem, config), warps * 32);
    return PAIR * (max_i64(warps * cols, teams) + cols + warps);
}

/* The meeting; moments of a tile, and those of all parts; tiles that waited in L2. */
static double behind_cycles(const Device *device, const WgmmaProblem *problem, const Config *config) {
    enum { MEETING = 1700, LOAD = 350, LOADS = 8 /* at a time */, COLUMN = 10, RATE = 30 };
    double tiles = (double)ceil_div_i64(tiles_of(problem, config), grid_of(device, problem, config));
    double size = (double)wgmma_rows(config) * config->number[WGMMA_COLS];
    int64_t threads = config->number[WGMMA_WARPGROUPS] * 128, channels = behind_channels(problem, config);
    int64_t loads = ceil_div_i64(channels, threads) *
                    ceil_div_i64(behind_parts(device, problem, config), max_i64(threads / channels, 1));
    return MEETING + LOAD * (1 + (double)ceil_div_i64(loads, LOADS)) +
           tiles * (400 + COLUMN * config->number[WGMMA_COLS]) +
           (tiles - 1) * config->number[WGMMA_RESIDENT] * size * 3 * problem->element / RATE;
}

double wgmma_cost(const Device *device, const WgmmaProblem *problem, const Config *config) {
    int64_t blocks = tiles_of(problem, config) * config->number[WGMMA_SLICES];
    double cycles = blocks > most_blocks(device, config) ? many_cycles(device, problem, config) + 1500
                                                         : once_cycles(device, problem, config) + 1767;
    /* What an operand saves that two blocks share is not modelled: much where a tile waits for L2, but the
     * best tiles do not (times on an H200). */
    if (shares_of(config)) cycles *= SHARING;
    /* What normalises a tile waits for all of it, and the products wait for that. */
    if (problem->normal_shared > 0) cycles += normal_cycles(device, problem, config);
    if (problem->unit > 0) cycles += behind_cycles(device, problem, config);
    double time = cycles / device->clock_mhz,
           moved = fmax(0.75 * (double)problem->bytes / (device->dram_gb_per_s * 1e3),
                        l2_time(device, problem, config));
    return sqrt(time * time + moved * moved);
}

/* -- what is legal -- */

/* As many as there is room for beside `others` bytes and what slices share their sums through. */
static void set_stages(const Device *device, const WgmmaProblem *problem, Config *config, int32_t others) {
    int32_t each = device->shared_per_sm / config->number[WGMMA_RESIDENT] - SHARED_RESERVED - SHARED_SLACK;
    int64_t left = (int64_t)each - others - joined_bytes(config) - problem->normal_shared -
                   behind_shared(problem, config) - kept_bytes(problem, config);
    int64_t stages = left > 0 ? left / stage_bytes(problem, config) : 0;
    config->number[WGMMA_STAGES] = (int32_t)min_i64(stages, MOST_STAGES);
}

bool wgmma_make_room(const Device *device, const WgmmaProblem *problem, Config *config, int32_t bytes) {
    set_stages(device, problem, config, bytes);
    return config->number[WGMMA_STAGES] >= 2;
}

/* Parts of a stage: as many as divide a tile's parts into stages of a good depth. A run ends with a stage, or
 * with an instruction. */
static int32_t blocks_of(const WgmmaProblem *problem, int32_t depth) {
    int64_t run = ceil_div_i64(problem->depth, depth), parts = problem->runs * run;
    int32_t best = 1, line = wgmma_line(problem->element, depth);
    for (int32_t blocks = 2; blocks * line <= MOST_STAGE_LINE; ++blocks)
        if (parts % blocks == 0 && (problem->depth % depth == 0 || blocks == run || run == 1)) best = blocks;
    return best;
}

/* Halves are whole strips, and parts of 32 columns. */
static bool may_share(const Device *device, const WgmmaProblem *problem, const Config *config) {
    int64_t rows = ceil_div_i64(problem->known_rows, wgmma_rows(config)),
            cols = ceil_div_i64(problem->known_cols, config->number[WGMMA_COLS]);
    if (problem->alone || config->number[WGMMA_SLICES] > 1 || device->sm_count < 2) return false;
    if (wgmma_rows(config) < LEAST_SHARED_ROWS || config->number[WGMMA_COLS] < LEAST_SHARED_COLS)
        return false;
    if (config->number[WGMMA_SHARES] == SHARE_ROWS)
        return cols > 1 && wgmma_copied_rows(config) % WGMMA_STRIP == 0;
    return rows > 1 && wgmma_copied_cols(config) % COLUMNS_OF_A_PIECE == 0;
}

/* Of one matrix that nobody writes, where blocks have several tiles of the same columns. */
static bool may_keep(const Device *device, const WgmmaProblem *problem, const Config *config) {
    return problem->constant && problem->batch == 1 && dim_is_exact(problem->cols) && !problem->alone &&
           problem->unit == 0 && problem->normal_shared == 0 &&
           keeping_blocks(device, problem, config) <= most_blocks(device, config) &&
           tiles_of(problem, config) > most_blocks(device, config);
}

static bool is_legal(const Device *device, const WgmmaProblem *problem, const Config *config) {
    if (config->number[WGMMA_STAGES] < (keeps_of(config) ? LEAST_KEPT_STAGES : 2)) return false;
    int32_t slices = config->number[WGMMA_SLICES];
    /* A cluster that must wait for others to end may meet blocks of the next kernel in its place. */
    if (slices > 1 && (tiles_of(problem, config) * slices > most_blocks(device, config) ||
                       steps_of(problem, config) < LEAST_STEPS * slices))
        return false;
    /* Registers are short where results wait beside the sums. */
    int32_t sums = config->number[WGMMA_REPEAT] * config->number[WGMMA_COLS] / 2,
            most = config->number[WGMMA_WARPGROUPS] > 2 ? MOST_WAITING_OF_THREE : MOST_WAITING;
    if (problem->unit > 0 && (config->number[WGMMA_RESIDENT] > 1 || sums > most)) return false;
    if (problem->outer_b && wgmma_copied_cols(config) % WGMMA_STRIP != 0) return false;
    if (problem->alone && config->number[WGMMA_COLS] % 32 != 0) return false;
    if (problem->boxes && !problem->outer_a && wgmma_rows(config) > MOST_BOX) return false;
    if (config->number[WGMMA_SHARES] == SHARE_NOTHING) return true;
    if (keeps_of(config)) return may_keep(device, problem, config);
    return problem->normal_shared == 0 && may_share(device, problem, config);
}

/* The part whose lines are copied fastest, of like ones that which wastes least. Groups of channels end with
 * a part, or a run's last part with zeros: behind them is the next group. */
static int32_t depth_of(const WgmmaProblem *problem) {
    int32_t widest = BYTES_OF_A_LINE / problem->element, step = BYTES_OF_A_STEP / problem->element,
            best = widest;
    double least = 0;
    if (problem->outer_a || problem->outer_b) return best;
    for (int32_t depth = widest; depth >= step; depth -= step) {
        double time = (double)ceil_div_i64(problem->depth, depth) * line_share(problem, depth, 0.55);
        if (depth < widest && time > least) continue;
        best = depth;
        least = time;
    }
    return best;
}

/* Configs of a family of tiles whose blocks work together in this way. */
static int32_t add_family(const Device *device, const WgmmaProblem *problem, const TileFamily *family,
                          const Way *way, double *costs, Config *out, int32_t count) {
    bool alone = way->slices == 1 && (way->shares == SHARE_NOTHING || way->shares == KEEP_COLS);
    int32_t depth = depth_of(problem), blocks = blocks_of(problem, depth);
    for (int32_t cols = family->least; cols <= family->most; cols += family->step) {
        if (!alone && cols % 32 != 0) continue;
        Config config = {.count = WGMMA_SHARES + 1,
                         .number = {family->warpgroups, family->repeat, cols, depth, blocks, 0,
                                    family->resident, way->slices, way->shares}};
        set_stages(device, problem, &config, 0);
        if (is_legal(device, problem, &config))
            count =
                config_insert(&config, wgmma_cost(device, problem, &config), MOST_CONFIGS, costs, out, count);
    }
    return count;
}

int32_t wgmma_configs(const Device *device, const WgmmaProblem *problem, Config out[MOST_CONFIGS]) {
    double costs[MOST_CONFIGS];
    int32_t count = 0;
    for (int32_t i = 0; i < FAMILIES * WAYS; ++i)
        count = add_family(device, problem, &families[i / WAYS], &ways[i % WAYS], costs, out, count);
    return count;
}

/* -- text -- */

void wgmma_declare_tile(KernelWriter *w, const WgmmaProblem *problem, const Config *config, DType dtype) {
    const int32_t *n = config->number;
    static const char *const shares[] = {"SHARE_NOTHING", "SHARE_ROWS", "SHARE_COLUMNS", "KEEP_COLUMNS"};
    kernel_declare(
        w, "typedef WgmmaTile<%s, %d, %d, %d, %d, %d, %d, %d, %d, %lld, %d, %s, %s, %d, %d, %s> Tile;",
        cuda_type(dtype), n[WGMMA_WARPGROUPS], n[WGMMA_REPEAT], n[WGMMA_COLS], n[WGMMA_DEPTH],
        n[WGMMA_BLOCKS], n[WGMMA_STAGES], n[WGMMA_SLICES], n[WGMMA_RESIDENT],
        (long long)run_of(problem, config), last_instructions(problem, config),
        problem->outer_a ? "true" : "false", problem->outer_b ? "true" : "false",
        wgmma_spreads(problem, config), group_of(problem, config), shares[n[WGMMA_SHARES]]);
}

/* Text of what is done with the results, which declares what it needs. */
static const char *behind_text(KernelWriter *w, const Device *device, const WgmmaProblem *problem,
                               const Config *config) {
    if (problem->unit == 0) return "NoBehind{}";
    bool each = leaves_each(device, problem, config);
    const char *text =
        behind_planes(w, behind_channels(problem, config), behind_parts(device, problem, config), each);
    kernel_together(w);
    return text;
}

static int32_t threads_of(const Config *config) {
    int32_t warpgroups = config->number[WGMMA_WARPGROUPS];
    return warpgroups * 128 + (warpgroups >= 2 && config->number[WGMMA_RESIDENT] == 1 ? 128 : 32);
}

Status wgmma_finish(KernelWriter *w, const Device *device, const WgmmaProblem *problem, const Config *config,
                    const char *load, const char *store) {
    Emission *emission = kernel_emission(w);
    const char *behind = behind_text(w, device, problem, config);
    DimTable *dims = emission->graph->dims;
    Dim rows = dim_ceil_div(dims, problem->rows, wgmma_rows(config));
    Dim cols = dim_ceil_div(dims, problem->cols, config->number[WGMMA_COLS]);
    if (config->number[WGMMA_SHARES] == SHARE_COLS) rows = dim_ceil_div(dims, rows, 2);
    if (config->number[WGMMA_SHARES] == SHARE_ROWS) cols = dim_ceil_div(dims, cols, 2);
    Dim tiles = dim_mul(dims, problem->batch, dim_mul(dims, rows, cols));
    kernel_line(w, "const ProductTiles tiles = {%s, %s, %s};", kernel_number(w, rows), kernel_number(w, cols),
                kernel_number(w, problem->batch));
    if (emission->ahead_bytes > 0)
        kernel_line(w, "if (threadIdx.x == 32) prefetch_part(%s, %lld);",
                    kernel_in_any_order(w, emission->ahead), (long long)emission->ahead_bytes);
    kernel_line(w, "wgmma_product<Tile, %s>(tiles, %s, %s, %lld, %s, %s, %s);",
                problem->constant ? "true" : "false", load, store, (long long)steps_of(problem, config),
                problem->moments == NULL ? "NoMoments{}" : problem->moments,
                problem->normal == NULL ? "NoNormal{}" : problem->normal, behind);
    kernel_waits(w);
    kernel_resident(w, config->number[WGMMA_RESIDENT]);
    int32_t cluster = cluster_of(config);
    Dim grid = tiles;
    if (keeps_of(config))
        grid = dim_min(dims, tiles, keeping_blocks(device, problem, config));
    else if (config->number[WGMMA_SLICES] == 1)
        grid = dim_min(dims, tiles, (int64_t)(device->sm_count / cluster) * config->number[WGMMA_RESIDENT]);
    kernel_cluster(w, cluster);
    return kernel_finish(w, dim_mul(dims, grid, cluster), 1, 1, threads_of(config),
                         config->number[WGMMA_STAGES] * stage_bytes(problem, config) + joined_bytes(config) +
                             (int32_t)kept_bytes(problem, config) + SHARED_SLACK);
}
