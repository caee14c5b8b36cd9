/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/cli/inspect.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/net/control.h"
#include "common/base/error.h"
#include "common/process/file.h"
#include "resolver/cli/commands.h"
#include "resolver/control/explain.h"
#include "resolver/limits.h"
#include "resolver/control/matrix.h"

enum {
  CELL_TEXT = 1500,
  COLUMN_MAX = 48, /* characters that a column is padded to at most */
};

static const char *string(const json_t *object, const char *key)
{
  const char *s = json_string_value(json_object_get(object, key));
  return s != NULL ? s : "";
}

static void print_json(const json_t *reply)
{
  json_dumpf(reply, stdout, JSON_INDENT(2));
  printf("\n");
}

/* Takes over the reference to body. */
static int ask(const command_t *c, const arguments_t *a, json_t *body, json_t **reply, diag_t *diag)
{
  *reply = NULL;
  const char *path = a->socket != NULL ? a->socket : commands_default_socket;
  int err = body == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory")
                         : control_call(path, body, c->served.row.timeout_ms, reply, diag);
  json_decref(body);
  return err;
}

/* ---- explain ---- */

static void print_list(const char *what, const json_t *list)
{
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item) printf("  %-18s %s\n", i == 0 ? what : "", json_string_value(item));
}

static void print_step(size_t number, const json_t *step)
{
  printf("  %zu. %s\n", number, string(step, "name"));
  printf("     %-18s%s (view %s)\n", "zone",
         json_is_null(json_object_get(step, "zone")) ? "none" : string(step, "zone"), string(step, "view"));
  if (json_is_null(json_object_get(step, "zone")))
    return;
  printf("     %-18s%s\n", "closest encloser",
         json_is_true(json_object_get(step, "exists")) ? "the name itself"
                                                       : string(step, "closest_encloser"));
  if (json_is_string(json_object_get(step, "wildcard")))
    printf("     %-18s%s\n", "wildcard", string(step, "wildcard"));
  printf("     %-18s%s", "found", string(step, "found"));
  if (json_object_get(step, "owner") != NULL)
    printf(" at %s", string(step, "owner"));
  printf("\n");
}

static void print_explained(const json_t *e)
{
  const json_t *answer = json_object_get(e, "answer");
  size_t i;
  json_t *item;
  printf("dns listener %s\n", string(e, "listener"));
  printf("  %-18s %s\n", "network",
         json_is_null(json_object_get(e, "network")) ? "none holds the client" : string(e, "network"));
  printf("  %-18s %s\n", "view", json_is_null(json_object_get(e, "view")) ? "none" : string(e, "view"));
  json_array_foreach(json_object_get(e, "steps"), i, item) print_step(i + 1, item);
  printf("  %-18s %s%s%s\n", "answer", string(answer, "rcode"),
         json_array_size(json_object_get(answer, "flags")) > 0 ? ", authoritative" : "",
         json_is_true(json_object_get(answer, "truncated_over_udp")) ? ", truncated over UDP" : "");
  print_list("  records", json_object_get(answer, "answer"));
  print_list("  authority", json_object_get(answer, "authority"));
  print_list("  additional", json_object_get(answer, "additional"));
  printf("  %-18s %s\n", "why", string(e, "why"));
  print_list("to change that", json_object_get(e, "change"));
}

static int explain_offline(const char *config, const explain_question_t *q, json_t **reply, diag_t *diag)
{
  snapshot_t *s;
  int err = snapshot_load(config, 1, &s, diag);
  if (err)
    return err;
  *reply = explain(s, q, diag);
  snapshot_free(s);
  return *reply != NULL ? SMPL_OK : SMPL_EINVAL;
}

int inspect_explain(const command_t *c, const arguments_t *a, diag_t *diag)
{
  const char *name = a->words[0], *type = a->word_count > 1 ? a->words[1] : NULL;
  explain_question_t q;
  json_t *reply = NULL;
  int err = explain_read(name, type, a->from, a->listener, &q, diag);
  if (err)
    return err;
  if (a->config != NULL)
    err = explain_offline(a->config, &q, &reply, diag);
  else
    err = ask(c, a,
              json_pack("{s:s, s:s, s:s?, s:s, s:s?}", "cmd", c->served.row.name, "name", name, "type", type,
                        "from", a->from, "listener", a->listener),
              &reply, diag);
  if (err)
    return err;
  if (a->json) {
    print_json(reply);
  } else {
    size_t i;
    json_t *item;
    printf("%s %s from %s\n", string(reply, "name"), string(reply, "type"), string(reply, "from"));
    json_array_foreach(json_object_get(reply, "listeners"), i, item) print_explained(item);
  }
  json_decref(reply);
  return SMPL_OK;
}

