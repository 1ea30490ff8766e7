/* Time that only goes forward. */
#ifndef SMELT_BASE_CLOCK_H
#define SMELT_BASE_CLOCK_H

/* Seconds since some moment in the past. */
double clock_seconds(void);

#endif
