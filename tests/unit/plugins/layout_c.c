/* The headers as C11 sees them: that this compiles, pedantically, is half of the test. */
#include "tests/unit/plugins/layout_c.h"

#include "helo/extensions.h"
#include "helo/plugin.h"
#include "helo/reasons.h"

#define LAYOUT_STRUCT(type) {#type, 0, sizeof(type)},
#define LAYOUT_FIELD(type, field) \
  {#type "." #field, offsetof(type, field), sizeof(((type*)0)->field)},
#define LAYOUT_CONSTANT(name) {#name, (size_t)(name), 0},

const struct layout_line layout_of_c[] = {
#include "tests/unit/plugins/layout_table.inc"
    {NULL, 0, 0}};
