/* SPDX-License-Identifier: Apache-2.0 */
/* Configured names by value: a sorted index over a list that stays where it is. */
#pragma once

#include <stddef.h>

typedef struct names names_t;

/* get(list, i) is the i-th of count names; list is borrowed. NULL when out of memory. The caller frees it. */
names_t *names_new(const void *list, size_t count, const char *(*get)(const void *list, size_t i));
void names_free(names_t *names);

/* Position in the list; SIZE_MAX if there is none. The first of several. */
size_t names_find(const names_t *names, const char *name);

/* The position of a name that stands in the list before; SIZE_MAX if all differ. *first is where it stood
 * first. */
size_t names_duplicate(const names_t *names, size_t *first);
