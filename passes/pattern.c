/* Formulas to patterns: a parser by recursive descent. */
#include "passes/pattern.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Parser {
    const char *text, *at;
    Arena *arena;
    Diag *diag;
} Parser;

enum { MOST_EXPONENT = 4 };

static Status fail(const Parser *p, const char *what) {
    return FAIL(p->diag, STATUS_INTERNAL, "pattern '%s': %s at '%.20s'", p->text, what, p->at);
}

static Status new_pattern(Parser *p, PatternKind kind, Pattern **out) {
    *out = ARENA_NEW(p->arena, Pattern);
    TRY_ALLOC(p->diag, *out);
    (*out)->kind = kind;
    (*out)->number = kind == PATTERN_PRODUCT ? 1 : 0;
    return STATUS_OK;
}

static bool take(Parser *p, char c) {
    while (*p->at == ' ') p->at++;
    if (*p->at != c) return false;
    p->at++;
    while (*p->at == ' ') p->at++;
    return true;
}

static Status take_word(Parser *p, const char **out) {
    size_t length = 0;
    while (isalnum((unsigned char)p->at[length]) || p->at[length] == '_') length++;
    if (length == 0) return fail(p, "a word is missing");
    *out = arena_strndup(p->arena, p->at, length);
    TRY_ALLOC(p->diag, *out);
    p->at += length;
    return STATUS_OK;
}

static Status take_number(Parser *p, double *out) {
    char *end;
    *out = strtod(p->at, &end);
    if (end == p->at) return fail(p, "a number is missing");
    p->at = end;
    return STATUS_OK;
}

/* Names go last: what is more telling binds them first. */
static Status add_item(Parser *p, Pattern *to, Pattern *item, double weight) {
    int32_t place = to->count;
    if (to->count == PATTERN_ITEMS) return fail(p, "too many operands");
    if (to->kind != PATTERN_CALL && item->kind != PATTERN_NAME)
        while (place > 0 && to->items[place - 1]->kind == PATTERN_NAME) place--;
    for (int32_t i = to->count++; i > place; --i) {
        to->items[i] = to->items[i - 1];
        to->weights[i] = to->weights[i - 1];
    }
    to->items[place] = item;
    to->weights[place] = weight;
    return STATUS_OK;
}

static Status parse_sum(Parser *p, Pattern **out);

static Status parse_call(Parser *p, const char *op, Pattern **out) {
    TRY(new_pattern(p, PATTERN_CALL, out));
    (*out)->op = op_find("", op);
    if ((*out)->op == OP_NONE) return fail(p, "an unknown operator");
    do {
        Pattern *item;
        TRY(parse_sum(p, &item));
        TRY(add_item(p, *out, item, 1));
    } while (take(p, ','));
    return take(p, ')') ? STATUS_OK : fail(p, "')' is missing");
}

static Status parse_group(Parser *p, Pattern **out) {
    TRY(parse_sum(p, out));
    return take(p, ')') ? STATUS_OK : fail(p, "')' is missing");
}

static Status parse_atom(Parser *p, Pattern **out) {
    const char *word = NULL;
    if (take(p, '(')) return parse_group(p, out);
    if (isdigit((unsigned char)*p->at)) {
        TRY(new_pattern(p, PATTERN_NUMBER, out));
        return take_number(p, &(*out)->number);
    }
    bool is_number = take(p, '$');
    TRY(take_word(p, &word));
    if (!is_number && take(p, '(')) return parse_call(p, word, out);
    if (!is_number && take(p, ':')) {
        TRY(parse_atom(p, out));
        if ((*out)->name != NULL) return fail(p, "two names for one value");
        (*out)->name = word;
        return STATUS_OK;
    }
    TRY(new_pattern(p, is_number ? PATTERN_ANY_NUMBER : PATTERN_NAME, out));
    (*out)->name = word;
    return STATUS_OK;
}

static double power(double base, int exponent) {
    return exponent == 0  ? 1
           : exponent < 0 ? power(base, exponent + 1) / base
                          : power(base, exponent - 1) * base;
}

