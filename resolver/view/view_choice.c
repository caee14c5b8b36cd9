/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/view_choice.h"

#include <stdbool.h>

/*@ assigns \nothing;
  @ ensures \result <==> view_key_at_most(a, b);
  @*/
static bool at_most(view_key_t a, view_key_t b)
{
  return a.hi < b.hi || (a.hi == b.hi && a.lo <= b.lo);
}

size_t view_choice_find(const view_key_t *starts, size_t count, view_key_t key)
{
  size_t low = 0;      /* starts[low] <= key */
  size_t high = count; /* high == count or key < starts[high] */
  /*@ loop invariant 0 <= low < high <= count;
    @ loop invariant view_key_at_most(starts[low], key);
    @ loop invariant high == count || !view_key_at_most(starts[high], key);
    @ loop assigns low, high;
    @ loop variant high - low;
    @*/
  while (high - low > 1) {
    size_t mid = low + (high - low) / 2;
    if (at_most(starts[mid], key))
      low = mid;
    else
      high = mid;
  }
  //@ assert high == low + 1;
  return low;
}

size_t view_choice_find_v4(const uint32_t *starts, size_t count, uint32_t key)
{
  size_t low = 0;      /* starts[low] <= key */
  size_t high = count; /* high == count or key < starts[high] */
  /*@ loop invariant 0 <= low < high <= count;
    @ loop invariant starts[low] <= key;
    @ loop invariant high == count || key < starts[high];
    @ loop assigns low, high;
    @ loop variant high - low;
    @*/
  while (high - low > 1) {
    size_t mid = low + (high - low) / 2;
    if (starts[mid] <= key)
      low = mid;
    else
      high = mid;
  }
  //@ assert high == low + 1;
  return low;
}
