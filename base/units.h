/* Sizes and counts as people read them. */
#ifndef SMELT_BASE_UNITS_H
#define SMELT_BASE_UNITS_H

typedef struct UnitText {
    char text[24];
} UnitText;

UnitText byte_text(double bytes);  /* "512 B", "1.50 MiB" */
UnitText count_text(double count); /* "512", "4.09 G" */

#endif
