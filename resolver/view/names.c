/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/view/names.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct item {
  const char *name;
  size_t position;
} item_t;

struct names {
  size_t count;
  item_t items[];
};

static int compare(const void *left, const void *right)
{
  const item_t *a = left;
  const item_t *b = right;
  int c = strcmp(a->name, b->name);
  return c != 0 ? c : (a->position > b->position) - (a->position < b->position);
}

names_t *names_new(const void *list, size_t count, const char *(*get)(const void *list, size_t i))
{
  names_t *n = calloc(1, sizeof *n + count * sizeof(item_t));
  if (n == NULL)
    return NULL;
  n->count = count;
  for (size_t i = 0; i < count; i++)
    n->items[i] = (item_t){get(list, i), i};
  qsort(n->items, count, sizeof(item_t), compare);
  return n;
}

void names_free(names_t *names)
{
  free(names);
}

size_t names_find(const names_t *names, const char *name)
{
  size_t low = 0;
  size_t high = names->count;
  while (low < high) {
    size_t mid = low + (high - low) / 2;
    if (strcmp(names->items[mid].name, name) < 0)
      low = mid + 1;
    else
      high = mid;
  }
  if (low == names->count || strcmp(names->items[low].name, name) != 0)
    return SIZE_MAX;
  return names->items[low].position;
}

size_t names_duplicate(const names_t *names, size_t *first)
{
  for (size_t i = 1; i < names->count; i++) {
    if (strcmp(names->items[i].name, names->items[i - 1].name) != 0)
      continue;
    *first = names->items[i - 1].position;
    return names->items[i].position;
  }
  return SIZE_MAX;
}
