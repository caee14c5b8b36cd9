/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/completion.h"

#include <ctype.h>
#include <string.h>

#include "common/base/error.h"

/* Marks in the scripts stand for what the tables hold: @COMMANDS@ and @OPTIONS@ (joined by blanks),
 * @ARGUMENTS@ (what completes behind a word), @FLAGS@ (fish's line of each option), @OWN@ (what the program
 * adds), @PROGRAM@, and @NAME@ (the program as a function's name). In a line of @ARGUMENTS@: @AT@ (the words
 * before, joined by |) and @LIST@. */
static const char bash[] =
    "# eval \"$(@PROGRAM@ completion bash)\"\n"
    "_@NAME@() {\n"
    "  local cur words\n"
    "  _get_comp_words_by_ref -n : cur 2>/dev/null || cur=${COMP_WORDS[COMP_CWORD]}\n"
    "  case ${COMP_WORDS[COMP_CWORD-1]} in\n"
    "@ARGUMENTS@"
    "  esac\n"
    "  if [[ $cur == -* ]]; then\n"
    "    words='@OPTIONS@'\n"
    "@OWN@"
    "  else\n"
    "    words='@COMMANDS@'\n"
    "  fi\n"
    "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions \"$cur\"\n"
    "  if ! declare -F __ltrim_colon_completions >/dev/null && [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; "
    "then\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"${cur%:*}:\"}\")\n"
    "  fi\n"
    "}\n"
    "complete -F _@NAME@ @PROGRAM@\n";

static const char zsh[] = "#compdef @PROGRAM@\n"
                          "# eval \"$(@PROGRAM@ completion zsh)\", after compinit\n"
                          "_@NAME@() {\n"
                          "  case $words[CURRENT-1] in\n"
                          "@ARGUMENTS@"
                          "  esac\n"
                          "  if [[ $PREFIX == -* ]]; then\n"
                          "    compadd -- @OPTIONS@\n"
                          "@OWN@"
                          "  else\n"
                          "    compadd @COMMANDS@\n"
                          "  fi\n"
                          "}\n"
                          "compdef _@NAME@ @PROGRAM@\n";

static const char fish[] = "# @PROGRAM@ completion fish | source\n"
                           "complete -c @PROGRAM@ -f\n"
                           "@OWN@"
                           "complete -c @PROGRAM@ -f -n __fish_use_subcommand -a '@COMMANDS@'\n"
                           "@ARGUMENTS@"
                           "@FLAGS@";

typedef struct shell {
  const char *name, *script;
  const char *words, *list, *files; /* lines of @ARGUMENTS@ */
  bool flags;                       /* options have lines of their own */
} shell_t;

static const shell_t shells[] = {
    {"bash", bash, "    @AT@) COMPREPLY=($(compgen -W '@LIST@' -- \"$cur\")); return ;;\n",
     "    @AT@) COMPREPLY=($(compgen -W \"$(@PROGRAM@ completion @LIST@ 2>/dev/null)\" -- \"$cur\")); return "
     ";;\n",
     "    @AT@) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", false},
    {"zsh", zsh, "    @AT@) compadd @LIST@; return ;;\n",
     "    @AT@) compadd ${(f)\"$(@PROGRAM@ completion @LIST@ 2>/dev/null)\"}; return ;;\n",
     "    @AT@) _files; return ;;\n", false},
    {"fish", fish, "complete -c @PROGRAM@ -f -n '__fish_seen_subcommand_from @AT@' -a '@LIST@'\n",
     "complete -c @PROGRAM@ -f -n '__fish_seen_subcommand_from @AT@' -a '(@PROGRAM@ completion @LIST@ "
     "2>/dev/null)'\n",
     "complete -c @PROGRAM@ -F -n '__fish_seen_subcommand_from @AT@'\n", true},
};

typedef struct writer {
  const completion_t *c;
  const shell_t *shell;
  const char *at, *list; /* of the line that is being written */
  FILE *to;
} writer_t;

static void print_marked(writer_t *w, const char *text);

/* ---- the words of the tables ---- */

static const char *second_word(const char *name)
{
  const char *blank = strchr(name, ' ');
  return blank != NULL ? blank + 1 : NULL;
}

/* Whether the row at i is the first whose name begins with this word. */
static bool begins(const command_set_t *set, size_t i)
{
  const char *name = command_at(set, i)->name;
  size_t len = strcspn(name, " ");
  for (size_t j = 0; j < i; j++) {
    const char *other = command_at(set, j)->name;
    if (strcspn(other, " ") == len && memcmp(other, name, len) == 0)
      return false;
  }
  return true;
}

static void print_commands(writer_t *w)
{
  const command_set_t *set = w->c->commands;
  for (size_t i = 0; i < set->count; i++) {
    const char *name = command_at(set, i)->name;
    if (begins(set, i))
      fprintf(w->to, "%s%.*s", i > 0 ? " " : "", (int)strcspn(name, " "), name);
  }
}

static void print_options(writer_t *w)
{
  for (size_t i = 0; i < w->c->options->count; i++)
    fprintf(w->to, "%s--%s", i > 0 ? " " : "", option_at(w->c->options, i)->name);
}

