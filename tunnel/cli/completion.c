/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "tunnel/run/job.h"

static const char bash[] =
    "# eval \"$(smpl-tunnel completion bash)\"\n"
    "_smpl_tunnel() {\n"
    "  local cur words\n"
    "  _get_comp_words_by_ref -n : cur 2>/dev/null || cur=${COMP_WORDS[COMP_CWORD]}\n"
    "  case ${COMP_WORDS[COMP_CWORD-1]} in\n"
    "    -c|--config|-i|--identity|-F|--ssh-config|--known-hosts) COMPREPLY=($(compgen -f -- \"$cur\")); "
    "return ;;\n"
    "    completion) COMPREPLY=($(compgen -W 'bash zsh fish' -- \"$cur\")); return ;;\n"
    "    why|--stdio) COMPREPLY=($(compgen -W \"$(smpl-tunnel completion targets)\" -- \"$cur\")); return "
    ";;\n"
    "    up) COMPREPLY=($(compgen -W \"$(smpl-tunnel completion sets 2>/dev/null)\" -- \"$cur\")); return "
    ";;\n"
    "  esac\n"
    "  if [[ $cur == -* ]]; then\n"
    "    words='--bastion --socks --open --stdio --user --identity --config --ssh-config --known-hosts "
    "--any-user "
    "--gateway\n"
    "      --json --quiet --verbose --help --version'\n"
    "  elif [[ $cur == *:* ]]; then\n"
    "    local t; words=$(for t in $(smpl-tunnel completion targets); do printf '%s ' \"${cur%:*}:$t\"; "
    "done)\n"
    "  else\n"
    "    local t; words=\"up ls whoami why status stop completion\"\n"
    "    [[ -n $cur && $cur != *[!0-9]* ]] && words=$(for t in $(smpl-tunnel completion targets); do printf "
    "'%s ' \"$cur:$t\"; done)\n"
    "  fi\n"
    "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
    "  declare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions \"$cur\"\n"
    "  if ! declare -F __ltrim_colon_completions >/dev/null && [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; "
    "then\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"${cur%:*}:\"}\")\n"
    "  fi\n"
    "}\n"
    "complete -F _smpl_tunnel smpl-tunnel\n";

static const char zsh[] =
    "#compdef smpl-tunnel\n"
    "# eval \"$(smpl-tunnel completion zsh)\", after compinit\n"
    "_smpl_tunnel() {\n"
    "  local -a targets commands\n"
    "  targets=(${(f)\"$(smpl-tunnel completion targets)\"})\n"
    "  commands=(up ls whoami why status stop completion)\n"
    "  case $words[CURRENT-1] in\n"
    "    -c|--config|-i|--identity|-F|--ssh-config|--known-hosts) _files; return ;;\n"
    "    completion) compadd bash zsh fish; return ;;\n"
    "    why|--stdio) compadd -a targets; return ;;\n"
    "    up) compadd ${(f)\"$(smpl-tunnel completion sets 2>/dev/null)\"}; return ;;\n"
    "  esac\n"
    "  if [[ $PREFIX == -* ]]; then\n"
    "    compadd -- --bastion --socks --open --stdio --user --identity --config --ssh-config "
    "--known-hosts --any-user --gateway \\\n"
    "      --json --quiet --verbose --help --version\n"
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

static const char fish[] =
    "# smpl-tunnel completion fish | source\n"
    "function __smpl_tunnel_forwards\n"
    "  set -l cur (commandline -ct)\n"
    "  set -l local (string replace -r ':[^:]*$' '' -- $cur)\n"
    "  string match -qr '^[0-9]' -- $cur; or return\n"
    "  for t in (smpl-tunnel completion targets)\n"
    "    echo $local:$t\n"
    "  end\n"
    "end\n"
    "complete -c smpl-tunnel -f -a '(__smpl_tunnel_forwards)'\n"
    "complete -c smpl-tunnel -f -n __fish_use_subcommand -a 'up ls whoami why status stop completion'\n"
    "complete -c smpl-tunnel -f -n '__fish_seen_subcommand_from why' -a '(smpl-tunnel completion targets)'\n"
    "complete -c smpl-tunnel -f -n '__fish_seen_subcommand_from up' -a '(smpl-tunnel completion sets "
    "2>/dev/null)'\n"
    "complete -c smpl-tunnel -f -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
    "complete -c smpl-tunnel -l bastion -x -d '[USER@]HOST[:PORT]'\n"
    "complete -c smpl-tunnel -l socks -s D -x -d 'SOCKS5 proxy on this port'\n"
    "complete -c smpl-tunnel -l open -d 'open the browser'\n"
    "complete -c smpl-tunnel -l stdio -x -a '(smpl-tunnel completion targets)'\n"
    "complete -c smpl-tunnel -l user -s l -x\n"
    "complete -c smpl-tunnel -l identity -s i -r -F\n"
    "complete -c smpl-tunnel -l config -s c -r -F\n"
    "complete -c smpl-tunnel -l ssh-config -s F -r -F\n"
    "complete -c smpl-tunnel -l known-hosts -r -F\n"
    "complete -c smpl-tunnel -l any-user -d 'serve all users of this machine'\n"
    "complete -c smpl-tunnel -l gateway -s g -d 'let BIND be reached by other machines'\n"
    "complete -c smpl-tunnel -l json\n"
    "complete -c smpl-tunnel -l quiet -s q\n"
    "complete -c smpl-tunnel -l verbose -s v\n"
    "complete -c smpl-tunnel -l help -s h\n"
    "complete -c smpl-tunnel -l version -s V\n";

int completion_print(const options_t *options, say_t *say)
{
  const char *word = options->words[0];
  static const struct {
    const char *shell, *script;
  } scripts[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    if (strcmp(word, scripts[i].shell) == 0) {
      fputs(scripts[i].script, stdout);
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
