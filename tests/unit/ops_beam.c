/* BeamSearch over a decoder written in C: a table of what follows which token, so that the best sequences can
 * be told by hand. The decoder checks what it is given: its state must hold the very tokens of each row. */
#include "op_values.h"

enum { VOCAB = 4, EOS = 0, PAD = 9, ROWS = 16, LENGTH = 8 };

/* Probabilities of the token in the column after that of the row (padding: any). */
typedef const float Follow[VOCAB][VOCAB];
static Follow plain = {
    {.25f, .25f, .25f, .25f}, {.01f, .09f, .5f, .4f}, {.01f, .4f, .3f, .29f}, {.01f, .05f, .04f, .9f}};
static Follow ending = {
    {.25f, .25f, .25f, .25f}, {.01f, .09f, .5f, .4f}, {.01f, .4f, .3f, .29f}, {.9f, .05f, .03f, .02f}};

typedef struct Decoder {
    const float (*follow)[VOCAB];
    int64_t runs, vocab;
    float logits[ROWS * LENGTH * VOCAB], state[2 * ROWS * LENGTH];
    int32_t mask[ROWS * LENGTH], positions[ROWS * LENGTH]; /* of the last run */
} Decoder;

static Decoder decoder;

static void note_inputs(const Tensor *in) {
    memcpy(decoder.mask, in[2].data, tensor_bytes(&in[2]));
    memcpy(decoder.positions, in[1].data, tensor_bytes(&in[1]));
}

/* The state's second half is ten times the first: the tokens. */
static void run_state(const Tensor *ids, const Tensor *past, Tensor *out) {
    int64_t rows = ids->dim[0], fresh = ids->dim[1], old = past->dim[3], length = old + fresh;
    for (int64_t r = 0; r < 2 * rows; ++r) {
        for (int64_t i = 0; i < old; ++i)
            decoder.state[r * length + i] = ((const float *)past->data)[r * old + i];
        for (int64_t i = 0; i < fresh; ++i)
            decoder.state[r * length + old + i] =
                (float)((const int32_t *)ids->data)[r % rows * fresh + i] * (r < rows ? 1.0f : 10.0f);
    }
    for (int64_t i = 0; i < rows * length; ++i)
        CHECK_NEAR(decoder.state[rows * length + i], 10 * decoder.state[i], 0);
    *out = (Tensor){.dtype = DTYPE_F32, .rank = 5, .dim = {2, rows, 1, length, 1}, .data = decoder.state};
}

static Status run_decoder(void *executor, int32_t body, int32_t input_count, const Tensor *in,
                          int32_t output_count, Tensor *out, Diag *diag) {
    int64_t rows = in[0].dim[0], fresh = in[0].dim[1];
    (void)executor, (void)diag;
    CHECK_INT(body, 7);
    CHECK_INT(input_count, 4);
    CHECK_INT(output_count, 2);
    CHECK_INT(in[2].dim[1], in[3].dim[3] + fresh);
    CHECK_INT(fresh, decoder.runs == 0 ? in[2].dim[1] : 1);
    Tensor past = in[3];
    static float copy[2 * ROWS * LENGTH]; /* in[3] may be what the last run gave */
    if (tensor_bytes(&past) > 0) memcpy(copy, past.data, tensor_bytes(&past));
    past.data = copy;
    note_inputs(in);
    run_state(&in[0], &past, &out[1]);
    for (int64_t i = 0; i < rows * fresh; ++i) {
        int32_t token = ((const int32_t *)in[0].data)[i];
        for (int64_t v = 0; v < decoder.vocab; ++v)
            decoder.logits[i * decoder.vocab + v] = logf(decoder.follow[token < VOCAB ? token : 0][v]) + 3;
    }
    out[0] =
        (Tensor){.dtype = DTYPE_F32, .rank = 3, .dim = {rows, fresh, decoder.vocab}, .data = decoder.logits};
    decoder.runs++;
    return STATUS_OK;
}

/* -- one search -- */