/* Multiplies a product by a factor to the power weight. */
static Status add_factor(Parser *p, Pattern *product, Pattern *factor, double weight) {
    if (factor->kind == PATTERN_NUMBER) {
        if (weight < -MOST_EXPONENT || weight > MOST_EXPONENT) return fail(p, "an exponent out of range");
        product->number *= power(factor->number, (int)weight);
        return STATUS_OK;
    }
    if (factor->kind == PATTERN_ANY_NUMBER) {
        product->rest = factor->name;
        return STATUS_OK;
    }
    if (factor->kind == PATTERN_CALL && factor->op == OP_Sqrt && factor->name == NULL)
        return add_item(p, product, factor->items[0], weight / 2);
    return add_item(p, product, factor, weight);
}

static Status parse_factor(Parser *p, Pattern *product, double weight) {
    Pattern *atom;
    double exponent = 1;
    if (take(p, '-')) product->number = -product->number;
    TRY(parse_atom(p, &atom));
    if (take(p, '^')) TRY(take_number(p, &exponent));
    return add_factor(p, product, atom, weight * exponent);
}

/* A product of one thing alone is that thing. */
static Pattern *without_frame(Pattern *product) {
    bool bare =
        product->number == 1 && product->rest == NULL && product->count == 1 && product->weights[0] == 1;
    return bare ? product->items[0] : product;
}

static Status parse_product(Parser *p, Pattern **out) {
    Pattern *product;
    TRY(new_pattern(p, PATTERN_PRODUCT, &product));
    TRY(parse_factor(p, product, 1));
    for (;;) {
        if (take(p, '*'))
            TRY(parse_factor(p, product, 1));
        else if (take(p, '/'))
            TRY(parse_factor(p, product, -1));
        else
            break;
    }
    *out = without_frame(product);
    if (product->count > 0) return STATUS_OK;
    (*out)->kind = product->rest != NULL ? PATTERN_ANY_NUMBER : PATTERN_NUMBER;
    (*out)->name = product->rest;
    return STATUS_OK;
}

static Status add_term(Parser *p, Pattern *sum, Pattern *term, double sign) {
    switch (term->kind) {
    case PATTERN_NUMBER:
        sum->number += sign * term->number;
        return STATUS_OK;
    case PATTERN_ANY_NUMBER:
        sum->rest = term->name;
        return STATUS_OK;
    case PATTERN_PRODUCT:
        if (term->name == NULL) {
            term->number *= sign;
            return add_item(p, sum, term, 1);
        }
        return add_item(p, sum, term, sign);
    default:
        return add_item(p, sum, term, sign);
    }
}

static Status parse_sum(Parser *p, Pattern **out) {
    Pattern *sum, *term;
    bool more = false;
    TRY(new_pattern(p, PATTERN_SUM, &sum));
    TRY(parse_product(p, &term));
    *out = term;
    for (double sign = 1;; more = true) {
        if (more) TRY(parse_product(p, &term));
        bool plus = take(p, '+'), minus = !plus && take(p, '-');
        if (!more && !plus && !minus) return STATUS_OK;
        TRY(add_term(p, sum, term, sign));
        if (!plus && !minus) break;
        sign = minus ? -1 : 1;
    }
    *out = sum;
    return STATUS_OK;
}

Status pattern_parse(const char *text, Arena *arena, const Pattern **out, Diag *diag) {
    Parser parser = {text, text, arena, diag};
    Pattern *pattern;
    TRY(parse_sum(&parser, &pattern));
    *out = pattern;
    return *parser.at == '\0' ? STATUS_OK : fail(&parser, "text is left over");
}

bool pattern_ends_with(const Pattern *pattern, OpId op) {
    switch (pattern->kind) {
    case PATTERN_PRODUCT:
        return op == OP_Mul || op == OP_Div;
    case PATTERN_SUM:
        return op == OP_Add || op == OP_Sub;
    case PATTERN_CALL:
        return op == pattern->op || (pattern->op == OP_Reshape && op_is_reshape(op));
    default:
        return false;
    }
}
