/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/phase.h"

#include <stddef.h>

void phase_begin(phases_t *phases, phased_t *item)
{
  phase_list_t *list = &phases->lists[item->phase];
  item->previous = list->last;
  item->next = NULL;
  if (list->last != NULL)
    list->last->next = item;
  else
    list->first = item;
  list->last = item;
}

void phase_leave(phases_t *phases, phased_t *item)
{
  phase_list_t *list = &phases->lists[item->phase];
  if (item->previous != NULL)
    item->previous->next = item->next;
  else
    list->first = item->next;
  if (item->next != NULL)
    item->next->previous = item->previous;
  else
    list->last = item->previous;
  item->previous = item->next = NULL;
}

void phase_enter(phases_t *phases, phased_t *item, phase_t phase, uint64_t now, uint64_t wait_ms)
{
  phase_leave(phases, item);
  item->phase = phase;
  item->since = now;
  item->deadline = now + wait_ms;
  phase_begin(phases, item);
}