typedef struct Case {
    const float (*follow)[VOCAB];
    int64_t batch, given, vocab;
    double ids[4], max_length, min_length, beams, returned, length_penalty, repetition_penalty;
    const double *vocab_mask, *prefix_mask;
    int64_t ngram, early_stopping;
} Case;

static const Case usual = {.follow = plain,
                           .batch = 1,
                           .given = 1,
                           .vocab = VOCAB,
                           .ids = {1},
                           .max_length = 3,
                           .beams = 2,
                           .returned = 2,
                           .length_penalty = 1,
                           .repetition_penalty = 1};

static void set_inputs(OpRun *run, const Case *c) {
    const double *masks[] = {c->vocab_mask, c->prefix_mask};
    const double ints[] = {c->max_length, c->min_length, c->beams, c->returned};
    Tensor *ids = op_input(run, DTYPE_I32, 2, (const int64_t[]){c->batch, c->given});
    for (int64_t i = 0; i < c->batch * c->given; ++i) dtype_store_f64(DTYPE_I32, ids->data, i, c->ids[i]);
    for (int i = 0; i < 4; ++i) op_values(run, DTYPE_I32, 1, &ints[i]);
    op_values(run, DTYPE_F32, 1, &c->length_penalty);
    op_values(run, DTYPE_F32, 1, &c->repetition_penalty);
    for (int i = 0; i < 2; ++i) {
        if (masks[i] == NULL) {
            op_omit(run);
            continue;
        }
        Tensor *mask =
            op_input(run, DTYPE_I32, 1 + i, i == 0 ? (const int64_t[]){VOCAB} : (const int64_t[]){1, VOCAB});
        for (int64_t v = 0; v < VOCAB; ++v) dtype_store_f64(DTYPE_I32, mask->data, v, masks[i][v]);
    }
}

static void set_attributes(OpRun *run, const Case *c) {
    const struct {
        const char *name;
        int64_t value;
    } ints[] = {{"num_layers", 1},
                {"num_heads", 1},
                {"head_size", 1},
                {"eos_token_id", EOS},
                {"pad_token_id", PAD},
                {"no_repeat_ngram_size", c->ngram},
                {"early_stopping", c->early_stopping}};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; ++i)
        CHECK(attr_set_int(&run->attrs, &run->arena, ints[i].name, ints[i].value));
    CHECK(attr_set_block(&run->attrs, &run->arena, "decoder", 7));
}

static Status parse(OpRun *run, int32_t outputs, const void **attrs) {
    ParseCtx ctx = {&run->attrs, run->input_count, outputs, 0, &run->arena, &run->diag};
    for (int32_t i = 0; i < run->input_count; ++i)
        if (run->present[i]) ctx.inputs_present |= (uint64_t)1 << i;
    return op_parse(OP_BeamSearch, &ctx, attrs);
}

static Status search(OpRun *run, const Case *c) {
    const void *attrs;
    const Tensor *inputs[OP_RUN_TENSORS] = {0};
    Tensor *results[] = {&run->output[0], &run->output[1]};
    decoder = (Decoder){.follow = c->follow, .vocab = c->vocab};
    set_inputs(run, c);
    set_attributes(run, c);
    TRY(parse(run, 2, &attrs));
    for (int32_t i = 0; i < run->input_count; ++i) inputs[i] = run->present[i] ? &run->input[i] : NULL;
    run->output[0] = (Tensor){.dtype = DTYPE_I32, .rank = 3, .dim = {-1, -1, -1}};
    run->output[1] = (Tensor){.dtype = DTYPE_F32, .rank = 2, .dim = {-1, -1}};
    Host host = {0};
    KernelCtx ctx = {.attrs = attrs,
                     .input_count = run->input_count,
                     .output_count = 2,
                     .inputs = inputs,
                     .outputs = results,
                     .host = &host,
                     .allocate = op_run_allocate,
                     .run_body = run_decoder,
                     .executor = run,
                     .diag = &run->diag};
    host.scratch_size = op_def(OP_BeamSearch)->scratch(&ctx);
    host.scratch = mem_alloc(NULL, host.scratch_size); /* no more than asked for: a sanitizer sees more */
    if (host.scratch != NULL) memset(host.scratch, 0x5a, host.scratch_size);
    Status status = op_def(OP_BeamSearch)->kernel(&ctx);
    mem_free(NULL, host.scratch);
    return status;
}

