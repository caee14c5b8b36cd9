/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "tunnel/run/job.h"

/* Stand in the scripts for what the tables hold: @COMMANDS@ and @OPTIONS@ (joined by spaces), @FILES@
 * (options that take a file, joined by |), @ARGUMENTS@ (what completes behind each command), @FLAGS@ (fish's
 * line of each option). */
static const char bash[] =
    "# eval \"$(smpl-tunnel completion bash)\"\n"
    "_smpl_tunnel() {\n"
    "  local cur words\n"
    "  _get_comp_words_by_ref -n : cur 2>/dev/null || cur=${COMP_WORDS[COMP_CWORD]}\n"
    "  case ${COMP_WORDS[COMP_CWORD-1]} in\n"
    "    @FILES@) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
    "    --stdio) COMPREPLY=($(compgen -W \"$(smpl-tunnel completion targets)\" -- \"$cur\")); return ;;\n"
    "@ARGUMENTS@"
    "  esac\n"
    "  if [[ $cur == -* ]]; then\n"
    "    words='@OPTIONS@'\n"
    "  elif [[ $cur == *:* ]]; then\n"
    "    local t\n"
    "    words=$(for t in $(smpl-tunnel completion targets); do printf '%s ' \"${cur%:*}:$t\"; done)\n"
    "  else\n"
    "    local t; words=\"@COMMANDS@\"\n"
    "    [[ -n $cur && $cur != *[!0-9]* ]] &&\n"
    "      words=$(for t in $(smpl-tunnel completion targets); do printf '%s ' \"$cur:$t\"; done)\n"
    "  fi\n"
    "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions \"$cur\"\n"
    "  if ! declare -F __ltrim_colon_completions >/dev/null && [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; "
    "then\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"${cur%:*}:\"}\")\n"
    "  fi\n"
    "}\n"
    "complete -F _smpl_tunnel smpl-tunnel\n";

static const char zsh[] = "#compdef smpl-tunnel\n"
                          "# eval \"$(smpl-tunnel completion zsh)\", after compinit\n"
                          "_smpl_tunnel() {\n"
                          "  local -a targets commands\n"
                          "  targets=(${(f)\"$(smpl-tunnel completion targets)\"})\n"
                          "  commands=(@COMMANDS@)\n"
                          "  case $words[CURRENT-1] in\n"
                          "    @FILES@) _files; return ;;\n"
                          "    --stdio) compadd -a targets; return ;;\n"
                          "@ARGUMENTS@"
                          "  esac\n"
                          "  if [[ $PREFIX == -* ]]; then\n"
                          "    compadd -- @OPTIONS@\n"
                          "  elif [[ $PREFIX == *:* ]]; then\n"
                          "    compset -P '*:'\n"
                          "    compadd -a targets\n"
                          "  elif [[ $PREFIX == <-> ]]; then\n"
                          "    compadd -p \"$PREFIX:\" -U -a targets\n"
                          "  else\n"
                          "    compadd -a commands\n"
                          "  fi\n"
                          "}\n"
                          "compdef _smpl_tunnel smpl-tunnel\n";

static const char fish[] = "# smpl-tunnel completion fish | source\n"
                           "function __smpl_tunnel_forwards\n"
                           "  set -l cur (commandline -ct)\n"
                           "  set -l local (string replace -r ':[^:]*$' '' -- $cur)\n"
                           "  string match -qr '^[0-9]' -- $cur; or return\n"
                           "  for t in (smpl-tunnel completion targets)\n"
                           "    echo $local:$t\n"
                           "  end\n"
                           "end\n"
                           "complete -c smpl-tunnel -f -a '(__smpl_tunnel_forwards)'\n"
                           "complete -c smpl-tunnel -f -n __fish_use_subcommand -a '@COMMANDS@'\n"
                           "@ARGUMENTS@"
                           "@FLAGS@";

/* How a shell completes behind a command: from words, or from a list that `completion` prints. */
typedef struct shell {
  const char *name, *script;
  const char *words, *list; /* formats of the command's name and those */
} shell_t;

static const shell_t shells[] = {
    {"bash", bash, "    %s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n",
     "    %s) COMPREPLY=($(compgen -W \"$(smpl-tunnel completion %s 2>/dev/null)\" -- \"$cur\")); return "
     ";;\n"},
    {"zsh", zsh, "    %s) compadd %s; return ;;\n",
     "    %s) compadd ${(f)\"$(smpl-tunnel completion %s 2>/dev/null)\"}; return ;;\n"},
    {"fish", fish, "complete -c smpl-tunnel -f -n '__fish_seen_subcommand_from %s' -a '%s'\n",
     "complete -c smpl-tunnel -f -n '__fish_seen_subcommand_from %s' -a '(smpl-tunnel completion %s "
     "2>/dev/null)'\n"},
};

