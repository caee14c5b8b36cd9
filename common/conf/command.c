/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/command.h"

#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/conf/manual.h"

enum {
  NEAR_EDITS = 2,     /* between a word and the nearest command */
  SHORT_NAME = 3,     /* bytes: of such a name one edit is enough */
  NEAREST_PREFIX = 2, /* bytes of a name that are worth a guess */
  SYNTAX_MAX = 256,
  HELP_COLUMN = 34,
};

const char *const command_open_roles[COMMAND_ROLE_ANY + 1] = {[COMMAND_ROLE_ANY] = "anybody"};

/* ---- text that grows in a buffer, and is cut at its end ---- */

typedef struct text {
  char *buf;
  size_t cap, used;
} text_t;

static text_t text_in(char *buf, size_t cap)
{
  buf[0] = '\0';
  return (text_t){buf, cap, 0};
}

static void add(text_t *t, const char *what)
{
  size_t len = strlen(what);
  size_t room = t->cap - t->used - 1;
  if (len > room)
    len = room;
  memcpy(t->buf + t->used, what, len);
  t->used += len;
  t->buf[t->used] = '\0';
}

/* One of `count` names: "a", "a or b", "a, b or c". */
static void add_listed(text_t *t, const char *name, size_t i, size_t count, const char *last)
{
  if (i > 0 && i + 1 == count) {
    add(t, " ");
    add(t, last);
    add(t, " ");
  } else if (i > 0) {
    add(t, ", ");
  }
  add(t, name);
}

/* ---- rows ---- */

const command_row_t *command_at(const command_set_t *set, size_t i)
{
  return (const command_row_t *)((const char *)set->rows + i * set->stride);
}

const void *command_find(const command_set_t *set, const char *name)
{
  for (size_t i = 0; i < set->count; i++)
    if (strcmp(command_at(set, i)->name, name) == 0)
      return command_at(set, i);
  return NULL;
}

static const char *role_name(const command_set_t *set, unsigned role)
{
  return role != COMMAND_ROLE_NONE && role < set->role_count ? set->roles[role] : NULL;
}

bool command_may(const command_set_t *set, const command_row_t *row, unsigned role)
{
  return role_name(set, row->role) != NULL && role_name(set, role) != NULL && role >= row->role;
}

char *command_names(const command_set_t *set, unsigned role, const char *last, char *buf, size_t cap)
{
  text_t t = text_in(buf, cap);
  size_t count = 0, shown = 0;
  for (size_t i = 0; i < set->count; i++)
    count += command_may(set, command_at(set, i), role);
  for (size_t i = 0; i < set->count; i++)
    if (command_may(set, command_at(set, i), role))
      add_listed(&t, command_at(set, i)->name, shown++, count, last);
  return buf;
}

/* ---- the nearest ---- */

/* Edits from the word to the name; a name that goes on where the word ends counts as one. UINT_MAX: not near.
 */
static unsigned distance(const char *word, const char *name)
{
  size_t len = strlen(word);
  unsigned most = strlen(name) <= SHORT_NAME ? 1 : NEAR_EDITS;
  if (len >= NEAREST_PREFIX && strncmp(word, name, len) == 0)
    return 1;
  unsigned edits = text_distance(word, name);
  return edits <= most ? edits : NEAR_EDITS + 1;
}

/* "did you mean stop or status?": those that are equally near. False: none is near. */
static bool guess(const command_set_t *set, unsigned role, const char *word, char *buf, size_t cap)
{
  text_t t = text_in(buf, cap);
  unsigned best = NEAR_EDITS;
  size_t count = 0, shown = 0;
  for (size_t i = 0; i < set->count; i++) {
    unsigned edits = distance(word, command_at(set, i)->name);
    if (edits > best || !command_may(set, command_at(set, i), role))
      continue;
    count = edits < best ? 1 : count + 1;
    best = edits;
  }
  add(&t, "did you mean ");
  for (size_t i = 0; i < set->count && count > 0; i++)
    if (command_may(set, command_at(set, i), role) && distance(word, command_at(set, i)->name) == best)
      add_listed(&t, command_at(set, i)->name, shown++, count, "or");
  add(&t, "?");
  return count > 0;
}

