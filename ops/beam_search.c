/* BeamSearch of ONNX Runtime over a GPT-2 decoder, which ctx->run_body runs: from the tokens so far and the
 * states of its layers it gives the logits of the next token.
 *
 * A row is one beam of one sequence. Each step keeps, of every sequence, the best continuations of its beams;
 * what ends in eos leaves the beams and is kept apart, by its score per length. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops/control.h"
#include "ops/kit.h"

enum {
    IN_IDS,
    IN_MAX_LENGTH,
    IN_MIN_LENGTH,
    IN_BEAMS,
    IN_RETURNED,
    IN_LENGTH_PENALTY,
    IN_REPETITION_PENALTY,
    IN_VOCAB_MASK,
    IN_PREFIX_VOCAB_MASK,
    IN_ATTENTION_MASK,
    IN_DECODER_IDS,
    IN_LOGITS_PROCESSOR
};
enum { OUT_SEQUENCES, OUT_SEQUENCES_SCORES, OUT_SCORES };
/* What the decoder gets before the states of its layers. */
enum { PARAM_IDS, PARAM_POSITIONS, PARAM_MASK, PARAM_STATES };
enum { MAX_BEAMS = 128, MAX_EXTENT = 65536 };

static const float NEVER = -FLT_MAX;        /* score of a token that must not follow */
static const float UNBORN = -1000000000.0f; /* of beams that are copies of the first, before the first step */

/* -- attributes and types -- */

static Status parse_int32(const ParseCtx *ctx, const char *name, int64_t fallback, int64_t low, int64_t high,
                          int32_t *out) {
    int64_t value;
    TRY(attr_int_in(ctx->list, name, fallback, low, high, &value, ctx->diag));
    *out = (int32_t)value;
    return STATUS_OK;
}

static Status refuse_unusual(const ParseCtx *ctx) {
    int64_t model;
    TRY(attr_int(ctx->list, "model_type", 0, &model, ctx->diag));
    if (model != 0)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "model_type %lld is not supported, only 0 (GPT-2) is",
                    (long long)model);
    if (ctx->inputs_present >> IN_DECODER_IDS != 0)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED,
                    "its inputs decoder_input_ids and logits_processor are not supported");
    if (ctx->output_count > OUT_SCORES)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "its output 'scores' is not supported");
    if (attr_find(ctx->list, "init_decoder") != NULL)
        return FAIL(ctx->diag, STATUS_UNSUPPORTED, "its body 'init_decoder' is not supported");
    return STATUS_OK;
}

Status parse_BeamSearch(const ParseCtx *ctx, const void **attrs) {
    BeamAttrs *out = ARENA_NEW(ctx->arena, BeamAttrs);
    int64_t early;
    TRY_ALLOC(ctx->diag, out);
    TRY(refuse_unusual(ctx));
    TRY(control_body(ctx, "decoder", &out->decoder));
    TRY(parse_int32(ctx, "num_layers", 0, 1, MAX_EXTENT, &out->layers));
    TRY(parse_int32(ctx, "num_heads", 0, 1, MAX_EXTENT, &out->heads));
    TRY(parse_int32(ctx, "head_size", 0, 1, MAX_EXTENT, &out->head_size));
    TRY(parse_int32(ctx, "eos_token_id", -1, 0, INT32_MAX, &out->eos));
    TRY(parse_int32(ctx, "pad_token_id", -1, 0, INT32_MAX, &out->pad));
    TRY(parse_int32(ctx, "no_repeat_ngram_size", 0, 0, INT32_MAX, &out->ngram));
    TRY(attr_int(ctx->list, "vocab_size", 0, &out->vocab, ctx->diag));
    TRY(attr_int(ctx->list, "early_stopping", 0, &early, ctx->diag));
    out->early_stopping = early == 1;
    *attrs = out;
    return STATUS_OK;
}

