/* SPDX-License-Identifier: Apache-2.0 */
/* The decision "which view": a binary search over an address space that was cut into ranges when the
 * configuration was loaded. Pure: no I/O, no state, no allocation; kept in a file of its own to be proved
 * (invariants 1 and 10). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* An address as a number, most significant half first. */
typedef struct view_key {
  uint64_t hi, lo;
} view_key_t;

/*@ predicate view_key_at_most(view_key_t a, view_key_t b) = a.hi < b.hi || (a.hi == b.hi && a.lo <= b.lo);
  @
  @ // range i of the table holds key
  @ predicate view_choice_holds{L}(view_key_t *starts, integer count, integer i, view_key_t key) =
  @   0 <= i < count && view_key_at_most(starts[i], key) &&
  @   (i + 1 == count || !view_key_at_most(starts[i + 1], key));
  @*/

/* starts[0..count) is ascending, and starts[0] is at most key (it is zero). Range i holds the keys from
 * starts[i] to the one before starts[i + 1]; the last range holds all the rest. Returns the i whose range
 * holds key. */
/*@ requires count >= 1;
  @ requires \valid_read(starts + (0 .. count - 1));
  @ requires view_key_at_most(starts[0], key);
  @ assigns \nothing;
  @ ensures view_choice_holds(starts, count, \result, key);
  @*/
size_t view_choice_find(const view_key_t *starts, size_t count, view_key_t key);

/*@ // the same for IPv4, whose addresses are numbers of 32 bits: a quarter of the memory to look through
  @ predicate view_choice_v4_holds{L}(uint32_t *starts, integer count, integer i, uint32_t key) =
  @   0 <= i < count && starts[i] <= key && (i + 1 == count || key < starts[i + 1]);
  @*/
/*@ requires count >= 1;
  @ requires \valid_read(starts + (0 .. count - 1));
  @ requires starts[0] <= key;
  @ assigns \nothing;
  @ ensures view_choice_v4_holds(starts, count, \result, key);
  @*/
size_t view_choice_find_v4(const uint32_t *starts, size_t count, uint32_t key);
