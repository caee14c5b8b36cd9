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

/* starts[0..count) is strictly ascending, starts[0] is zero and so is at most key. Range i holds the keys
 * from starts[i] to the one before starts[i + 1]; the last range holds all the rest. Returns the i whose
 * range holds key. count >= 1. */
size_t view_choice_find(const view_key_t *starts, size_t count, view_key_t key);
