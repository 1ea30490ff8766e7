#include "base/dim.h"
#include "test.h"

static Arena arena, texts; /* texts outlives the table */
static DimTable *table;

static Dim parse(const char *text) {
    Dim d = 0;
    Diag diag = {0};
    CHECK_OK(dim_parse(table, text, &d, &diag), &diag);
    return d;
}

static const char *print(Dim d) {
    return dim_print(table, d, &texts);
}

static void setup(void) {
    arena_reset(&arena);
    table = dim_table_create(&arena);
}

static void test_exact(void) {
    setup();
    CHECK_INT(dim_add(table, 2, 3), 5);
    CHECK_INT(dim_sub(table, 2, 3), -1);
    CHECK_INT(dim_mul(table, -4, 3), -12);
    CHECK_INT(dim_floor_div(table, -7, 2), -4);
    CHECK_INT(dim_floor_div(table, 7, -2), -4);
    CHECK_INT(dim_floor_div(table, -8, -2), 4);
    CHECK_INT(dim_ceil_div(table, 7, 2), 4);
    CHECK_INT(dim_min(table, 7, 2), 2);
    CHECK_INT(dim_max(table, 7, 2), 7);
    CHECK_INT(dim_broadcast(table, 7, 1), 7);
    CHECK_INT(dim_broadcast(table, 1, 1), 1);
    CHECK_INT(dim_broadcast(table, 0, 1), 0);
    CHECK(!dim_table_failed(table));
}

/* Texts that are one expression, printed as the last of them. */
static void test_canonical_forms(void) {
    static const char *const same[][2] = {
        {"1 + h*2", "2*h + 1"},
        {"w*h - h*w", "0"},
        {"(h + 1)*(w - 1)", "h*w - h + w - 1"},
        {"floor(n*c*h*w, c*h)", "n*w"},
        {"floor((H+1)*(W+1)*c, H+1)", "W*c + c"},
        {"floor(a*a - b*b, a + b)", "a - b"},
        {"floor(6*h + 4*w + 8, 2)", "3*h + 2*w + 4"},
        {"floor(h + 4*w + 9, 4)", "w + floor(h + 1, 4) + 2"},
        {"floor(h + 2 - 3, 2) + 1", "floor(h + 1, 2)"},
        {"1 + floor(h - 3, 2)", "floor(h - 1, 2)"},
        {"floor(floor(h + 1, 2) + 1, 2)", "floor(h + 3, 4)"},
        {"floor(floor(floor(h, 2), 3), 5)", "floor(h, 30)"},
        {"floor(4*h + 3, 8)", "floor(h, 2)"},
        {"floor(4*h + 5, 8)", "floor(h + 1, 2) - 0"},
        {"floor(4*h - 1, 8)", "floor(h - 1, 2)"},
        {"floor(h, -2)", "floor(-h, 2)"},
        {"floor(h, -w)", "floor(-h, w)"},
        {"floor(n*h + n + h, n)", "h + floor(h, n) + 1"},
        {"floor(h, h)", "1"},
        {"floor(0, h)", "0"},
        {"floor(h, 1)", "h"},
        {"floor(3*h, 3*h)", "1"},
        {"max(w, h)", "max(h, w)"},
        {"max(h, h)", "h"},
        {"max(h + 1, h)", "h + 1"},
        {"min(h + 1, h)", "h"},
        {"max(h, -5)", "h"},
        {"max(0, h)", "h"},
        {"min(max(h, w), max(w, h))", "max(h, w)"},
        {"max(c, max(b, a))", "max(max(a, b), c)"},
        {"min(min(a, b), min(c, a))", "min(min(a, b), c)"},
        {"bcast(h, 1)", "h"},
        {"bcast(1, h)", "h"},
        {"bcast(h, 5)", "5"},
        {"bcast(5, h)", "5"},
        {"bcast(w, h)", "bcast(h, w)"},
        {"bcast(bcast(c, a), b)", "bcast(bcast(a, b), c)"},
        {"floor(batch*seq*768, batch*12*64)", "seq"},
        {"floor(h - 9, 2) + w + 1 + floor(x + 1, 2)", "w + floor(h + 1, 2) + floor(x + 1, 2) - 4"},
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; ++i) {
        setup();
        Dim a = parse(same[i][0]), b = parse(same[i][1]);
        if (a != b) fprintf(stderr, "%s and %s\n", same[i][0], same[i][1]);
        CHECK(a == b);
        CHECK(!dim_table_failed(table));
    }
}

