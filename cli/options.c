#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

int edit_distance(const char *a, const char *b) {
    enum { LONGEST = 128 };
    int row[LONGEST + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > LONGEST || nb > LONGEST) return LONGEST;
    for (size_t j = 0; j <= nb; ++j) row[j] = (int)j;
    for (size_t i = 1; i <= na; ++i) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; ++j) {
            int best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[nb];
}

bool text_list_has(const TextList *list, const char *text) {
    for (int32_t i = 0; i < list->count; ++i)
        if (strcmp(list->items[i], text) == 0) return true;
    return false;
}

static Status unknown_option(App *app, const char *name, const Option *options, int option_count) {
    const char *nearest = NULL;
    int best = 4;
    for (int i = 0; i < option_count; ++i) {
        int distance = edit_distance(name, options[i].name);
        if (distance < best) {
            best = distance;
            nearest = options[i].name;
        }
    }
    if (nearest != NULL)
        diag_hint(&app->diag, "did you mean --%s?", nearest);
    else
        diag_hint(&app->diag, "--help lists the options");
    return FAIL(&app->diag, STATUS_USAGE, "unknown option --%s", name);
}

static Status list_add(App *app, TextList *list, const char *text) {
    if (!ARENA_RESERVE(&app->arena, list->items, list->count, list->capacity))
        return FAIL(&app->diag, STATUS_NO_MEMORY, "out of memory");
    list->items[list->count++] = text;
    return STATUS_OK;
}

static Status set_int(App *app, const Option *option, const char *text) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || value < option->min || value > option->max)
        return FAIL(&app->diag, STATUS_USAGE, "--%s is '%s', expected an integer from %lld to %lld",
                    option->name, text, (long long)option->min, (long long)option->max);
    *(int64_t *)option->target = value;
    return STATUS_OK;
}

static Status set_real(App *app, const Option *option, const char *text) {
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !(value >= 0))
        return FAIL(&app->diag, STATUS_USAGE, "--%s is '%s', expected a number that is not negative",
                    option->name, text);
    *(double *)option->target = value;
    return STATUS_OK;
}

static Status set_value(App *app, const Option *option, const char *text) {
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->target = true;
        return STATUS_OK;
    case OPTION_TEXT:
        *(const char **)option->target = text;
        return STATUS_OK;
    case OPTION_INT:
        return set_int(app, option, text);
    case OPTION_REAL:
        return set_real(app, option, text);
    case OPTION_LIST:
        return list_add(app, option->target, text);
    }
    return STATUS_OK;
}

static const Option *find_option(const char *name, size_t length, const Option *options, int option_count) {
    for (int i = 0; i < option_count; ++i)
        if (strlen(options[i].name) == length && strncmp(options[i].name, name, length) == 0)
            return &options[i];
    return NULL;
}

static const Option *find_letter(char letter, const Option *options, int option_count) {
    for (int i = 0; i < option_count; ++i)
        if (options[i].letter == letter) return &options[i];
    return NULL;
}

/* Handles argv[*at], which begins with '-', and moves *at past a separate value. */
static Status parse_option(App *app, int argc, char **argv, int *at, const Option *options,
                           int option_count) {
    const char *word = argv[*at], *value = NULL;
    const Option *option;
    if (word[1] == '-') {
        const char *name = word + 2, *equals = strchr(name, '=');
        size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
        option = find_option(name, length, options, option_count);
        if (option == NULL) {
            char *unknown = arena_strndup(&app->arena, name, length);
            TRY_ALLOC(&app->diag, unknown);
            return unknown_option(app, unknown, options, option_count);
        }
        if (equals != NULL) value = equals + 1;
    } else {
        option = find_letter(word[1], options, option_count);
        if (option == NULL || (word[2] != '\0' && option->kind == OPTION_FLAG)) {
            diag_hint(&app->diag, "--help lists the options");
            return FAIL(&app->diag, STATUS_USAGE, "unknown option %s", word);
        }
        if (word[2] != '\0') value = word + 2;
    }
    if (option->kind == OPTION_FLAG) {
        if (value != NULL) return FAIL(&app->diag, STATUS_USAGE, "--%s takes no value", option->name);
    } else if (value == NULL) {
        if (*at + 1 >= argc)
            return FAIL(&app->diag, STATUS_USAGE, "--%s needs a value: %s", option->name, option->argument);
        value = argv[++*at];
    }
    return set_value(app, option, value);
}

Status options_parse(App *app, int argc, char **argv, const Option *options, int option_count,
                     TextList *positional, bool *help) {
    *help = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; ++i)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) *help = true;
    if (*help) return STATUS_OK;
    bool only_positional = false;
    for (int i = 1; i < argc; ++i) {
        if (!only_positional && strcmp(argv[i], "--") == 0)
            only_positional = true;
        else if (!only_positional && argv[i][0] == '-' && argv[i][1] != '\0')
            TRY(parse_option(app, argc, argv, &i, options, option_count));
        else
            TRY(list_add(app, positional, argv[i]));
    }
    return STATUS_OK;
}

/* Long options have a line of their own. */
static void print_option(FILE *out, const char *option, const char *help) {
    enum { WIDTH = 34 };
    if (strlen(option) > WIDTH) {
        fprintf(out, "  %s\n", option);
        option = "";
    }
    fprintf(out, "  %-*s %s\n", WIDTH, option, help);
}

void command_help(FILE *out, const Command *command, const Option *options, int option_count) {
    fprintf(out, "smelt %s %s\n\n%s\n\n", command->name, command->usage, command->what);
    for (int i = 0; i < option_count; ++i) {
        char left[64], letter[8] = "    ";
        if (options[i].letter != 0) snprintf(letter, sizeof letter, "-%c, ", options[i].letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, options[i].name,
                 options[i].argument != NULL ? " " : "",
                 options[i].argument != NULL ? options[i].argument : "");
        print_option(out, left, options[i].help);
    }
    print_option(out, "-h, --help", "this text");
    fprintf(out, "\nexample:\n  %s\n", command->example);
}

Status command_begin(App *app, const Command *command, int argc, char **argv, const Option *options,
                     int option_count, TextList *positional, int least, int most, bool *done) {
    *done = false;
    TRY(options_parse(app, argc, argv, options, option_count, positional, done));
    if (*done) {
        command_help(stdout, command, options, option_count);
        return STATUS_OK;
    }
    if (positional->count >= least && positional->count <= most) return STATUS_OK;
    diag_hint(&app->diag, "smelt %s %s", command->name, command->usage);
    return FAIL(&app->diag, STATUS_USAGE, "%s takes %d%s file argument%s, got %d", command->name, least,
                most > least ? " or more" : "", least == 1 && most == 1 ? "" : "s", positional->count);
}
