#include "resolver/view_choice.h"

#include <stdbool.h>

static bool at_most(view_key_t a, view_key_t b)
{
  return a.hi < b.hi || (a.hi == b.hi && a.lo <= b.lo);
}

size_t view_choice_find(const view_key_t *starts, size_t count, view_key_t key)
{
  size_t low = 0;      /* starts[low] <= key */
  size_t high = count; /* high == count or key < starts[high] */
  while (high - low > 1) {
    size_t mid = low + (high - low) / 2;
    if (at_most(starts[mid], key))
      low = mid;
    else
      high = mid;
  }
  return low;
}
