/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/matrix.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "resolver/answer/probe.h"
#include "resolver/limits.h"
#include "resolver/zone/name_hash.h"

enum {
  LABELS_MAX = 128,
  DIFFERENCE_MAX = 4096,
  CELL_MAX = 1500,
};

/* A type that some zone has at a name. */
typedef struct entry {
  dns_name_t name;
  uint16_t type;
} entry_t;

/* Each once, found by an open-addressed table. */
typedef struct entries {
  entry_t *items;
  size_t count, cap;
  uint32_t *table; /* a position in items plus one; 0: free */
} entries_t;

enum { TABLE_SIZE = 1 << 19 };
_Static_assert(TABLE_SIZE >= 2 * MATRIX_QUESTIONS_MAX, "the table is at most half full");

static int grow(entries_t *e)
{
  size_t cap = e->cap == 0 ? 256 : e->cap * 2;
  entry_t *items = reallocarray(e->items, cap, sizeof *items);
  if (items == NULL)
    return SMPL_ENOMEM;
  e->items = items;
  e->cap = cap;
  return SMPL_OK;
}

/* An overlay and its base, and zones of one origin in several views, have names in common: each counts once.
 */
static int add(entries_t *e, const dns_name_t *name, uint16_t type)
{
  size_t at = (name_hash(name->wire, name->len) + type) % TABLE_SIZE;
  for (; e->table[at] != 0; at = (at + 1) % TABLE_SIZE) {
    const entry_t *there = &e->items[e->table[at] - 1];
    if (there->type == type && dns_name_equal(&there->name, name))
      return SMPL_OK;
  }
  if (e->count >= MATRIX_QUESTIONS_MAX)
    return SMPL_ELIMIT;
  if (e->count == e->cap && grow(e))
    return SMPL_ENOMEM;
  e->items[e->count++] = (entry_t){*name, type};
  e->table[at] = (uint32_t)e->count;
  return SMPL_OK;
}

static int add_owner(void *ctx, const dns_name_t *name, const uint16_t *types, size_t count)
{
  int err = SMPL_OK;
  for (size_t i = 0; !err && i < count; i++)
    if (types[i] !=
        DNS_TYPE_SOA) /* its serial changes with every edit: no table to compare with would agree */
      err = add(ctx, name, types[i]);
  return err;
}

static unsigned label_offsets(const dns_name_t *n, uint8_t *at)
{
  unsigned count = 0;
  for (unsigned i = 0; n->wire[i] != 0; i += n->wire[i] + 1u)
    at[count++] = (uint8_t)i;
  return count;
}

/* RFC 4034 section 6.1: from the rightmost label. */
static int name_order(const dns_name_t *a, const dns_name_t *b)
{
  uint8_t at_a[LABELS_MAX];
  uint8_t at_b[LABELS_MAX];
  unsigned na = label_offsets(a, at_a);
  unsigned nb = label_offsets(b, at_b);
  while (na > 0 && nb > 0) {
    const uint8_t *la = a->wire + at_a[--na];
    const uint8_t *lb = b->wire + at_b[--nb];
    int c = memcmp(la + 1, lb + 1, la[0] < lb[0] ? la[0] : lb[0]);
    if (c == 0)
      c = (int)la[0] - (int)lb[0];
    if (c != 0)
      return c;
  }
  return (int)na - (int)nb;
}

static int entry_order(const void *left, const void *right)
{
  const entry_t *a = left;
  const entry_t *b = right;
  int c = name_order(&a->name, &b->name);
  return c != 0 ? c : (int)a->type - (int)b->type;
}

/* What the zone has, unless it was seen. */
static int add_zone(zone_in_view_t z, bool *seen, entries_t *e)
{
  if (z.zone == NULL || seen[zone_number(z.zone)])
    return SMPL_OK;
  seen[zone_number(z.zone)] = true;
  return zone_each_owner(z, add_owner, e);
}

