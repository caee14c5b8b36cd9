/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/commands.h"

#include "common/conf/completion.h"
#include "tunnel/cli/completion.h"
#include "tunnel/cli/manage.h"
#include "tunnel/cli/options.h"
#include "tunnel/limits.h"
#include "tunnel/run/tunnel.h"

static int run_tunnel(const options_t *options, say_t *say)
{
  return tunnel_run(&options->task, say);
}

static int run_completion(const options_t *options, say_t *say)
{
  return completion_run(&commands, options, say);
}

static const cli_command_t rows[] = {
    {{"up", "SET...", 1, WORDS_MAX, .role = COMMAND_ROLE_ANY, .help = "makes forwards that tunnel.yaml names",
      .completes = "sets"},
     "which set, as in: smpl-tunnel up backend",
     run_tunnel,
     .from_sets = true},
    {{"ls", .role = COMMAND_ROLE_ANY, .help = "lists what you may reach"},
     "no words behind it",
     run_tunnel,
     .job = &job_ls},
    {{"whoami", .role = COMMAND_ROLE_ANY, .help = "tells who you are at the bastion, and your limits"},
     "no words behind it",
     run_tunnel,
     .job = &job_whoami},
    {{"why", "TARGET[:PORT]", 1, 1, .role = COMMAND_ROLE_ANY,
      .help = "tells why you may reach a target, or may not", .completes = "targets"},
     "one target, as in: smpl-tunnel why config.internal:8000",
     run_tunnel,
     .job = &job_why,
     .about_target = true},
    {{"status", .role = COMMAND_ROLE_ANY, .help = "lists your running tunnels on this machine"},
     "no words behind it",
     manage_print_status,
     .local = true},
    {{"stop", "[PID|PORT|all]", 0, 1, .role = COMMAND_ROLE_ANY, .help = "ends running tunnels"},
     "one PID or PORT as status shows them, or all",
     manage_stop_others,
     .local = true},
    {{"completion", "bash|zsh|fish", 1, 1, .role = COMMAND_ROLE_ANY,
      .help = "prints a script that completes commands in your shell", .completes = COMPLETION_SHELLS},
     "one of bash, zsh, fish",
     run_completion,
     .local = true},
};

const command_set_t commands = {COMMAND_ROWS(rows), COMMAND_OPEN, .program = "smpl-tunnel"};