static Status expect_ints(InferCtx *ctx, int32_t input, int32_t rank) {
    const TypeInfo *type = infer_input(ctx, input);
    if (type == NULL) return STATUS_OK;
    TRY(kit_expect_rank(ctx, input, rank, rank));
    if (type->dtype != DTYPE_I32)
        return FAIL(ctx->diag, STATUS_BAD_MODEL, "input %d is %s, expected i32", input,
                    dtype_name(type->dtype));
    return STATUS_OK;
}

Status infer_BeamSearch(InferCtx *ctx) {
    TRY(expect_ints(ctx, IN_IDS, 2));
    for (int32_t i = IN_MAX_LENGTH; i <= IN_RETURNED; ++i) TRY(control_scalar(ctx, i, DTYPE_I32));
    for (int32_t i = IN_LENGTH_PENALTY; i <= IN_REPETITION_PENALTY; ++i)
        TRY(control_scalar(ctx, i, DTYPE_F32));
    TRY(expect_ints(ctx, IN_VOCAB_MASK, 1));
    TRY(expect_ints(ctx, IN_PREFIX_VOCAB_MASK, 2));
    return expect_ints(ctx, IN_ATTENTION_MASK, 2);
}

/* -- one search -- */

typedef struct Candidate {
    float score;
    int32_t beam, token;
} Candidate;

/* A sequence that has ended. */
typedef struct Ended {
    float score;
    int64_t length;
    int32_t *tokens;
} Ended;

/* Ascending tokens, asked for in ascending order. */
typedef struct TokenSet {
    int32_t *items;
    int64_t count, at;
} TokenSet;

typedef struct Search {
    const BeamAttrs *attrs;
    int64_t batch, beams, rows, returned;
    int64_t given, most, least; /* lengths: of the input, of the result, of a result with eos */
    float length_penalty, repetition_penalty;
    int64_t vocab;
    int64_t length, fresh; /* tokens of a row so far; those of them that the decoder has not seen */
    /* Of rows: */
    int32_t *ids, *positions, *mask; /* what the decoder gets */
    int32_t *tokens, *next_tokens;   /* [rows, most] */
    int32_t *place;                  /* of the next token */
    int32_t *from;                   /* the row that the next step's row continues */
    float *scores, *next_scores;
    float *states; /* of all layers, in the order of `from`; NULL where rows stay in place */
    /* Of sequences: */
    Ended *ended; /* [batch, beams], best first */
    int32_t *ended_count;
    bool *done;
    Candidate *candidates; /* of the sequence at hand, best first */
    TokenSet seen, blocked;
    Tensor *params, *results;
} Search;

static int64_t scalar_int(const KernelCtx *ctx, int32_t input, int64_t fallback) {
    const Tensor *tensor = kernel_input(ctx, input);
    return tensor == NULL ? fallback : kit_index(tensor, 0);
}

static float scalar_float(const KernelCtx *ctx, int32_t input, float fallback) {
    const Tensor *tensor = kernel_input(ctx, input);
    return tensor == NULL ? fallback : *(const float *)tensor->data;
}

static void read_search(const KernelCtx *ctx, Search *s) {
    s->attrs = ctx->attrs;
    s->batch = ctx->inputs[IN_IDS]->dim[0];
    s->given = s->length = s->fresh = ctx->inputs[IN_IDS]->dim[1];
    s->most = scalar_int(ctx, IN_MAX_LENGTH, BEAM_MAX_LENGTH);
    s->least = scalar_int(ctx, IN_MIN_LENGTH, 0);
    s->beams = scalar_int(ctx, IN_BEAMS, 1);
    s->returned = scalar_int(ctx, IN_RETURNED, 1);
    s->length_penalty = scalar_float(ctx, IN_LENGTH_PENALTY, 1);
    s->repetition_penalty = scalar_float(ctx, IN_REPETITION_PENALTY, 1);
}