static void test_convolution_chain(void) {
    setup();
    Dim h = dim_symbol(table, "h", SYMBOL_INPUT);
    for (int i = 0; i < 5; ++i) /* kernel 3, stride 2, padding 1 */
        h = dim_add(table, dim_floor_div(table, dim_sub(table, dim_add(table, h, 2), 3), 2), 1);
    CHECK_STR(print(h), "floor(h + 31, 32)");
    setup();
    h = dim_symbol(table, "h", SYMBOL_INPUT);
    h = dim_add(table, dim_floor_div(table, dim_sub(table, h, 3), 2), 1);
    CHECK_STR(print(h), "floor(h - 1, 2)");
    CHECK_STR(print(dim_mul(table, 2, h)), "2*floor(h + 1, 2) - 2");
    CHECK_STR(print(dim_ceil_div(table, parse("x"), 4)), "floor(x + 3, 4)");
    CHECK(dim_ceil_div(table, parse("8*x"), 4) == parse("2*x"));
}

static void test_names(void) {
    static const char *const names[] = {"batch size", "max",     "%",   "a-b",      "",
                                        "3d",         "unk__12", "s.1", "\xc3\xa9", "floor"};
    setup();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
        Dim d = dim_symbol(table, names[i], SYMBOL_INPUT);
        CHECK_STR(dim_symbol_at(table, dim_symbol_index(table, d))->name, names[i]);
        for (const char *c = print(d); *c != '\0'; ++c) CHECK(strchr(" ,()[]*+-/'\"", *c) == NULL);
        CHECK(parse(print(d)) == d);
        CHECK(dim_symbol(table, names[i], SYMBOL_INPUT) == d);
    }
    CHECK_INT(dim_symbol_count(table), 10);
    CHECK_STR(print(dim_symbol(table, "batch size", SYMBOL_INPUT)), "batch%20size");
    Dim late = dim_fresh(table, "nonzero"), other = dim_fresh(table, "nonzero");
    CHECK(late != other);
    CHECK(dim_is_late(table, dim_add(table, dim_max(table, late, 4), 1)));
    CHECK(!dim_is_late(table, parse("unk__12*2")) && !dim_is_late(table, 7));
    CHECK_INT(dim_symbol_index(table, dim_add(table, late, 1)), -1);
    CHECK_INT(dim_symbol_index(table, 3), -1);
    dim_symbol(table, "late.2", SYMBOL_LATE);
    CHECK_STR(print(dim_fresh(table, "late")), "late.3");
}

static void check_bounds(const char *text, int64_t low, int64_t high) {
    int64_t actual_low, actual_high;
    dim_bounds(table, parse(text), &actual_low, &actual_high);
    if (actual_low != low || actual_high != high) fprintf(stderr, "%s\n", text);
    CHECK_INT(actual_low, low);
    CHECK_INT(actual_high, high);
}

static void test_bounds(void) {
    setup();
    Symbol *h = dim_symbol_at(table, dim_symbol_index(table, dim_symbol(table, "h", SYMBOL_INPUT)));
    h->min = 4;
    h->max = 10;
    check_bounds("7", 7, 7);
    check_bounds("h", 4, 10);
    check_bounds("2*h - 1", 7, 19);
    check_bounds("-h", -10, -4);
    check_bounds("h*h", 16, 100);
    check_bounds("floor(h, 3)", 1, 3);
    check_bounds("floor(100, h)", 10, 25);
    check_bounds("floor(h - 20, 3)", -6, -4);
    check_bounds("w", 0, INT64_MAX);
    check_bounds("-w", INT64_MIN, 0);
    check_bounds("w - h", -10, INT64_MAX);
    check_bounds("floor(h, w)", 0, 10);
    check_bounds("floor(-h, w)", -10, -1);
    check_bounds("floor(h, w - 5)", -10, 10);
    check_bounds("min(w, h)", 0, 10);
    check_bounds("max(w, h)", 4, INT64_MAX);
    check_bounds("bcast(w, h)", 0, INT64_MAX);
    check_bounds("max(3, h)", 4, 10);
    check_bounds("w*9223372036854775807*h - 5", -5, INT64_MAX);
    CHECK(dim_known_at_least(table, parse("h - 4"), 0));
    CHECK(!dim_known_at_least(table, parse("h - 5"), 0));
}

