/* A problem as a graph of its own, to be run alone. */
#ifndef SMELT_KERNELS_EXTRACT_H
#define SMELT_KERNELS_EXTRACT_H

#include "ir/way.h"
#include "kernels/problem.h"

/* The problem's nodes with its inputs as graph inputs and its outputs as graph outputs, every symbol at its
 * opt value; constants are shared, values in channels-last layout are reached through Reformats, and slices
 * become values of their own. In arena; the constants' data must outlive it. UNSUPPORTED where sizes depend
 * on data or an operator has a body. */
Status problem_extract(const Problem *problem, Arena *arena, Graph **out, Diag *diag);
/* The same of all steps of a way, each a region of its own or a lone node. */
Status way_extract(const Graph *graph, const UseTable *uses, const Way *way, Arena *arena, Graph **out,
                   Diag *diag);

#endif