static Status check_lengths(KernelCtx *ctx, const Search *s) {
    if (s->given < 1) return FAIL(ctx->diag, STATUS_BAD_DATA, "input_ids has no tokens");
    if (s->most <= s->given || s->most > BEAM_MAX_LENGTH)
        return FAIL(ctx->diag, STATUS_BAD_DATA,
                    "max_length %lld is not above the %lld tokens of input_ids and at most %d",
                    (long long)s->most, (long long)s->given, BEAM_MAX_LENGTH);
    if (s->least >= s->most)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "min_length %lld is not below max_length %lld",
                    (long long)s->least, (long long)s->most);
    return STATUS_OK;
}

static Status check_search(KernelCtx *ctx, const Search *s) {
    const Tensor *mask = kernel_input(ctx, IN_ATTENTION_MASK);
    TRY(check_lengths(ctx, s));
    if (s->beams < 1 || s->beams > MAX_BEAMS)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "num_beams %lld is outside 1 to %d", (long long)s->beams,
                    MAX_BEAMS);
    if (s->returned < 1 || s->returned > s->beams)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "num_return_sequences %lld is outside 1 to num_beams %lld",
                    (long long)s->returned, (long long)s->beams);
    if (!(s->repetition_penalty > 0) || !isfinite(s->repetition_penalty) || !isfinite(s->length_penalty))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "a penalty is no number, or not above 0");
    if (mask != NULL && (mask->dim[0] != s->batch || mask->dim[1] != s->given))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "attention_mask has another shape than input_ids");
    return STATUS_OK;
}

/* -- memory: one piece, of which arrays are taken -- */

typedef struct Layout {
    char *memory; /* NULL: only counts */
    size_t size;  /* SIZE_MAX: too much */
} Layout;

static void *take(Layout *l, int64_t count, size_t element) {
    size_t bytes, at = l->size;
    if (!checked_mul_size((size_t)count, element, &bytes) || !checked_add_size(bytes, 63, &bytes) ||
        !checked_add_size(at, bytes / 64 * 64, &l->size)) {
        l->size = SIZE_MAX;
        return NULL;
    }
    return l->memory == NULL ? NULL : l->memory + at;
}

/* Elements of one layer's state for rows of `length`. False: overflow. */
static bool state_count(const Search *s, int64_t length, int64_t *out) {
    int64_t of_row = (int64_t)s->attrs->heads * s->attrs->head_size;
    return checked_mul_i64(of_row, 2 * length, out) && checked_mul_i64(*out, s->rows, out);
}

static void take_ended(Search *s, Layout *l) {
    int32_t *tokens = take(l, s->rows * s->most, sizeof *tokens);
    s->ended = take(l, s->rows, sizeof *s->ended);
    for (int64_t i = 0; s->ended != NULL && i < s->rows; ++i) s->ended[i].tokens = tokens + i * s->most;
    s->ended_count = take(l, s->batch, sizeof *s->ended_count);
    s->done = take(l, s->batch, sizeof *s->done);
}

static size_t lay_out(Search *s, char *memory) {
    Layout l = {.memory = memory};
    int64_t states = 0, params = PARAM_STATES + (int64_t)s->attrs->layers;
    if (!checked_mul_i64(s->batch, s->beams, &s->rows) || s->rows > INT32_MAX ||
        !state_count(s, s->most, &states) || !checked_mul_i64(states, s->attrs->layers, &states))
        return SIZE_MAX;
    s->params = take(&l, params, sizeof *s->params);
    s->results = take(&l, params, sizeof *s->results);
    s->ids = take(&l, s->rows * s->most, sizeof *s->ids);
    s->positions = take(&l, s->rows * s->most, sizeof *s->positions);
    s->mask = take(&l, s->rows * s->most, sizeof *s->mask);
    s->tokens = take(&l, s->rows * s->most, sizeof *s->tokens);
    s->next_tokens = take(&l, s->rows * s->most, sizeof *s->next_tokens);
    s->place = take(&l, s->rows, sizeof *s->place);
    s->from = take(&l, s->rows, sizeof *s->from);
    s->scores = take(&l, s->rows, sizeof *s->scores);
    s->next_scores = take(&l, s->rows, sizeof *s->next_scores);
    s->candidates = take(&l, 2 * s->beams, sizeof *s->candidates);
    s->seen.items = take(&l, s->most, sizeof *s->seen.items);
    s->blocked.items = take(&l, s->most, sizeof *s->blocked.items);
    take_ended(s, &l);
    s->states = s->beams == 1 ? NULL : take(&l, states, sizeof *s->states);
    return l.size;
}