static void test_parse_refusals(void) {
    static const char *const bad[] = {"",
                                      " ",
                                      "+",
                                      "h +",
                                      "h h",
                                      "2h",
                                      "(h",
                                      "h)",
                                      "floor(h)",
                                      "floor",
                                      "floor(h, 0)",
                                      "max(h,, 2)",
                                      "h*",
                                      "9223372036854775808",
                                      "h/2",
                                      "--h",
                                      "h\n",
                                      "%4",
                                      "%g0",
                                      "a%00b",
                                      "9223372036854775807*h*9",
                                      "min(h,",
                                      ".",
                                      "h \t+1",
                                      "floor(h,1,2)",
                                      "[h]",
                                      "-9223372036854775807"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
        setup();
        Dim d;
        Diag diag = {0};
        if (dim_parse(table, bad[i], &d, &diag) == STATUS_OK) fprintf(stderr, "accepted '%s'\n", bad[i]);
        CHECK(diag.status == STATUS_BAD_MODEL);
        CHECK(strstr(diag.text, "dimension '") == diag.text);
    }
    char deep[4096];
    memset(deep, '(', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    Dim d;
    Diag diag = {0};
    CHECK(dim_parse(table, deep, &d, &diag) == STATUS_BAD_MODEL);
    CHECK(strstr(diag.text, "nested") != NULL);
    diag_clear(&diag);
    CHECK(dim_parse(table, "h + $", &d, &diag) == STATUS_BAD_MODEL);
    CHECK_STR(diag.text, "dimension 'h + $': expected a number, a name or '(' at column 5");
}

/* ---- Random expressions ---- */

enum { SYMBOLS = 4 };
static uint64_t state = 88172645463325252u;

static int64_t pick(int64_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (int64_t)(state % (uint64_t)below);
}

typedef struct Tree {
    char op; /* n(umber), s(ymbol), + - * / m(in) M(ax) */
    int64_t value;
    const struct Tree *a, *b;
} Tree;

static Tree pool[256];
static int pool_used;

static const Tree *random_tree(int depth) {
    static const char ops[] = "++--**/mM";
    Tree *tree = &pool[pool_used++];
    *tree = (Tree){0};
    if (depth == 0 || pick(6) == 0) {
        tree->op = pick(2) != 0 ? 's' : 'n';
        tree->value = tree->op == 's' ? pick(SYMBOLS) : pick(9) - 3;
        return tree;
    }
    tree->op = ops[pick(9)];
    tree->a = random_tree(depth - 1);
    tree->b = random_tree(depth - 1);
    return tree;
}

static bool tree_eval(const Tree *tree, const int64_t *values, int64_t *out) {
    int64_t a, b;
    if (tree->op == 'n' || tree->op == 's') {
        *out = tree->op == 'n' ? tree->value : values[tree->value];
        return true;
    }
    if (!tree_eval(tree->a, values, &a) || !tree_eval(tree->b, values, &b)) return false;
    if (tree->op == '/') {
        if (b == 0) return false;
        *out = (int64_t)floor((double)a / (double)b);
        return a > -((int64_t)1 << 50) && a < ((int64_t)1 << 50);
    }
    *out = tree->op == '+'   ? a + b
           : tree->op == '-' ? a - b
           : tree->op == '*' ? a * b
           : tree->op == 'm' ? (a < b ? a : b)
                             : (a > b ? a : b);
    return *out > -((int64_t)1 << 50) && *out < ((int64_t)1 << 50);
}

static Dim symbol(int64_t index) {
    char name[2] = {(char)('a' + index), 0};
    return dim_symbol(table, name, SYMBOL_INPUT);
}

/* mirrored: the same value with operands swapped and differences as sums of negatives. */
static Dim tree_build(const Tree *tree, bool mirrored) {
    if (tree->op == 'n') return tree->value;
    if (tree->op == 's') return symbol(tree->value);
    Dim b = mirrored ? tree_build(tree->b, mirrored) : 0;
    Dim a = tree_build(tree->a, mirrored);
    if (!mirrored) b = tree_build(tree->b, mirrored);
    switch (tree->op) {
    case '+':
        return mirrored ? dim_add(table, b, a) : dim_add(table, a, b);
    case '-':
        return mirrored ? dim_add(table, dim_mul(table, -1, b), a) : dim_sub(table, a, b);
    case '*':
        return mirrored ? dim_mul(table, b, a) : dim_mul(table, a, b);
    case '/': /* floor((a + 3b) / b) = floor(a / b) + 3 */
        return mirrored && dim_is_exact(b) && b != 0
                   ? dim_sub(table, dim_floor_div(table, dim_add(table, a, dim_mul(table, 3, b)), b), 3)
                   : dim_floor_div(table, a, b);
    case 'm':
        return mirrored ? dim_min(table, b, a) : dim_min(table, a, b);
    default:
        return mirrored ? dim_max(table, b, a) : dim_max(table, a, b);
    }
}

static int64_t evaluated;

static void check_expression(const Tree *tree, Dim d) {
    static DimCode codes[DIM_POSTFIX_MAX];
    int32_t count = dim_postfix(table, d, codes, DIM_POSTFIX_MAX);
    CHECK(count > 0 && count <= DIM_POSTFIX_MAX);
    CHECK(dim_postfix_verify(codes, count, dim_symbol_count(table)));
    for (int i = 0; i < 4; ++i) {
        int64_t values[SYMBOLS], expected, actual, from_codes;
        for (int s = 0; s < SYMBOLS; ++s) values[s] = pick(12);
        if (!tree_eval(tree, values, &expected)) continue;
        evaluated++;
        CHECK(dim_eval(table, d, values, &actual));
        CHECK_INT(actual, expected);
        CHECK(dim_postfix_eval(codes, count, values, &from_codes));
        CHECK_INT(from_codes, expected);
        int64_t low, high;
        dim_bounds(table, d, &low, &high);
        CHECK(low <= expected && expected <= high);
    }
}

static void test_random(void) {
    for (int round = 0; round < 6000; ++round) {
        setup();
        for (int s = 0; s < SYMBOLS; ++s) symbol(s);
        pool_used = 0;
        const Tree *tree = random_tree(1 + (int)pick(4));
        Dim d = tree_build(tree, false);
        if (dim_table_failed(table)) continue;
        Dim mirrored = tree_build(tree, true);
        if (dim_table_failed(table)) continue;
        if (d != mirrored) fprintf(stderr, "%s and %s\n", print(d), print(mirrored));
        CHECK(d == mirrored);
        check_expression(tree, d);
        const char *text = print(d);
        if (parse(text) != d) fprintf(stderr, "%s\n", text);
        CHECK(parse(text) == d);
        /* The text does not depend on what was built first. */
        setup();
        for (int s = SYMBOLS - 1; s >= 0; --s) symbol(s);
        CHECK_STR(print(parse(text)), text);
    }
    CHECK(evaluated > 10000);
}

/* ---- Limits ---- */

static void test_overflow(void) {
    setup();
    Dim h = dim_symbol(table, "h", SYMBOL_INPUT);
    CHECK(!dim_table_failed(table));
    Dim d = dim_mul(table, INT64_MAX, 2);
    CHECK(dim_table_failed(table));
    CHECK(dim_symbol_index(table, d) >= 0 && dim_is_late(table, d));
    setup();
    dim_add(table, DIM_EXACT_MIN, -1);
    CHECK(dim_table_failed(table));
    setup();
    dim_floor_div(table, dim_symbol(table, "h", SYMBOL_INPUT), 0);
    CHECK(dim_table_failed(table));
    setup();
    h = dim_symbol(table, "h", SYMBOL_INPUT);
    dim_mul(table, dim_mul(table, h, INT64_MAX), 2);
    CHECK(dim_table_failed(table));
    setup();
    h = dim_symbol(table, "h", SYMBOL_INPUT);
    int64_t out, value = INT64_MAX;
    CHECK(!dim_eval(table, dim_mul(table, h, 2), &value, &out));
    CHECK(!dim_eval(table, dim_add(table, h, 1), &value, &out));
    CHECK(dim_eval(table, h, &value, &out) && out == INT64_MAX);
    value = 0;
    CHECK(!dim_eval(table, dim_floor_div(table, 7, h), &value, &out));
    value = -1;
    CHECK(!dim_eval(table, h, &value, &out));
    CHECK(!dim_table_failed(table));
}

/* Whatever is built stays within what a plan can hold, and ends in a failed table rather than a hang. */
static void test_growth(void) {
    setup();
    Dim d = 1;
    for (int i = 0; i < 200; ++i) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        d = dim_mul(table, dim_add(table, d, 1), dim_symbol(table, name, SYMBOL_INPUT));
        CHECK(dim_postfix(table, d, NULL, 0) <= DIM_POSTFIX_MAX);
    }
    CHECK(dim_table_failed(table));
    setup();
    Dim nested = dim_symbol(table, "n", SYMBOL_INPUT);
    for (int i = 0; i < 300; ++i) {
        static DimCode codes[DIM_POSTFIX_MAX];
        nested = dim_max(table, dim_mul(table, nested, nested), dim_fresh(table, "late"));
        int32_t count = dim_postfix(table, nested, codes, DIM_POSTFIX_MAX);
        CHECK(count <= DIM_POSTFIX_MAX);
        CHECK(dim_postfix_verify(codes, count, dim_symbol_count(table)));
    }
    CHECK(dim_table_failed(table));
    setup();
    nested = dim_symbol(table, "n", SYMBOL_INPUT);
    for (int i = 0; i < 300; ++i) nested = dim_floor_div(table, dim_fresh(table, "late"), nested);
    CHECK(dim_table_failed(table));
}

