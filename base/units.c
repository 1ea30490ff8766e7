#include "base/units.h"

#include <stdio.h>

enum { UNITS = 5 };

/* The largest unit of which there is one, each being `step` of the one before. */
static UnitText in_units(double number, double step, const char *const *units) {
    UnitText out;
    int unit = 0;
    for (; number >= step && unit < UNITS - 1; ++unit) number /= step;
    snprintf(out.text, sizeof out.text, "%.*f%s", unit == 0 ? 0 : 2, number, units[unit]);
    return out;
}

UnitText byte_text(double bytes) {
    static const char *const units[UNITS] = {" B", " KiB", " MiB", " GiB", " TiB"};
    return in_units(bytes, 1024, units);
}

UnitText count_text(double count) {
    static const char *const units[UNITS] = {"", " k", " M", " G", " T"};
    return in_units(count, 1000, units);
}