/* All owners and types of the zones that some view has, itself or below an overlay, sorted, each once. */
static int collect(const snapshot_t *s, entries_t *e)
{
  const settings_t *settings = snapshot_settings(s);
  bool *seen = calloc(snapshot_zone_count(s) + 1, sizeof *seen);
  e->table = calloc(TABLE_SIZE, sizeof *e->table);
  int err = seen == NULL || e->table == NULL ? SMPL_ENOMEM : SMPL_OK;
  for (size_t i = 0; !err && i < snapshot_view_count(s); i++) {
    const view_conf_t *v = settings_view_at(settings, i);
    for (size_t j = 0; !err && j < v->zones.count; j++) {
      size_t number = settings_zone(settings, settings_name_at(&v->zones, j));
      zone_in_view_t z;
      if (!view_zone_for(snapshot_view(s, i), zone_origin(snapshot_zone(s, number)), 0, &z))
        continue;
      err = add_zone(z, seen, e);
      if (!err)
        err = add_zone(zone_base(z), seen, e);
    }
  }
  free(seen);
  free(e->table);
  e->table = NULL;
  if (!err && e->count > 0)
    qsort(e->items, e->count, sizeof *e->items, entry_order);
  return err;
}

/* ---- cells ---- */

typedef struct cell {
  const dns_name_t *name;
  json_t *records;
  bool referral;
} cell_t;

static bool has(const json_t *list, const char *text)
{
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item)
  {
    if (strcmp(json_string_value(item), text) == 0)
      return true;
  }
  return false;
}

static void take_record(void *ctx, unsigned section, const dns_rr_t *rr, const char *text, const char *tail)
{
  cell_t *c = ctx;
  char line[CELL_MAX];
  (void)text;
  dns_name_t owner = rr->owner;
  dns_name_lower(&owner);
  if (section == 1 && c->referral && rr->type == DNS_TYPE_NS)
    snprintf(line, sizeof line, "delegation to %s", tail + sizeof "NS");
  else if (section == 0 && dns_name_equal(&owner, c->name))
    snprintf(line, sizeof line, "%s", tail);
  else
    return;
  if (!has(c->records, line))
    json_array_append_new(c->records, json_string(line));
}

static json_t *cell_json(const view_t *view, const entry_t *entries, size_t count, probe_t *p)
{
  cell_t c = {.name = &entries[0].name, .records = json_array()};
  const char *empty = "no data";
  for (size_t i = 0; i < count; i++) {
    probe_ask(view, EXCHANGE_TCP, c.name, entries[i].type, p);
    if (p->note.rcode == DNS_RCODE_REFUSED)
      empty = "refused";
    else if (p->note.rcode == DNS_RCODE_NXDOMAIN)
      empty = "no such name";
    c.referral = p->note.rcode == DNS_RCODE_NOERROR && !(probe_flags(p) & DNS_FLAG_AA);
    probe_records(p, take_record, &c);
  }
  if (json_array_size(c.records) > 0)
    return c.records;
  json_decref(c.records);
  return json_string(empty);
}

static json_t *names_json(const snapshot_t *s, const entries_t *e, probe_t *p)
{
  json_t *names = json_object();
  for (size_t i = 0; i < e->count;) {
    size_t n = 1;
    char text[DNS_NAME_TEXT_MAX];
    while (i + n < e->count && dns_name_equal(&e->items[i].name, &e->items[i + n].name))
      n++;
    json_t *row = json_object();
    for (size_t v = 0; v < snapshot_view_count(s); v++) {
      const view_t *view = snapshot_view(s, v);
      json_object_set_new(row, view_name(view), cell_json(view, e->items + i, n, p));
    }
    json_object_set_new(names, dns_name_to_text(&e->items[i].name, text), row);
    i += n;
  }
  return names;
}

