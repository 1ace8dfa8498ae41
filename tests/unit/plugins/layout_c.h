/* What the C11 source and the C++20 source of the layout test share. */
#ifndef HELO_TESTS_LAYOUT_C_H_
#define HELO_TESTS_LAYOUT_C_H_
#include <stddef.h>
#ifdef __cplusplus
extern "C" {
#endif

/* One line of the layout: a type (offset 0), a field, or a constant (size 0, offset its value). */
struct layout_line {
  const char* name;
  size_t offset;
  size_t size;
};

/* As a C11 compiler sees it; ends with a line without a name. */
extern const struct layout_line layout_of_c[];

#ifdef __cplusplus
}
#endif
#endif