/* The sequences, and the logarithm of what the products of their probabilities are. */
static void check_search(const Case *c, const int32_t *tokens, const double *products,
                         const double *lengths) {
    OpRun run = {0};
    CHECK_OK(search(&run, c), &run.diag);
    int64_t count = c->batch * (int64_t)c->returned;
    CHECK_INT(run.output[0].dim[0], c->batch);
    CHECK_INT(run.output[0].dim[1], (int64_t)c->returned);
    CHECK_INT(run.output[0].dim[2], (int64_t)c->max_length);
    for (int64_t i = 0; i < count * (int64_t)c->max_length; ++i)
        CHECK_INT(((const int32_t *)run.output[0].data)[i], tokens[i]);
    for (int64_t i = 0; i < count; ++i)
        CHECK_NEAR(op_run_at(&run.output[1], i), log(products[i]) / pow(lengths[i], c->length_penalty), 1e-5);
    op_run_end(&run);
}
#define TOKENS(...) ((const int32_t[]){__VA_ARGS__})
#define REALS(...)  ((const double[]){__VA_ARGS__})

/* The second-best first token leads to the best sequence: rows change places. */
static void test_beams(void) {
    Case c = usual;
    check_search(&c, TOKENS(1, 3, 3, 1, 2, 1), REALS(.36, .2), REALS(3, 3));
    c.max_length = 4;
    check_search(&c, TOKENS(1, 3, 3, 3, 1, 2, 1, 2), REALS(.324, .1), REALS(4, 4));
    c.length_penalty = 0;
    check_search(&c, TOKENS(1, 3, 3, 3, 1, 2, 1, 2), REALS(.324, .1), REALS(4, 4));
    c.beams = c.returned = 1; /* the greedy one */
    check_search(&c, TOKENS(1, 2, 1, 2), REALS(.1), REALS(4));
    c = usual;
    c.batch = 2, c.returned = 1, c.ids[1] = 2;
    check_search(&c, TOKENS(1, 3, 3, 2, 1, 2), REALS(.36, .2), REALS(3, 3));
}

static void test_end(void) {
    Case c = usual;
    c.follow = ending;
    check_search(&c, TOKENS(1, 3, PAD, 1, 2, 1), REALS(.36, .2), REALS(2, 3));
    c.min_length = 2; /* the one that ends has two tokens already */
    check_search(&c, TOKENS(1, 3, PAD, 1, 2, 1), REALS(.36, .2), REALS(2, 3));
    c.max_length = 4, c.min_length = 3; /* may not end before three: 1 2 3, of .145, does */
    check_search(&c, TOKENS(1, 2, 1, 2, 1, 2, 1, 3), REALS(.1, .08), REALS(4, 4));
    c = usual;
    c.follow = ending, c.ids[0] = 3, c.beams = c.returned = 1, c.early_stopping = 1;
    check_search(&c, TOKENS(3, PAD, PAD), REALS(.9), REALS(1));
    CHECK_INT(decoder.runs, 1);
}

static void test_scores(void) {
    Case c = usual;
    c.repetition_penalty = 2; /* squares what was there */
    check_search(&c, TOKENS(1, 3, 3, 1, 2, 3), REALS(.324, .145), REALS(3, 3));
    c = usual;
    c.ngram = 1;
    c.beams = c.returned = 1;
    check_search(&c, TOKENS(1, 2, 3), REALS(.145), REALS(3));
    c.ngram = 2, c.max_length = 5; /* 1 2 1, and not 2 once more */
    check_search(&c, TOKENS(1, 2, 1, 3, 3), REALS(.072), REALS(5));
    c = usual;
    c.vocab_mask = REALS(1, 1, 1, 0);
    check_search(&c, TOKENS(1, 2, 1, 1, 2, 2), REALS(.2, .15), REALS(3, 3));
    c = usual;
    c.prefix_mask = REALS(1, 1, 0, 1); /* of the first step only */
    check_search(&c, TOKENS(1, 3, 3, 1, 1, 2), REALS(.36, .045), REALS(3, 3));
}