static void print_line(writer_t *w, const char *line, const char *at, const char *list)
{
  w->at = at;
  w->list = list;
  print_marked(w, line);
}

static void print_behind_command(writer_t *w, const command_row_t *row)
{
  const char *second = second_word(row->name);
  const char *last = second != NULL ? second : row->name;
  char first[COMMAND_NAME_SHOWN];
  if (second != NULL) {
    snprintf(first, sizeof first, "%.*s", (int)strcspn(row->name, " "), row->name);
    print_line(w, w->shell->words, first, second);
  }
  if (row->completes != NULL)
    print_line(w, strchr(row->completes, ' ') != NULL ? w->shell->words : w->shell->list, last,
               row->completes);
  else if (row->args != NULL && strstr(row->args, "FILE") != NULL)
    print_line(w, w->shell->files, last, "");
}

static void print_behind_option(writer_t *w, const option_row_t *row)
{
  enum { NAMES_MAX = 64 };
  char names[NAMES_MAX];
  const char *line = option_takes_file(row)   ? w->shell->files
                     : row->completes != NULL ? w->shell->list
                                              : NULL;
  int used = row->letter < OPTION_LONG ? snprintf(names, sizeof names, "-%c|", (char)row->letter) : 0;
  snprintf(names + used, sizeof names - (size_t)used, "--%s", row->name);
  if (line != NULL)
    print_line(w, line, names, row->completes);
}

static void print_arguments(writer_t *w)
{
  for (size_t i = 0; i < w->c->options->count && !w->shell->flags; i++)
    print_behind_option(w, option_at(w->c->options, i));
  for (size_t i = 0; i < w->c->commands->count; i++)
    print_behind_command(w, command_at(w->c->commands, i));
}

static void print_flags(writer_t *w)
{
  for (size_t i = 0; i < w->c->options->count; i++) {
    const option_row_t *row = option_at(w->c->options, i);
    fprintf(w->to, "complete -c %s -l %s", w->c->commands->program, row->name);
    if (row->letter < OPTION_LONG)
      fprintf(w->to, " -s %c", row->letter);
    if (option_takes_file(row))
      fputs(" -r -F", w->to);
    else if (row->completes != NULL)
      fprintf(w->to, " -x -a '(%s completion %s)'", w->c->commands->program, row->completes);
    else if (row->arg != NULL && !option_is_optional(row))
      fputs(" -x", w->to);
    fputs(" -d \"", w->to);
    for (const char *at = row->help != NULL ? row->help : ""; *at != '\0'; at++)
      fprintf(w->to, "%s%c", strchr("\"$\\", *at) != NULL ? "\\" : "", *at);
    fputs("\"\n", w->to);
  }
}

/* ---- the script ---- */

static void print_program(writer_t *w)
{
  fputs(w->c->commands->program, w->to);
}

static void print_name(writer_t *w)
{
  for (const char *at = w->c->commands->program; *at != '\0'; at++)
    fputc(isalnum((unsigned char)*at) ? *at : '_', w->to);
}

static void print_own(writer_t *w)
{
  const char *own = w->shell->script == bash ? w->c->bash : w->shell->script == zsh ? w->c->zsh : w->c->fish;
  if (own != NULL)
    print_marked(w, own);
}

static void print_at(writer_t *w)
{
  fputs(w->at, w->to);
}

static void print_list(writer_t *w)
{
  fputs(w->list, w->to);
}

static const struct mark {
  const char *name;
  void (*print)(writer_t *w);
} marks[] = {
    {"@PROGRAM@", print_program},
    {"@NAME@", print_name},
    {"@COMMANDS@", print_commands},
    {"@OPTIONS@", print_options},
    {"@ARGUMENTS@", print_arguments},
    {"@FLAGS@", print_flags},
    {"@OWN@", print_own},
    {"@AT@", print_at},
    {"@LIST@", print_list},
};

/* The mark that text begins with; NULL: none. */
static const struct mark *mark_of(const char *text)
{
  for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
    if (strncmp(text, marks[i].name, strlen(marks[i].name)) == 0)
      return &marks[i];
  return NULL;
}

static void print_marked(writer_t *w, const char *text)
{
  while (*text != '\0') {
    const struct mark *mark = *text == '@' ? mark_of(text) : NULL;
    if (mark != NULL) {
      mark->print(w);
      text += strlen(mark->name);
    } else {
      fputc(*text++, w->to);
    }
  }
}

int completion_print(const completion_t *completion, const char *shell, FILE *to, diag_t *diag)
{
  writer_t w = {.c = completion, .to = to};
  for (size_t i = 0; i < sizeof shells / sizeof *shells; i++)
    if (strcmp(shell, shells[i].name) == 0)
      w.shell = &shells[i];
  if (w.shell == NULL)
    return diag_fail(diag, SMPL_ENOENT, "no completion for '%.40s': bash, zsh and fish are known", shell);
  print_marked(&w, w.shell->script);
  return SMPL_OK;
}
