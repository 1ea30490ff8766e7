/* One function per command, each in cmd_<name>.c. */
#ifndef SMELT_CLI_COMMANDS_H
#define SMELT_CLI_COMMANDS_H

#include "cli/cli.h"

Status command_build(App *app, const Command *self, int argc, char **argv);
Status command_run(App *app, const Command *self, int argc, char **argv);
Status command_check(App *app, const Command *self, int argc, char **argv);
Status command_bench(App *app, const Command *self, int argc, char **argv);
Status command_inspect(App *app, const Command *self, int argc, char **argv);
Status command_study(App *app, const Command *self, int argc, char **argv);
Status command_diff(App *app, const Command *self, int argc, char **argv);
Status command_tune(App *app, const Command *self, int argc, char **argv);
Status command_cache(App *app, const Command *self, int argc, char **argv);
Status command_ops(App *app, const Command *self, int argc, char **argv);
Status command_device(App *app, const Command *self, int argc, char **argv);
Status command_doctor(App *app, const Command *self, int argc, char **argv);

#endif