/* Padding in front is masked and takes no position. */
static void test_padding(void) {
    static const int32_t mask[] = {0, 1, 1, 1, 1, 1};
    Case c = usual;
    c.batch = 2, c.given = 2, c.beams = c.returned = 1, c.max_length = 4;
    c.ids[0] = PAD, c.ids[1] = 1, c.ids[2] = 2, c.ids[3] = 1;
    check_search(&c, TOKENS(PAD, 1, 2, 1, 2, 1, 2, 1), REALS(.2, .2), REALS(4, 4));
    for (int i = 0; i < 6; ++i) CHECK_INT(decoder.mask[i], mask[i]);
    CHECK_INT(decoder.positions[0], 1);
    CHECK_INT(decoder.positions[1], 2);
}

static void expect_refusal(Case c, const char *text) {
    OpRun run = {0};
    CHECK_INT(search(&run, &c), STATUS_BAD_DATA);
    CHECK(strstr(run.diag.text, text) != NULL);
    op_run_end(&run);
}

static void test_bad_data(void) {
    static Follow undefined = {
        {NAN, NAN, NAN, NAN}, {NAN, NAN, NAN, NAN}, {NAN, NAN, NAN, NAN}, {NAN, NAN, NAN, NAN}};
    Case c = usual;
    c.beams = 0, expect_refusal(c, "num_beams 0");
    c.beams = 129, expect_refusal(c, "num_beams 129");
    c = usual, c.returned = 3, expect_refusal(c, "num_return_sequences 3");
    c = usual, c.returned = 0, expect_refusal(c, "num_return_sequences 0");
    c = usual, c.max_length = 1, expect_refusal(c, "max_length 1");
    c = usual, c.max_length = 2000000000, expect_refusal(c, "max_length 2000000000");
    c = usual, c.min_length = 3, expect_refusal(c, "min_length 3");
    c = usual, c.repetition_penalty = 0, expect_refusal(c, "penalty");
    c = usual, c.length_penalty = INFINITY, expect_refusal(c, "penalty");
    c = usual, c.vocab = 3, c.vocab_mask = REALS(1, 1, 1, 1), expect_refusal(c, "a vocabulary mask");
    c = usual, c.vocab = 3, c.prefix_mask = REALS(1, 1, 1, 1), expect_refusal(c, "a vocabulary mask");
    c = usual, c.vocab = 1, expect_refusal(c, "logits of 1 tokens");
    c = usual, c.follow = undefined, expect_refusal(c, "are not numbers");
}

static void test_unsupported(void) {
    static const char *const names[] = {"model_type", "output 'scores'", "decoder_input_ids",
                                        "'init_decoder'"};
    for (int i = 0; i < 4; ++i) {
        OpRun run = {0};
        const void *attrs;
        set_inputs(&run, &usual);
        set_attributes(&run, &usual);
        if (i == 0) CHECK(attr_set_int(&run.attrs, &run.arena, "model_type", 1));
        if (i == 2) {
            op_omit(&run);
            op_values(&run, DTYPE_I32, 1, REALS(1));
        }
        if (i == 3) CHECK(attr_set_block(&run.attrs, &run.arena, "init_decoder", 8));
        CHECK_INT(parse(&run, i == 1 ? 3 : 1, &attrs), STATUS_UNSUPPORTED);
        CHECK(strstr(run.diag.text, names[i]) != NULL);
        op_run_end(&run);
    }
}

int main(void) {
    test_beams();
    test_end();
    test_scores();
    test_padding();
    test_bad_data();
    test_unsupported();
    return test_result();
}