size_t scratch_BeamSearch(const KernelCtx *ctx) {
    Search s = {0};
    KernelCtx silent = *ctx;
    Diag diag = {0}; /* the kernel says what is wrong */
    silent.diag = &diag;
    read_search(ctx, &s);
    return check_search(&silent, &s) == STATUS_OK ? lay_out(&s, NULL) : 0;
}

/* -- running the decoder -- */

/* Padding takes no place, and is masked where no mask is given. */
static void begin_row(const KernelCtx *ctx, Search *s, int64_t row) {
    const Tensor *given = kernel_input(ctx, IN_ATTENTION_MASK);
    int64_t at = row / s->beams * s->given;
    const int32_t *ids = (const int32_t *)ctx->inputs[IN_IDS]->data + at;
    int32_t *positions = s->positions + row * s->given, *mask = s->mask + row * s->given, place = 0;
    for (int64_t i = 0; i < s->given; ++i) {
        bool padding = ids[i] == s->attrs->pad;
        mask[i] = given != NULL ? ((const int32_t *)given->data)[at + i] : (int32_t)!padding;
        positions[i] = padding ? 0 : place++;
    }
    memcpy(s->ids + row * s->given, ids, (size_t)s->given * sizeof *ids);
    memcpy(s->tokens + row * s->most, ids, (size_t)s->given * sizeof *ids);
    s->place[row] = place;
    s->scores[row] = row % s->beams == 0 ? 0 : UNBORN;
}

static void begin_search(const KernelCtx *ctx, Search *s) {
    const BeamAttrs *a = s->attrs;
    for (int64_t row = 0; row < s->rows; ++row) begin_row(ctx, s, row);
    memset(s->ended_count, 0, (size_t)s->batch * sizeof *s->ended_count);
    memset(s->done, 0, (size_t)s->batch * sizeof *s->done);
    for (int32_t i = 0; i < a->layers; ++i)
        s->params[PARAM_STATES + i] = (Tensor){
            .dtype = DTYPE_F32, .rank = 5, .dim = {2, s->rows, a->heads, 0, a->head_size}, .data = s->params};
}

static bool is_tensor(const Tensor *tensor, int32_t rank, const int64_t *dims) {
    bool same = tensor->dtype == DTYPE_F32 && tensor->rank == rank;
    for (int32_t i = 0; same && i < rank; ++i) same = tensor->dim[i] == dims[i];
    return same;
}

static Status check_result(KernelCtx *ctx, const Search *s, int32_t index, int32_t rank,
                           const int64_t *dims) {
    char found[128];
    if (is_tensor(&s->results[index], rank, dims)) return STATUS_OK;
    tensor_format(&s->results[index], found, sizeof found);
    return FAIL(ctx->diag, STATUS_BAD_DATA, "result %d of the decoder is %s, which does not fit %lld rows",
                index, found, (long long)s->rows);
}

static Status check_vocab(KernelCtx *ctx, const Search *s) {
    const Tensor *mask = kernel_input(ctx, IN_VOCAB_MASK), *prefix = kernel_input(ctx, IN_PREFIX_VOCAB_MASK);
    if (s->vocab < 2 || s->vocab > INT32_MAX || (s->attrs->vocab > 0 && s->attrs->vocab != s->vocab))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "the decoder gives logits of %lld tokens, vocab_size is %lld",
                    (long long)s->vocab, (long long)s->attrs->vocab);
    if ((mask != NULL && mask->dim[0] != s->vocab) ||
        (prefix != NULL && (prefix->dim[0] != s->batch || prefix->dim[1] != s->vocab)))
        return FAIL(ctx->diag, STATUS_BAD_DATA, "a vocabulary mask does not fit the decoder's %lld tokens",
                    (long long)s->vocab);
    return STATUS_OK;
}

