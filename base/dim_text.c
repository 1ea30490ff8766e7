/* Text of expressions: sums and products of numbers, names and floor(), min(), max(), bcast(). In names,
 * every byte but letters, digits, '_' and '.' is written as %XX, so that no name needs quotes. */
#include <string.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/dim_table.h"

static const struct {
    const char *name;
    DimOp op;
    Dim (*build)(DimTable *table, Dim a, Dim b);
} functions[] = {{"floor", DIM_FLOOR_DIV, dim_floor_div},
                 {"min", DIM_MIN, dim_min},
                 {"max", DIM_MAX, dim_max},
                 {"bcast", DIM_BCAST, dim_broadcast}};
enum { FUNCTION_COUNT = sizeof functions / sizeof functions[0] };

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

/* The function called that, or -1. */
static int find_function(const char *name) {
    for (int i = 0; i < FUNCTION_COUNT; ++i) {
        if (strcmp(functions[i].name, name) == 0) return i;
    }
    return -1;
}

/* ---- Printing ---- */

static void print_name(ByteWriter *out, const char *name) {
    bool escape_first = find_function(name) >= 0 || is_digit(name[0]) || name[0] == '.';
    for (const char *c = name; *c != '\0'; ++c) {
        if (is_name_char(*c) && !(c == name && escape_first))
            write_u8(out, (uint8_t)*c);
        else
            write_format(out, "%%%02x", (unsigned char)*c);
    }
    if (name[0] == '\0') write_format(out, "%%00");
}

static void print_plus(const DimTable *table, ByteWriter *out, Dim d, int64_t extra);

/* A floor's dividend gets inside added. */
static void print_atom(const DimTable *table, ByteWriter *out, int64_t entry, int64_t inside) {
    const DimAtom *atom = dim_atom_at(table, entry);
    if (atom->op == DIM_SYMBOL) {
        print_name(out, table->symbols[atom->a]->name);
        return;
    }
    int which = 0;
    while (functions[which].op != (DimOp)atom->op) ++which;
    write_format(out, "%s(", functions[which].name);
    print_plus(table, out, atom->a, inside);
    write_format(out, ", ");
    print_plus(table, out, atom->b, 0);
    write_format(out, ")");
}

static void print_term(const DimTable *table, ByteWriter *out, const DimTerm *term, bool first) {
    int32_t degree;
    const int32_t *atoms = dim_monomial_at(table, term->monomial, &degree);
    bool negative = term->coefficient < 0;
    uint64_t size = negative ? 0 - (uint64_t)term->coefficient : (uint64_t)term->coefficient;
    write_format(out, "%s", first ? (negative ? "-" : "") : (negative ? " - " : " + "));
    if (size != 1 || degree == 0)
        write_format(out, "%llu%s", (unsigned long long)size, degree > 0 ? "*" : "");
    for (int32_t i = 0; i < degree; ++i) {
        if (i > 0) write_format(out, "*");
        print_atom(table, out, atoms[i], 0);
    }
}

/* Where the sum of term and constant is floor(x, c) + k with c exact and k not zero: the k*c that goes into
 * the floor, which is how people write sizes of convolutions. Else 0. */
static int64_t absorbed(const DimTable *table, const DimTerm *term, int64_t constant, int32_t *atom_entry) {
    int32_t degree;
    const int32_t *atoms = dim_monomial_at(table, term->monomial, &degree);
    if (degree != 1 || term->coefficient != 1) return 0;
    const DimAtom *atom = dim_atom_at(table, atoms[0]);
    *atom_entry = atoms[0];
    int64_t inside, reach;
    bool fits = atom->op == DIM_FLOOR_DIV && dim_is_exact(atom->b) &&
                checked_mul_i64(constant, atom->b, &inside) && checked_add_i64(inside, atom->b, &reach) &&
                inside > DIM_EXACT_MIN;
    return fits ? inside : 0;
}

/* d + extra */
static void print_plus(const DimTable *table, ByteWriter *out, Dim d, int64_t extra) {
    DimView view;
    dim_view(table, d, &view);
    int32_t count = view.count, atom = 0;
    if (count > 0 && view.terms[count - 1].monomial == DIM_ONE) extra += view.terms[--count].coefficient;
    int64_t inside = count == 1 && extra != 0 ? absorbed(table, &view.terms[0], extra, &atom) : 0;
    if (inside != 0) {
        print_atom(table, out, atom, inside);
        return;
    }
    for (int32_t i = 0; i < count; ++i) print_term(table, out, &view.terms[i], i == 0);
    if (count == 0 || extra != 0) {
        if (count == 0)
            write_format(out, "%lld", (long long)extra);
        else
            print_term(table, out, &(DimTerm){extra, DIM_ONE}, false);
    }
}

static const char *finish(ByteWriter *out) {
    write_u8(out, 0);
    return out->failed ? NULL : (const char *)out->data;
}

const char *dim_print(const DimTable *table, Dim d, Arena *arena) {
    ByteWriter out = byte_writer(arena);
    print_plus(table, &out, d, 0);
    return finish(&out);
}