static int fail_unknown(const command_set_t *set, unsigned role, const char *name, diag_t *diag)
{
  char shown[COMMAND_NAME_SHOWN + 1], rest[DIAG_TEXT_MAX / 2];
  size_t len = strnlen(name, COMMAND_NAME_SHOWN + 1);
  text_printable(shown, sizeof shown, name, len);
  if (len <= COMMAND_NAME_SHOWN && guess(set, role, name, rest, sizeof rest))
    return diag_fail(diag, SMPL_ENOENT, "unknown command '%s': %s", shown, rest);
  command_names(set, role, "or", rest, sizeof rest);
  if (rest[0] == '\0')
    return diag_fail(diag, SMPL_ENOENT, "unknown command '%s'", shown);
  return diag_fail(diag, SMPL_ENOENT, "unknown command '%s': expected %s", shown, rest);
}

/* ---- which command is meant ---- */

static int check_role(const command_set_t *set, unsigned role, const command_row_t *row, diag_t *diag)
{
  const char *needs = role_name(set, row->role);
  if (command_may(set, row, role))
    return SMPL_OK;
  if (needs == NULL)
    return diag_fail(diag, SMPL_EDENIED, "%s: no role may give this command", row->name);
  return diag_fail(diag, SMPL_EDENIED, "%s needs the role %s", row->name, needs);
}

int command_take(const command_set_t *set, unsigned role, const char *name, const void **row, diag_t *diag)
{
  char names[DIAG_TEXT_MAX / 2];
  *row = NULL;
  if (name == NULL)
    return diag_fail(diag, SMPL_EINVAL, "the command is missing: expected %s",
                     command_names(set, role, "or", names, sizeof names));
  const command_row_t *found = command_find(set, name);
  if (found == NULL)
    return fail_unknown(set, role, name, diag);
  int err = check_role(set, role, found, diag);
  if (!err)
    *row = found;
  return err;
}

static int check_count(const command_set_t *set, const command_row_t *row, int count, char *const *words,
                       diag_t *diag)
{
  char syntax[SYNTAX_MAX], shown[COMMAND_NAME_SHOWN + 1];
  command_syntax(set, row, syntax, sizeof syntax);
  if ((unsigned)count < row->min)
    return diag_fail(diag, SMPL_EINVAL, "%s: too few arguments; usage: %s", row->name, syntax);
  if ((unsigned)count <= row->max)
    return SMPL_OK;
  const char *extra = words[row->max];
  text_printable(shown, sizeof shown, extra, strlen(extra));
  return diag_fail(diag, SMPL_EINVAL, "%s: '%s' is too much; usage: %s", row->name, shown, syntax);
}

/* The command that two words name, else NULL. */
static const command_row_t *find_pair(const command_set_t *set, const char *first, const char *second)
{
  size_t len = strlen(first);
  for (size_t i = 0; i < set->count; i++) {
    const char *name = command_at(set, i)->name;
    if (strncmp(name, first, len) == 0 && name[len] == ' ' && strcmp(name + len + 1, second) == 0)
      return command_at(set, i);
  }
  return NULL;
}

int command_take_words(const command_set_t *set, unsigned role, int argc, char *const *argv, const void **row,
                       int *used, diag_t *diag)
{
  const command_row_t *pair = argc > 1 ? find_pair(set, argv[0], argv[1]) : NULL;
  *used = pair != NULL ? 2 : argc > 0 ? 1 : 0;
  int err = command_take(set, role, pair != NULL ? pair->name : argc > 0 ? argv[0] : NULL, row, diag);
  if (!err)
    err = check_count(set, *row, argc - *used, argv + *used, diag);
  if (err)
    *row = NULL;
  return err;
}

/* ---- options ---- */

static bool ends_option(char c)
{
  return strchr(" =[]|,", c) != NULL; /* the NUL too */
}