static bool takes_file(const option_row_t *r)
{
  return r->arg && strcmp(r->arg, "FILE") == 0;
}

static void print_commands(const command_set_t *commands)
{
  for (size_t i = 0; i < commands->count; i++)
    printf("%s%s", i ? " " : "", command_at(commands, i)->name);
}

static void print_options(void)
{
  const option_row_t *r;
  for (size_t i = 0; (r = options_row(i)); i++)
    printf("%s--%s", i ? " " : "", r->name);
}

static void print_files(void)
{
  const option_row_t *r;
  const char *gap = "";
  for (size_t i = 0; (r = options_row(i)); i++) {
    if (!takes_file(r))
      continue;
    printf("%s", gap);
    if (r->letter < 128)
      printf("-%c|", r->letter);
    printf("--%s", r->name);
    gap = "|";
  }
}

/* What completes behind a command. The formats are those of the table above. */
static void print_arguments(const command_set_t *commands, const shell_t *shell)
{
  for (size_t i = 0; i < commands->count; i++) {
    const cli_command_t *c = (const cli_command_t *)command_at(commands, i);
    const char *format = !c->completes ? NULL : strchr(c->completes, ' ') ? shell->words : shell->list;
    for (const char *at = format, *arg = c->row.name; at && *at; at++) {
      if (at[0] == '%' && at[1] == 's') {
        fputs(arg, stdout);
        arg = c->completes;
        at++;
      } else {
        putchar(*at);
      }
    }
  }
}

static void print_flags(void)
{
  const option_row_t *r;
  for (size_t i = 0; (r = options_row(i)); i++) {
    printf("complete -c smpl-tunnel -l %s", r->name);
    if (r->letter < 128)
      printf(" -s %c", r->letter);
    if (takes_file(r))
      printf(" -r -F");
    else if (r->arg && strncmp(r->arg, "TARGET", 6) == 0)
      printf(" -x -a '(smpl-tunnel completion targets)'");
    else if (r->arg && r->arg[1] != '=')
      printf(" -x");
    printf(" -d \"");
    for (const char *c = r->help; *c; c++)
      printf("%s%c", strchr("\"$\\", *c) ? "\\" : "", *c);
    printf("\"\n");
  }
}

/* "@NAME@"; bash's "[@]" is none. */
static const char *next_mark(const char *at)
{
  while ((at = strchr(at, '@')) && (at[1] < 'A' || at[1] > 'Z'))
    at++;
  return at;
}

static void print_script(const command_set_t *commands, const shell_t *shell)
{
  const char *at = shell->script;
  for (const char *mark; (mark = next_mark(at));) {
    size_t len = strcspn(mark + 1, "@");
    fwrite(at, 1, (size_t)(mark - at), stdout);
    at = mark + len + 2;
    if (strncmp(mark + 1, "COMMANDS", len) == 0)
      print_commands(commands);
    else if (strncmp(mark + 1, "OPTIONS", len) == 0)
      print_options();
    else if (strncmp(mark + 1, "FILES", len) == 0)
      print_files();
    else if (strncmp(mark + 1, "ARGUMENTS", len) == 0)
      print_arguments(commands, shell);
    else
      print_flags();
  }
  fputs(at, stdout);
}

int completion_print(const command_set_t *commands, const options_t *options, say_t *say)
{
  const char *word = options->words[0];
  for (size_t i = 0; i < sizeof shells / sizeof *shells; i++) {
    if (strcmp(word, shells[i].name) == 0) {
      print_script(commands, &shells[i]);
      return EXIT_ENDED;
    }
  }
  if (strcmp(word, "targets") == 0) {
    job_print_targets();
    return EXIT_ENDED;
  }
  if (strcmp(word, "sets") == 0) {
    for (size_t i = 0; i < options->set_count; i++)
      puts(options->sets[i]);
    return EXIT_ENDED;
  }
  char text[160];
  snprintf(text, sizeof text, "no completion for '%.40s': bash, zsh and fish are known", word);
  say_end(say, EXIT_USAGE, NULL, text);
  return EXIT_USAGE;
}
