/* Passes from shared objects. */
#ifndef SMELT_COMPILER_PLUGIN_H
#define SMELT_COMPILER_PLUGIN_H

#include "compiler/smelt.h"
#include "passes/pass.h"

/* Passes from outside, in the order in which they were added, and the objects that they came from. */
typedef struct PluginSet {
    Arena *arena;
    int32_t pass_count, pass_capacity, handle_count, handle_capacity;
    ExtraPass *passes;
    void **handles; /* of dlopen */
} PluginSet;

/* A pass of the public interface. Names are copied; spec->run must stay. USAGE where something is missing. */
Status plugin_add_pass(PluginSet *set, const SmeltPassSpec *spec, Diag *diag);
/* All passes of a shared object (smelt.h, SmeltPlugin). UNSUPPORTED where it is none, or made for another
 * version of the interface. */
Status plugin_load(PluginSet *set, const char *path, Diag *diag);
/* Unloads the objects: no pass of theirs may be used any more, nor a name that one of them has given. */
void plugins_close(PluginSet *set);

#endif