json_t *matrix(const snapshot_t *s, diag_t *diag)
{
  entries_t e = {0};
  json_t *reply = NULL;
  probe_t *p = malloc(sizeof *p);
  int err = p == NULL ? SMPL_ENOMEM : collect(s, &e);
  size_t views = snapshot_view_count(s);
  if (err == SMPL_ELIMIT || (!err && views > 0 && e.count > MATRIX_QUESTIONS_MAX / views)) {
    diag_fail(diag, SMPL_ELIMIT,
              "a table of at most %d names and types times views can be made: there are more",
              (int)MATRIX_QUESTIONS_MAX);
  } else if (err) {
    diag_fail(diag, err, "%s", smpl_strerror(err));
  } else {
    json_t *list = json_array();
    for (size_t i = 0; i < views; i++)
      json_array_append_new(list, json_string(view_name(snapshot_view(s, i))));
    reply = json_pack("{s:b, s:o, s:o}", "ok", 1, "views", list, "names", names_json(s, &e, p));
    if (reply == NULL)
      diag_fail(diag, SMPL_ENOMEM, "out of memory");
  }
  free(e.items);
  free(p);
  return reply;
}

/* ---- differences ---- */

void matrix_cell_text(const json_t *cell, char *buf, size_t cap)
{
  size_t used = 0;
  buf[0] = '\0';
  if (json_is_string(cell)) {
    snprintf(buf, cap, "%s", json_string_value(cell));
    return;
  }
  size_t i;
  json_t *item;
  json_array_foreach(cell, i, item)
  {
    const char *text = json_string_value(item);
    int n = snprintf(buf + used, cap - used, "%s%s", i > 0 ? ", " : "", text != NULL ? text : "?");
    if (n < 0 || (size_t)n >= cap - used)
      return;
    used += (size_t)n;
  }
  if (cell == NULL)
    snprintf(buf, cap, "not in the table");
}

/* The order of records within a cell means nothing. */
static bool same_cell(const json_t *a, const json_t *b)
{
  if (!json_is_array(a) || !json_is_array(b))
    return json_equal(a, b);
  size_t i;
  json_t *item;
  json_array_foreach(a, i, item)
  {
    if (!json_is_string(item) || !has(b, json_string_value(item)))
      return false;
  }
  return json_array_size(a) == json_array_size(b);
}

static void compare_cell(const char *name, const char *view, const json_t *want, const json_t *got,
                         json_t *lines)
{
  char line[DIFFERENCE_MAX];
  char left[CELL_MAX];
  char right[CELL_MAX];
  if (same_cell(want, got))
    return;
  matrix_cell_text(want, left, sizeof left);
  matrix_cell_text(got, right, sizeof right);
  snprintf(line, sizeof line, "%s in view '%s': expected %s; is %s", name, view, left, right);
  json_array_append_new(lines, json_string(line));
}

static void compare_row(const char *name, const json_t *want, const json_t *got, json_t *lines)
{
  const char *view;
  json_t *cell;
  json_object_foreach((json_t *)want, view, cell)
      compare_cell(name, view, cell, json_object_get(got, view), lines);
  json_object_foreach((json_t *)got, view, cell)
  {
    if (json_object_get(want, view) == NULL)
      compare_cell(name, view, NULL, cell, lines);
  }
}

static bool is_table(const json_t *names)
{
  const char *name;
  const char *view;
  json_t *row;
  json_t *cell;
  json_object_foreach((json_t *)names, name, row)
  {
    if (!json_is_object(row))
      return false;
    json_object_foreach(row, view, cell)
    {
      size_t i;
      json_t *item;
      if (!json_is_array(cell) && !json_is_string(cell))
        return false;
      json_array_foreach(cell, i, item)
      {
        if (!json_is_string(item))
          return false;
      }
    }
  }
  return json_is_object(names);
}

json_t *matrix_differences(const json_t *want, const json_t *got)
{
  const json_t *left = json_object_get(want, "names");
  const json_t *right = json_object_get(got, "names");
  json_t *lines = json_array();
  if (lines == NULL || !is_table(left) || !is_table(right)) {
    json_decref(lines);
    return NULL;
  }
  const char *name;
  json_t *row;
  json_object_foreach((json_t *)left, name, row) compare_row(name, row, json_object_get(right, name), lines);
  json_object_foreach((json_t *)right, name, row)
  {
    if (json_object_get(left, name) == NULL)
      compare_row(name, NULL, row, lines);
  }
  return lines;
}