static void test_postfix_verify(void) {
    static const struct {
        DimCode codes[4];
        int32_t count;
    } bad[] = {{{{DIM_ADD, 0, 0}}, 1},
               {{{DIM_PUSH, 0, 1}, {DIM_ADD, 0, 0}}, 2},
               {{{DIM_PUSH, 0, 1}, {DIM_PUSH, 0, 1}}, 2},
               {{{DIM_SYMBOL, 0, 2}}, 1},
               {{{DIM_SYMBOL, 0, -1}}, 1},
               {{{DIM_BCAST + 1, 0, 0}}, 1},
               {{{-1, 0, 0}}, 1},
               {{{DIM_PUSH, 1, 0}}, 1},
               {{{DIM_PUSH, 0, 1}, {DIM_PUSH, 0, 1}, {DIM_ADD, 0, 5}}, 3},
               {{{0}}, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i)
        CHECK(!dim_postfix_verify(bad[i].codes, bad[i].count, 2));
    DimCode deep[2 * DIM_POSTFIX_DEPTH + 2];
    for (int i = 0; i < 2 * DIM_POSTFIX_DEPTH + 1; ++i)
        deep[i] = (DimCode){.op = i <= DIM_POSTFIX_DEPTH ? DIM_PUSH : DIM_ADD};
    CHECK(!dim_postfix_verify(deep, 2 * DIM_POSTFIX_DEPTH + 1, 0));
    CHECK(dim_postfix_verify(deep + 1, 2 * DIM_POSTFIX_DEPTH - 1, 0));
}

static void test_shapes(void) {
    setup();
    Shape shape = {3, {parse("batch"), 3, parse("2*h")}}, exact = {2, {4, 5}}, scalar = {0};
    CHECK_STR(print(shape_count(table, &shape)), "6*batch*h");
    CHECK_INT(shape_count(table, &exact), 20);
    CHECK_INT(shape_count(table, &scalar), 1);
    CHECK(!shape_is_exact(&shape) && shape_is_exact(&exact) && shape_is_exact(&scalar));
    CHECK_STR(shape_print(table, &shape, &arena), "[batch, 3, 2*h]");
    CHECK_STR(shape_print(table, &scalar, &arena), "[]");
    Shape same = shape;
    CHECK(shape_equal(&shape, &same));
    same.dim[2] = parse("h");
    CHECK(!shape_equal(&shape, &same) && !shape_equal(&shape, &exact));
}

/* Each allocation refused once: a failed table or a whole one, never a crash. */
static void test_no_memory(void) {
    int survived = 0;
    for (uint64_t n = 1; survived < 3 && n < 200; ++n) {
        Allocator allocator = {.fail_at = n};
        Arena small;
        arena_init(&small, &allocator);
        DimTable *own = dim_table_create(&small);
        if (own != NULL) {
            Dim d = dim_symbol(own, "h", SYMBOL_INPUT);
            for (int i = 0; i < 100; ++i)
                d = dim_max(own, dim_floor_div(own, d, dim_fresh(own, "n")), dim_fresh(own, "m"));
            dim_print(own, d, &small);
            survived += allocator.count < n;
        }
        arena_reset(&small);
        CHECK_INT((int64_t)allocator.in_use, 0);
    }
    CHECK_INT(survived, 3);
}

int main(void) {
    test_exact();
    test_canonical_forms();
    test_convolution_chain();
    test_names();
    test_bounds();
    test_parse_refusals();
    test_random();
    test_overflow();
    test_growth();
    test_postfix_verify();
    test_shapes();
    test_no_memory();
    arena_reset(&arena);
    arena_reset(&texts);
    return test_result();
}
