/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/conf/completion.h"
#include "tunnel/run/job.h"

/* Forwards: behind a local port and a colon stands a target. */
static const char bash[] =
    "  elif [[ $cur == *:* ]]; then\n"
    "    words=$(for t in $(@PROGRAM@ completion targets); do printf '%s ' \"${cur%:*}:$t\"; done)\n"
    "  elif [[ -n $cur && $cur != *[!0-9]* ]]; then\n"
    "    words=$(for t in $(@PROGRAM@ completion targets); do printf '%s ' \"$cur:$t\"; done)\n";

static const char zsh[] = "  elif [[ $PREFIX == *:* ]]; then\n"
                          "    compset -P '*:'\n"
                          "    compadd ${(f)\"$(@PROGRAM@ completion targets)\"}\n"
                          "  elif [[ $PREFIX == <-> ]]; then\n"
                          "    compadd -p \"$PREFIX:\" -U ${(f)\"$(@PROGRAM@ completion targets)\"}\n";

static const char fish[] = "function __@NAME@_forwards\n"
                           "  set -l cur (commandline -ct)\n"
                           "  set -l local (string replace -r ':[^:]*$' '' -- $cur)\n"
                           "  string match -qr '^[0-9]' -- $cur; or return\n"
                           "  for t in (@PROGRAM@ completion targets)\n"
                           "    echo $local:$t\n"
                           "  end\n"
                           "end\n"
                           "complete -c @PROGRAM@ -f -a '(__@NAME@_forwards)'\n";

int completion_run(const command_set_t *commands, const options_t *options, say_t *say)
{
  const completion_t completion = {commands, &option_rows, bash, zsh, fish};
  const char *word = options->words[0];
  diag_t diag = {""};
  if (strcmp(word, "targets") == 0) {
    job_print_targets();
    return EXIT_ENDED;
  }
  if (strcmp(word, "sets") == 0) {
    for (size_t i = 0; i < options->set_count; i++)
      puts(options->sets[i]);
    return EXIT_ENDED;
  }
  if (completion_print(&completion, word, stdout, &diag) == SMPL_OK)
    return EXIT_ENDED;
  say_end(say, EXIT_USAGE, NULL, diag.text);
  return EXIT_USAGE;
}