const char *shape_print(const DimTable *table, const Shape *shape, Arena *arena) {
    ByteWriter out = byte_writer(arena);
    write_format(&out, "[");
    for (int32_t i = 0; i < shape->rank; ++i) {
        if (i > 0) write_format(&out, ", ");
        print_plus(table, &out, shape->dim[i], 0);
    }
    write_format(&out, "]");
    return finish(&out);
}

/* ---- Parsing ---- */

typedef struct Parser {
    DimTable *table;
    const char *text, *at;
    int nesting;
    Diag *diag;
} Parser;

static Status refuse(const Parser *parser, const char *expected) {
    return FAIL(parser->diag, STATUS_BAD_MODEL, "dimension '%.80s': expected %s at column %td", parser->text,
                expected, parser->at - parser->text + 1);
}

static void skip_spaces(Parser *parser) {
    while (*parser->at == ' ') ++parser->at;
}

static bool accept(Parser *parser, char c) {
    skip_spaces(parser);
    if (*parser->at != c) return false;
    ++parser->at;
    return true;
}

static Status parse_sum(Parser *parser, Dim *out);

static Status parse_number(Parser *parser, Dim *out) {
    int64_t value = 0;
    for (; is_digit(*parser->at); ++parser->at) {
        if (!checked_mul_i64(value, 10, &value) || !checked_add_i64(value, *parser->at - '0', &value))
            return refuse(parser, "a number below 2^63");
    }
    *out = value;
    return STATUS_OK;
}

static int hex_digit(char c) {
    if (is_digit(c)) return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes print_name. *literal: no byte was escaped. */
static Status parse_name(Parser *parser, const char **name, bool *literal) {
    ByteWriter out = byte_writer(parser->table->arena);
    *literal = true;
    while (is_name_char(*parser->at) || *parser->at == '%') {
        if (*parser->at != '%') {
            write_u8(&out, (uint8_t)*parser->at++);
            continue;
        }
        int high = hex_digit(parser->at[1]), low = high < 0 ? -1 : hex_digit(parser->at[2]);
        if (low < 0) return refuse(parser, "two hexadecimal digits after '%'");
        write_u8(&out, (uint8_t)(high * 16 + low));
        parser->at += 3;
        *literal = false;
    }
    *name = finish(&out);
    TRY_ALLOC(parser->diag, *name);
    if (strlen(*name) + 1 != out.size && out.size != 2) return refuse(parser, "no zero byte in a name");
    return STATUS_OK;
}

static Status parse_call(Parser *parser, int function, Dim *out) {
    Dim a, b;
    if (!accept(parser, '(')) return refuse(parser, "'('");
    TRY(parse_sum(parser, &a));
    if (!accept(parser, ',')) return refuse(parser, "','");
    TRY(parse_sum(parser, &b));
    if (!accept(parser, ')')) return refuse(parser, "')'");
    *out = functions[function].build(parser->table, a, b);
    return STATUS_OK;
}

static Status parse_factor(Parser *parser, Dim *out) {
    const char *name = NULL;
    bool literal;
    if (accept(parser, '(')) {
        TRY(parse_sum(parser, out));
        return accept(parser, ')') ? STATUS_OK : refuse(parser, "')'");
    }
    if (is_digit(*parser->at)) return parse_number(parser, out);
    if (*parser->at == '.' || !(is_name_char(*parser->at) || *parser->at == '%'))
        return refuse(parser, "a number, a name or '('");
    TRY(parse_name(parser, &name, &literal));
    int function = literal ? find_function(name) : -1;
    if (function >= 0) return parse_call(parser, function, out);
    *out = dim_symbol(parser->table, name, SYMBOL_INPUT);
    return STATUS_OK;
}

static Status parse_product(Parser *parser, Dim *out) {
    TRY(parse_factor(parser, out));
    while (accept(parser, '*')) {
        Dim factor;
        TRY(parse_factor(parser, &factor));
        *out = dim_mul(parser->table, *out, factor);
    }
    return STATUS_OK;
}

static Status parse_sum(Parser *parser, Dim *out) {
    /* Each level of an expression may stand in parentheses of its own. */
    if (++parser->nesting > 2 * DIM_MAX_NESTING) return refuse(parser, "fewer nested parentheses");
    *out = 0;
    bool negative = accept(parser, '-');
    do {
        Dim term;
        TRY(parse_product(parser, &term));
        *out = negative ? dim_sub(parser->table, *out, term) : dim_add(parser->table, *out, term);
        negative = accept(parser, '-');
    } while (negative || accept(parser, '+'));
    parser->nesting--;
    return STATUS_OK;
}

Status dim_parse(DimTable *table, const char *text, Dim *out, Diag *diag) {
    Parser parser = {.table = table, .text = text, .at = text, .diag = diag};
    bool failed_before = table->failed;
    table->failed = false;
    Status status = parse_sum(&parser, out);
    bool failed = table->failed;
    table->failed = failed || failed_before;
    TRY(status);
    skip_spaces(&parser);
    if (*parser.at != '\0') return refuse(&parser, "the end");
    if (failed)
        return FAIL(diag, STATUS_BAD_MODEL, "dimension '%.80s' divides by zero or is too large", text);
    return STATUS_OK;
}
