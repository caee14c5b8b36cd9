/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-tunnel: local ports that lead through a bastion. */
#include <libssh/libssh.h>
#include <malloc.h>
#include <stdio.h>

#include "common/process/crash.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "tunnel/cli/commands.h"
#include "tunnel/cli/options.h"
#include "tunnel/cli/usage.h"
#include "tunnel/run/tunnel.h"

static int run(const options_t *options, say_t *say)
{
  return options->command ? options->command->run(options, say) : tunnel_run(&options->task, say);
}

int main(int argc, char **argv)
{
  harden_process();
  log_init("smpl-tunnel", LOG_LEVEL_INFO);
  crash_catch("smpl-tunnel");
#ifdef M_ARENA_MAX
  mallopt(M_ARENA_MAX, 1); /* the threads work in turns: one heap is smaller than three */
#endif
  if (ssh_init() != SSH_OK) {
    fputs("smpl-tunnel: cannot start: libssh\n", stderr);
    return EXIT_OTHER;
  }
  options_t options;
  diag_t diag = {0};
  bool in_file;
  int status = EXIT_ENDED;
  bool fine = options_read(argc, argv, &commands, &options, &in_file, &diag) == SMPL_OK;
  if (fine)
    harden_core_dumps(options.core_dumps);
  say_t say;
  say_init(&say, options.json, options.quiet, options.verbose);
  if (!fine) {
    status = in_file ? EXIT_OTHER : EXIT_USAGE;
    say_end(&say, (exit_code_t)status, NULL, diag.text);
    if (options.task.exec && !options.command)
      status = EXIT_FOR_COMMAND;
  } else if (options.help) {
    usage_print(&commands, stdout);
  } else if (options.version) {
    puts("smpl-tunnel " SMPL_VERSION);
  } else {
    status = run(&options, &say);
  }
  options_free(&options);
  return status;
}
