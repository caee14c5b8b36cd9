/* SPDX-License-Identifier: Apache-2.0 */
/* JSON:API 1.1 documents as smplkit's clients send and expect them: bodies taken apart, lists with pages,
 * filters and sort, resources put together. Reading functions fill a problem_t (problem.h) and touch nothing
 * else. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/limits.h"
#include "app/store/problem.h"

/* What a list understands. */
typedef struct jsonapi_list_spec {
  const char *const *sorts; /* field names, ends with NULL; the list's sort is an index into it */
  int default_sort;         /* index */
  bool default_descending;
  const char *const *filters; /* "filter[parent]", ..., ends with NULL, at most JSONAPI_FILTERS_MAX */
} jsonapi_list_spec_t;

typedef struct jsonapi_list {
  int64_t page, size; /* page from 1 */
  bool total;
  int sort;
  bool descending;
  const char
      *filters[JSONAPI_FILTERS_MAX]; /* as in the specification's order; NULL: not asked for; borrowed */
} jsonapi_list_t;

/* Reads one parameter of the query. 0, or SMPL_EINVAL with what is wrong in detail
 * (PROBLEM_DETAIL_MAX bytes). */
int jsonapi_list_parameter(const jsonapi_list_spec_t *spec, jsonapi_list_t *list, const char *name,
                           const char *value, char *detail);
void jsonapi_list_defaults(const jsonapi_list_spec_t *spec, jsonapi_list_t *list);
/* "true", "false", "1", "0" in any case. SMPL_EINVAL. */
int jsonapi_bool(const char *text, bool *out);
/* Rows to leave out before the page. */
int64_t jsonapi_offset(const jsonapi_list_t *list);

/* Makes it the page that begins at the same row and has at most fits rows (1 or more): of the largest size
 * that divides the one asked for, so that the pages after it follow with page[size] and page[number] + 1 as
 * the reply tells them. */
void jsonapi_list_shorten(jsonapi_list_t *list, int64_t fits);

/* What a body says about data.id. */
typedef enum jsonapi_id {
  JSONAPI_ID_REQUIRED, /* create: the client chooses */
  JSONAPI_ID_OPTIONAL, /* replace: may repeat or, where allowed, rename */
  JSONAPI_ID_REFUSED,  /* create: the server chooses */
} jsonapi_id_t;

/* Takes {"data": {"type": type, "id": ..., "attributes": {...}}} apart. *id is NULL if absent. Borrowed from
 * body. */
int jsonapi_body(const json_t *body, const char *type, jsonapi_id_t rule, const char **id,
                 const json_t **attributes, problem_t *problem);

/* One attribute's rule. */
typedef struct jsonapi_field {
  const char *name;
  enum { FIELD_STRING, FIELD_OBJECT, FIELD_ARRAY, FIELD_BOOL, FIELD_ANY, FIELD_READ_ONLY } kind;
  bool required; /* present and, but for FIELD_ANY, not null */
  bool nullable;
  size_t max; /* FIELD_STRING: characters, 0 for no limit of its own; FIELD_OBJECT, FIELD_ARRAY: members */
} jsonapi_field_t;

/* Every member of object has a rule in fields and follows it; FIELD_READ_ONLY members are accepted and
 * ignored. The table ends with name == NULL. */
int jsonapi_check(const json_t *object, const jsonapi_field_t *fields, const place_t *place,
                  problem_t *problem);
/* Characters of UTF-8 text. */
size_t jsonapi_length(const char *text);

/* Documents. They take the reference of attributes and data; NULL when out of memory (or when given NULL). */
json_t *jsonapi_resource(const char *type, const char *id, json_t *attributes);
json_t *jsonapi_document(json_t *resource);
/* total is written if the list asked for it. */
json_t *jsonapi_list_document(json_t *data, const jsonapi_list_t *list, int64_t total);
/* A time attribute: RFC 3339, or null for a negative ms. */
json_t *jsonapi_time(int64_t wall_ms);
/* Text or null. */
json_t *jsonapi_text(const char *text);