/* ---- matrix ---- */

static size_t cell_lines(const json_t *cell)
{
  return json_is_array(cell) ? json_array_size(cell) : 1;
}

static const char *cell_line(const json_t *cell, size_t i)
{
  if (!json_is_array(cell))
    return i == 0 && json_is_string(cell) ? json_string_value(cell) : "";
  const char *text = json_string_value(json_array_get(cell, i));
  return text != NULL ? text : "";
}

static int width_of(size_t most, const char *text)
{
  size_t len = strlen(text);
  return (int)(len > COLUMN_MAX ? COLUMN_MAX : len > most ? len : most);
}

static void measure(const json_t *reply, int *widths)
{
  const char *name;
  const char *view;
  json_t *row;
  json_t *cell;
  widths[0] = sizeof "NAME";
  json_object_foreach(json_object_get(reply, "names"), name, row)
  {
    size_t column = 1;
    widths[0] = width_of((size_t)widths[0], name);
    json_object_foreach(row, view, cell)
    {
      int w = width_of((size_t)widths[column], view);
      for (size_t i = 0; i < cell_lines(cell); i++)
        w = width_of((size_t)w, cell_line(cell, i));
      widths[column++] = w;
    }
  }
}

/* Refused is dim; a record that not all views tell alike stands out. */
static const char *colour_of(const json_t *row, const json_t *cell)
{
  const char *view;
  json_t *other;
  if (!json_is_array(cell))
    return "\033[2m";
  json_object_foreach((json_t *)row, view, other)
  {
    if (!json_equal(cell, other))
      return "\033[33m";
  }
  return "\033[32m";
}

static void print_row(const char *name, json_t *row, const int *widths, bool colour)
{
  size_t lines = 1;
  const char *view;
  json_t *cell;
  json_object_foreach(row, view, cell) lines = cell_lines(cell) > lines ? cell_lines(cell) : lines;
  for (size_t i = 0; i < lines; i++) {
    size_t column = 1;
    printf("%-*s", widths[0], i == 0 ? name : "");
    json_object_foreach(row, view, cell)
    {
      int width = column < json_object_size(row) ? widths[column] : 0;
      printf("  %s%-*s%s", colour ? colour_of(row, cell) : "", width, cell_line(cell, i),
             colour ? "\033[0m" : "");
      column++;
    }
    printf("\n");
  }
}

static int print_table(const json_t *reply, diag_t *diag)
{
  const json_t *views = json_object_get(reply, "views");
  bool colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
  int *widths = calloc(json_array_size(views) + 1, sizeof *widths);
  if (widths == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  measure(reply, widths);
  size_t i;
  json_t *item;
  printf("%-*s", widths[0], "NAME");
  json_array_foreach(views, i, item) printf("  %-*s", widths[i + 1], json_string_value(item));
  printf("\n");
  const char *name;
  json_t *row;
  json_object_foreach(json_object_get(reply, "names"), name, row) print_row(name, row, widths, colour);
  free(widths);
  return SMPL_OK;
}

static int print_differences(const char *path, const json_t *got, diag_t *diag)
{
  char *text = NULL;
  size_t len = 0;
  json_error_t why;
  int err = file_read(path, EXPECT_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  json_t *want = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
  free(text);
  if (want == NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s:%d:%d: %s", path, why.line, why.column, why.text);
  json_t *lines = matrix_differences(want, got);
  json_decref(want);
  if (lines == NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s: expected a table as matrix --json prints it", path);
  size_t count = json_array_size(lines);
  size_t i;
  json_t *item;
  json_array_foreach(lines, i, item) printf("%s\n", json_string_value(item));
  json_decref(lines);
  return count == 0 ? SMPL_OK : diag_fail(diag, SMPL_EINVAL, "%s: %zu differences", path, count);
}

static int matrix_offline(const char *config, json_t **reply, diag_t *diag)
{
  snapshot_t *s;
  int err = snapshot_load(config, 1, &s, diag);
  if (err)
    return err;
  *reply = matrix(s, diag);
  snapshot_free(s);
  return *reply != NULL ? SMPL_OK : SMPL_EINVAL;
}

int inspect_matrix(const command_t *c, const arguments_t *a, diag_t *diag)
{
  json_t *reply = NULL;
  int err = a->config != NULL ? matrix_offline(a->config, &reply, diag)
                              : ask(c, a, json_pack("{s:s}", "cmd", c->served.row.name), &reply, diag);
  if (err)
    return err;
  if (a->expect != NULL)
    err = print_differences(a->expect, reply, diag);
  else if (a->json)
    print_json(reply);
  else
    err = print_table(reply, diag);
  json_decref(reply);
  return err;
}
