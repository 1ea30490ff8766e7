#include <string.h>

#include "cli/commands.h"
#include "frontend/import.h"
#include "ops/op.h"

static const char *half_rule_name(HalfRule rule) {
    static const char *const names[] = {
        [HALF_OK] = "f16", [HALF_ACC32] = "f16, f32 inside", [HALF_NEVER] = "f32", [HALF_MOVES] = "any"};
    return names[rule];
}

enum { NAME_SIZE = 96 };

static void full_name(const char *domain, const char *op, char name[NAME_SIZE]) {
    snprintf(name, NAME_SIZE, "%s%s%s", domain, domain[0] != '\0' ? "::" : "", op);
}

static void print_row(const OpDef *def, bool markdown) {
    char name[NAME_SIZE], inputs[16], outputs[16];
    full_name(def->domain, def->name, name);
    snprintf(inputs, sizeof inputs, def->min_in == def->max_in ? "%d" : "%d-%d", def->min_in, def->max_in);
    snprintf(outputs, sizeof outputs, def->min_out == def->max_out ? "%d" : "%d-%d", def->min_out,
             def->max_out);
    if (markdown)
        printf("| %s | %d | %s | %s | %s | %s |\n", name, def->since, inputs, outputs,
               op_class_name(def->op_class), half_rule_name(def->half));
    else
        printf("%-28s %5d  %-6s %-7s %-14s %s\n", name, def->since, inputs, outputs,
               op_class_name(def->op_class), half_rule_name(def->half));
}

/* Indices of the table in alphabetical order. */
static int sorted_ops(OpId *order) {
    int count = 0;
    for (int id = OP_NONE + 1; id < OP_COUNT; ++id) {
        if (strcmp(op_def((OpId)id)->domain, "smelt") == 0) continue; /* what passes add: no model has it */
        int at = count++;
        for (; at > 0 && strcmp(op_def(order[at - 1])->name, op_def((OpId)id)->name) > 0; --at)
            order[at] = order[at - 1];
        order[at] = (OpId)id;
    }
    return count;
}

static void print_form(const ImportForm *form, bool markdown) {
    char name[NAME_SIZE], opsets[32], becomes[256];
    full_name(form->domain, form->op, name);
    if (form->last > 0)
        snprintf(opsets, sizeof opsets, "%d-%d", form->first > 0 ? form->first : 1, form->last);
    else if (form->first > 0)
        snprintf(opsets, sizeof opsets, "from %d", form->first);
    else
        snprintf(opsets, sizeof opsets, "all");
    snprintf(becomes, sizeof becomes, "%s%s%s", form->kept ? form->op : "",
             form->kept && form->others[0] != '\0' ? " " : "", form->others);
    if (markdown)
        printf("| %s | %s | %s |\n", name, opsets, becomes);
    else
        printf("%-48s %-7s  %s\n", name, opsets, becomes);
}

static void print_forms(bool markdown) {
    ImportForm form;
    if (markdown)
        printf("\n| form | opsets | becomes |\n|---|---|---|\n");
    else
        printf("\n%-48s %-7s  %s\n", "form", "opsets", "becomes");
    for (int32_t i = 0; import_form(i, &form); ++i) print_form(&form, markdown);
}

Status command_ops(App *app, const Command *self, int argc, char **argv) {
    bool markdown = false, done;
    const Option table[] = {{"markdown", 0, OPTION_FLAG, &markdown, NULL, "as a Markdown table", 0, 0}};
    TextList none = {0};
    TRY(command_begin(app, self, argc, argv, table, 1, &none, 0, 0, &done));
    if (done) return STATUS_OK;
    OpId order[OP_COUNT];
    int count = sorted_ops(order);
    if (markdown)
        printf("| operator | opset | inputs | outputs | class | precision |\n|---|---|---|---|---|---|\n");
    else
        printf("%-28s %5s  %-6s %-7s %-14s %s\n", "operator", "opset", "inputs", "outputs", "class",
               "precision");
    for (int i = 0; i < count; ++i) print_row(op_def(order[i]), markdown);
    if (!markdown) printf("%d operators; older opsets from 7 on are rewritten to these meanings\n", count);
    print_forms(markdown);
    return STATUS_OK;
}
