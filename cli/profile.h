/* Where the time of a run goes: per step and per ONNX node. */
#ifndef SMELT_CLI_PROFILE_H
#define SMELT_CLI_PROFILE_H

#include "base/bytes.h"
#include "cli/session.h"
#include "kernels/device.h"

typedef struct ProfiledStep {
    SmeltStepProfile step;
    double gap, kernel; /* microseconds, together the step's: what its launches take anyhow, and the rest */
    double floor;       /* microseconds that it needs at least; 0 on the host */
    bool by_arithmetic; /* or else by memory */
} ProfiledStep;

typedef struct ProfiledNode {
    const char *name; /* of the ONNX node; "(cast)": of a step that has none */
    double microseconds;
} ProfiledNode;

typedef struct Profile {
    const Device *device; /* NULL: a CPU plan */
    ProfiledStep *steps;  /* those that ran */
    ProfiledNode *nodes;  /* that time is told of, in the order of the first step of each */
    int32_t step_count, node_count;
    /* Microseconds of a run: measured as a whole; of which the first graph takes to start, all steps take,
     * and nothing accounts for (below 0: the parts are more than the whole). */
    double measured, start, steps_sum, rest;
    double gap, floor; /* sums over the steps */
    int32_t launches;
} Profile;

/* Once smelt_context_profile has measured: measured is the time of a run without it, in microseconds. */
Status profile_read(App *app, const Session *session, double measured, Profile *out);
void profile_print(const Profile *profile);
/* As one JSON object. */
void profile_write_json(const Profile *profile, ByteWriter *out);

#endif
