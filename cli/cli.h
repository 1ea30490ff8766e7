/* What the commands share. The program prints results on stdout and everything for people on stderr. */
#ifndef SMELT_CLI_CLI_H
#define SMELT_CLI_CLI_H

#include <stdio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/units.h"

/* Pinned: scripts rely on them. */
typedef enum ExitCode {
    EXIT_CODE_OK = 0,
    EXIT_CODE_MISMATCH = 1,  /* the check or comparison failed */
    EXIT_CODE_USAGE = 2,     /* the command line must change */
    EXIT_CODE_BAD_INPUT = 3, /* a model, plan, data or file that cannot be taken */
    EXIT_CODE_WRONG_DEVICE = 4 /* the device is missing or wrong */,
    EXIT_CODE_INTERNAL = 5 /* smelt's fault, or no memory */
} ExitCode;

ExitCode exit_code_of(Status status);

/* One run of the program. */
typedef struct App {
    Allocator allocator;
    Arena arena; /* for the command's own data */
    Log log;
    Diag diag;
} App;

/* A row of the command table in main.c. */
typedef struct Command {
    const char *name;
    Status (*run)(App *app, const struct Command *self, int argc,
                  char **argv); /* argv[0] is the command's name */
    const char *usage;          /* what follows "smelt NAME" */
    const char *what;           /* one line */
    const char *example;        /* a command line that works */
} Command;

typedef enum OptionKind {
    OPTION_FLAG, /* bool */
    OPTION_TEXT, /* const char * */
    OPTION_INT,  /* int64_t, within [min, max] */
    OPTION_REAL, /* double, >= 0 */
    OPTION_LIST  /* TextList: may be repeated */
} OptionKind;

typedef struct TextList {
    int32_t count, capacity;
    const char **items;
} TextList;

bool text_list_has(const TextList *list, const char *text);

typedef struct Option {
    const char *name; /* without the dashes */
    char letter;      /* 0: no short form */
    OptionKind kind;
    void *target;
    const char *argument; /* "FILE", shown in the help; NULL for flags */
    const char *help;
    int64_t min, max; /* OPTION_INT */
} Option;

/* Takes "--name=value", "--name value", "-x value" and positional arguments in any order; "--" ends options.
 * Unknown options fail with USAGE and the nearest name as a hint. *help is set, and nothing else checked,
 * when --help or -h is there. */
Status options_parse(App *app, int argc, char **argv, const Option *options, int option_count,
                     TextList *positional, bool *help);
void command_help(FILE *out, const Command *command, const Option *options, int option_count);

/* Parses; prints the help when asked (*done is then true); checks the count of positional arguments. */
Status command_begin(App *app, const Command *command, int argc, char **argv, const Option *options,
                     int option_count, TextList *positional, int least, int most, bool *done);

/* A progress line on stderr, on a terminal only, once the work has taken two seconds. */
typedef struct Progress {
    double started;
    bool shown;
    const char *what;
} Progress;
void progress_begin(Progress *progress, const char *what);
void progress_step(Progress *progress, const char *detail, int64_t done, int64_t total);
void progress_end(Progress *progress);

/* Letters to insert, remove or change to make one of the other, for hints; a large number for long texts. */
int edit_distance(const char *a, const char *b);

void write_json_string(FILE *out, const char *text); /* null: out of memory */
/* A further member of an object; null where it is not known. */
void write_json_number(ByteWriter *out, const char *key, bool known, double value);

#endif
