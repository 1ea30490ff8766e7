/* smelt inspect TIMING.cache */
#ifndef SMELT_CLI_INSPECT_CACHE_H
#define SMELT_CLI_INSPECT_CACHE_H

#include "cli/cli.h"

/* It begins as timing caches do, or is named as one. */
bool is_timing_cache(const char *path);
/* For which GPU it is, and the fastest tactic of each problem. Fails as timing_cache_read. */
Status inspect_cache(App *app, const char *path, bool json);

#endif