static Status run_decoder(KernelCtx *ctx, Search *s) {
    const BeamAttrs *a = s->attrs;
    const int64_t state[] = {2, s->rows, a->heads, s->length, a->head_size};
    int32_t *memory[] = {s->ids, s->positions, s->mask};
    for (int32_t i = 0; i < PARAM_STATES; ++i)
        s->params[i] = (Tensor){.dtype = DTYPE_I32,
                                .rank = 2,
                                .dim = {s->rows, i == PARAM_MASK ? s->length : s->fresh},
                                .data = memory[i]};
    TRY(ctx->run_body(ctx->executor, a->decoder, PARAM_STATES + a->layers, s->params, 1 + a->layers,
                      s->results, ctx->diag));
    if (s->length == s->given && s->results[0].rank == 3) {
        s->vocab = s->results[0].dim[2];
        TRY(check_vocab(ctx, s));
    }
    TRY(check_result(ctx, s, 0, 3, (const int64_t[]){s->rows, s->fresh, s->vocab}));
    for (int32_t i = 0; i < a->layers; ++i) TRY(check_result(ctx, s, 1 + i, 5, state));
    return STATUS_OK;
}

/* -- scores of the next token -- */

static int compare_tokens(const void *a, const void *b) {
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static void sort_set(TokenSet *set) {
    set->at = 0;
    if (set->count > 1) qsort(set->items, (size_t)set->count, sizeof *set->items, compare_tokens);
}

static bool set_has(TokenSet *set, int32_t token) {
    while (set->at < set->count && set->items[set->at] < token) set->at++;
    return set->at < set->count && set->items[set->at] == token;
}

/* Tokens of the row, and those that would end an n-gram which it already has. */
static void find_sets(Search *s, int64_t row) {
    const int32_t *tokens = s->tokens + row * s->most;
    int64_t prefix = (int64_t)s->attrs->ngram - 1;
    s->seen.count = s->blocked.count = 0;
    for (int64_t i = 0; s->repetition_penalty != 1.0f && i < s->length; ++i)
        s->seen.items[s->seen.count++] = tokens[i];
    for (int64_t i = 0; prefix >= 0 && i + prefix < s->length; ++i)
        if (memcmp(tokens + i, tokens + s->length - prefix, (size_t)prefix * sizeof *tokens) == 0)
            s->blocked.items[s->blocked.count++] = tokens[i + prefix];
    sort_set(&s->seen);
    sort_set(&s->blocked);
}

/* What is subtracted from each logit. */
static double log_sum(const float *logits, int64_t count, float *most) {
    double sum = 0;
    *most = -INFINITY;
    for (int64_t i = 0; i < count; ++i)
        if (logits[i] > *most) *most = logits[i];
    for (int64_t i = 0; i < count; ++i) sum += (double)expf(logits[i] - *most);
    return log(sum);
}

/* Into the candidates, where it is one of the best; equal scores stay in their order. */
static int64_t add_candidate(Search *s, int64_t count, Candidate candidate) {
    int64_t at = count;
    if (count == 2 * s->beams) {
        if (!(candidate.score > s->candidates[count - 1].score)) return count;
        at--;
    } else {
        count++;
    }
    for (; at > 0 && candidate.score > s->candidates[at - 1].score; --at)
        s->candidates[at] = s->candidates[at - 1];
    s->candidates[at] = candidate;
    return count;
}

static bool is_masked(const KernelCtx *ctx, const Search *s, int64_t sequence, int32_t token) {
    const Tensor *mask = kernel_input(ctx, IN_VOCAB_MASK), *prefix = kernel_input(ctx, IN_PREFIX_VOCAB_MASK);
    if (token == s->attrs->eos && s->length < s->least) return true;
    if (mask != NULL && ((const int32_t *)mask->data)[token] == 0) return true;
    return prefix != NULL && s->length == s->given &&
           ((const int32_t *)prefix->data)[sequence * s->vocab + token] == 0;
}

/* Adds one beam's continuations; returns how many candidates there are. */
static int64_t add_beam(const KernelCtx *ctx, Search *s, int64_t sequence, int32_t beam, int64_t count) {
    int64_t row = sequence * s->beams + beam;
    const float *logits = (const float *)s->results[0].data + (row * s->fresh + s->fresh - 1) * s->vocab;
    float most, sum = (float)log_sum(logits, s->vocab, &most);
    find_sets(s, row);
    for (int32_t token = 0; token < s->vocab; ++token) {
        float score = logits[token] - most - sum;
        if (set_has(&s->seen, token))
            score = score < 0 ? score * s->repetition_penalty : score / s->repetition_penalty;
        if (set_has(&s->blocked, token) || is_masked(ctx, s, sequence, token)) score = NEVER;
        score += s->scores[row];
        if (!isnan(score)) count = add_candidate(s, count, (Candidate){score, beam, token});
    }
    return count;
}

/* -- beams -- */

/* Keeps a sequence that has ended, unless `beams` others are better. */
static void keep_ended(Search *s, int64_t sequence, const int32_t *tokens, int64_t length, float sum) {
    Ended *ended = s->ended + sequence * s->beams;
    int64_t at = s->ended_count[sequence];
    float score = sum / powf((float)length, s->length_penalty);
    if (at == s->beams) {
        if (!(score > ended[--at].score)) return;
    } else {
        s->ended_count[sequence]++;
    }
    int32_t *memory = ended[at].tokens;
    for (; at > 0 && score > ended[at - 1].score; --at) ended[at] = ended[at - 1];
    memcpy(memory, tokens, (size_t)length * sizeof *tokens);
    ended[at] = (Ended){score, length, memory};
}

static bool is_done(const Search *s, int64_t sequence) {
    if (s->ended_count[sequence] < s->beams) return false;
    float best = s->candidates[0].score / powf((float)s->length, s->length_penalty);
    return s->attrs->early_stopping || s->ended[(sequence + 1) * s->beams - 1].score >= best;
}

/* Row `to` continues row `from` with a token. */
static void continue_row(Search *s, int64_t to, int64_t from, int32_t token, float score) {
    int32_t *tokens = s->next_tokens + to * s->most;
    memcpy(tokens, s->tokens + from * s->most, (size_t)s->length * sizeof *tokens);
    tokens[s->length] = token;
    s->ids[to] = token;
    s->from[to] = (int32_t)from;
    s->next_scores[to] = score;
}

static Status step_sequence(KernelCtx *ctx, Search *s, int64_t sequence) {
    int64_t first = sequence * s->beams, count = 0, next = 0;
    for (int32_t beam = 0; beam < s->beams; ++beam) count = add_beam(ctx, s, sequence, beam, count);
    if (count < 2 * s->beams)
        return FAIL(ctx->diag, STATUS_BAD_DATA, "the decoder's logits for sequence %lld are not numbers",
                    (long long)sequence);
    for (int64_t i = 0; i < count && next < s->beams; ++i) {
        const Candidate *c = &s->candidates[i];
        if (c->token != s->attrs->eos)
            continue_row(s, first + next++, first + c->beam, c->token, c->score);
        else if (i < s->beams)
            keep_ended(s, sequence, s->tokens + (first + c->beam) * s->most, s->length, c->score);
    }
    s->done[sequence] = is_done(s, sequence);
    return STATUS_OK;
}

/* The next token of every row; *done: no sequence can become better. */
static Status step_beams(KernelCtx *ctx, Search *s, bool *done) {
    *done = true;
    for (int64_t b = 0; b < s->batch; ++b) {
        if (!s->done[b]) TRY(step_sequence(ctx, s, b));
        for (int64_t row = b * s->beams; s->done[b] && row < (b + 1) * s->beams; ++row)
            continue_row(s, row, row, s->attrs->pad, 0);
        *done = *done && s->done[b];
    }
    int32_t *tokens = s->tokens;
    float *scores = s->scores;
    s->tokens = s->next_tokens;
    s->scores = s->next_scores;
    s->next_tokens = tokens;
    s->next_scores = scores;
    return STATUS_OK;
}

/* Layer i's state, its rows where they go on. */
static Tensor move_state(const Search *s, int32_t i) {
    Tensor state = s->results[1 + i];
    int64_t row_count = tensor_span(&state, 2, 5), count = 2 * s->rows * row_count;
    if (s->states == NULL) return state;
    float *to = s->states + i * count;
    for (int64_t r = 0; r < 2 * s->rows; ++r) {
        int64_t from = r / s->rows * s->rows + s->from[r % s->rows];
        memcpy(to + r * row_count, (const float *)state.data + from * row_count,
               (size_t)row_count * sizeof *to);
    }
    state.data = to;
    return state;
}

/* What the decoder gets next: one token of each row. Rows of one sequence have the same mask. */
static void feed_back(Search *s) {
    for (int32_t i = 0; i < s->attrs->layers; ++i) s->params[PARAM_STATES + i] = move_state(s, i);
    for (int64_t row = s->rows - 1; row >= 0; --row) {
        int32_t *mask = s->mask + row * (s->length + 1);
        memmove(mask, s->mask + row * s->length, (size_t)s->length * sizeof *mask);
        mask[s->length] = 1;
        s->positions[row] = s->place[row]++;
    }
    s->fresh = 1;
}

/* -- results -- */

static Status finish(KernelCtx *ctx, Search *s) {
    const int64_t dims[] = {s->batch, s->returned, s->most};
    Tensor *sequences = kernel_result(ctx, OUT_SEQUENCES), *scores = kernel_result(ctx, OUT_SEQUENCES_SCORES);
    if (sequences != NULL) TRY(kit_late_output(ctx, OUT_SEQUENCES, 3, dims));
    if (scores != NULL) TRY(kit_late_output(ctx, OUT_SEQUENCES_SCORES, 2, dims));
    for (int64_t b = 0; b < s->batch; ++b) {
        for (int64_t row = b * s->beams; !s->done[b] && row < (b + 1) * s->beams; ++row)
            keep_ended(s, b, s->tokens + row * s->most, s->length, s->scores[row]);
        for (int64_t i = 0; i < s->returned; ++i) {
            const Ended *ended = &s->ended[b * s->beams + i];
            if (scores != NULL) ((float *)scores->data)[b * s->returned + i] = ended->score;
            if (sequences == NULL) continue;
            int32_t *out = (int32_t *)sequences->data + (b * s->returned + i) * s->most;
            memcpy(out, ended->tokens, (size_t)ended->length * sizeof *out);
            for (int64_t t = ended->length; t < s->most; ++t) out[t] = s->attrs->pad;
        }
    }
    return STATUS_OK;
}

Status kernel_BeamSearch(KernelCtx *ctx) {
    Search s = {0};
    bool done = false;
    read_search(ctx, &s);
    TRY(check_search(ctx, &s));
    lay_out(&s, ctx->host->scratch);
    begin_search(ctx, &s);
    done = s.batch == 0;
    while (!done && s.length < s.most) {
        TRY(run_decoder(ctx, &s));
        TRY(step_beams(ctx, &s, &done));
        if (!done && s.length + 1 < s.most) feed_back(&s);
        s.length++;
    }
    return finish(ctx, &s);
}