bool command_has_option(const command_row_t *row, const char *option)
{
  size_t len = strlen(option);
  if (row == NULL || row->options == NULL || len == 0)
    return false;
  for (const char *at = row->options; (at = strstr(at, option)) != NULL; at++)
    if ((at == row->options || ends_option(at[-1])) && ends_option(at[len]))
      return true;
  return false;
}

int command_check_option(const command_set_t *set, const command_row_t *row, const char *option, diag_t *diag)
{
  char names[DIAG_TEXT_MAX / 2];
  text_t t = text_in(names, sizeof names);
  size_t count = 0, shown = 0;
  if (command_has_option(row, option))
    return SMPL_OK;
  for (size_t i = 0; i < set->count; i++)
    count += command_has_option(command_at(set, i), option);
  for (size_t i = 0; i < set->count; i++)
    if (command_has_option(command_at(set, i), option))
      add_listed(&t, command_at(set, i)->name, shown++, count, "and");
  if (count == 0)
    return diag_fail(diag, SMPL_EINVAL, "no command takes %s", option);
  return diag_fail(diag, SMPL_EINVAL, "%s goes with %s only", option, names);
}

/* ---- texts ---- */

/* "explain NAME [TYPE] --from ADDR", without the program. */
static void add_syntax(text_t *t, const command_row_t *row)
{
  add(t, row->name);
  if (row->args != NULL) {
    add(t, " ");
    add(t, row->args);
  }
  if (row->options != NULL) {
    add(t, " ");
    add(t, row->options);
  }
}

char *command_syntax(const command_set_t *set, const command_row_t *row, char *buf, size_t cap)
{
  text_t t = text_in(buf, cap);
  if (set->program != NULL) {
    add(&t, set->program);
    add(&t, " ");
  }
  add_syntax(&t, row);
  return buf;
}

void command_print_usage(const command_set_t *set, FILE *to)
{
  char syntax[SYNTAX_MAX];
  for (size_t i = 0; i < set->count; i++) {
    const command_row_t *row = command_at(set, i);
    text_t t = text_in(syntax, sizeof syntax);
    add_syntax(&t, row);
    if (t.used + 2 <= HELP_COLUMN)
      fprintf(to, "  %-*s%s\n", HELP_COLUMN, syntax, row->help);
    else
      fprintf(to, "  %s\n  %-*s%s\n", syntax, HELP_COLUMN, "", row->help);
  }
}

static void print_behind(const char *text, FILE *to)
{
  if (text == NULL)
    return;
  fputc(' ', to);
  manual_print_syntax(text, to);
}

void command_print_manual(const command_set_t *set, FILE *to)
{
  for (size_t i = 0; i < set->count; i++) {
    const command_row_t *row = command_at(set, i);
    fprintf(to, "*%s*", row->name);
    print_behind(row->args, to);
    print_behind(row->options, to);
    fputc('\n', to);
    manual_print_sentence(row->help, to);
  }
}

/* ---- what is wrong with a table ---- */

static const char *row_flaw(const command_set_t *set, const command_row_t *row)
{
  if (row->help == NULL || row->help[0] == '\0' || strlen(row->help) > COMMAND_HELP_MAX ||
      strchr(row->help, '\n') != NULL)
    return "help is not one line";
  if (role_name(set, row->role) == NULL)
    return "no role";
  if (row->min > row->max)
    return "min is above max";
  if ((row->max > 0) != (row->args != NULL))
    return "args and the number of words do not agree";
  return command_find(set, row->name) == row ? NULL : "the name is there twice";
}

const char *command_flaw(const command_set_t *set, char *buf, size_t cap)
{
  for (size_t i = 0; i < set->count; i++) {
    const command_row_t *row = command_at(set, i);
    bool named = row->name != NULL && row->name[0] != '\0';
    const char *flaw = named ? row_flaw(set, row) : "no name";
    if (flaw == NULL)
      continue;
    snprintf(buf, cap, "row %zu (%s): %s", i + 1, named ? row->name : "", flaw);
    return buf;
  }
  return NULL;
}
