/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/usage.h"

#include "tunnel/cli/options.h"

static const char top[] =
    "Usage: smpl-tunnel [OPTION]... [BIND:]PORT:TARGET[:PORT]... [-- COMMAND ARGUMENT...]\n"
    "       smpl-tunnel [OPTION]... PATH:TARGET[:PORT]...       a unix socket instead of a port\n"
    "       smpl-tunnel [OPTION]... one of these:\n";

static const char middle[] =
    "Makes services behind a bastion reachable on local ports, until Ctrl-C.\n"
    "\n"
    "  smpl-tunnel 8080:config.internal        then open http://localhost:8080\n"
    "\n"
    "BIND is a loopback address (both families of localhost by default), PORT the local port (0: any free\n"
    "one). Without the target's port the bastion is asked for it. With a COMMAND the tunnel ends with it;\n"
    "it finds SMPL_TUNNEL_URL, SMPL_TUNNEL_HOST and SMPL_TUNNEL_PORT in its environment.\n"
    "\n";

static const char bottom[] =
    "\n"
    "tunnel.yaml is $SMPL_TUNNEL_CONFIG or $XDG_CONFIG_HOME/smplkit/tunnel.yaml; keys: bastion, user,\n"
    "identity, known_hosts, ssh_config, read_ahead, core_dumps, libssh, sets.\n"
    "\n"
    "Exit status: 0 ended as asked, 1 other, 2 usage, 3 cannot bind, 4 cannot reach the bastion, 5 host key\n"
    "not trusted, 6 not signed in, 7 target refused by policy, 8 target unreachable, 9 session ended by the\n"
    "bastion. With a COMMAND: its own status, or 125 for a failure of the tunnel.\n";

void usage_print(const command_set_t *commands, FILE *to)
{
  fputs(top, to);
  command_print_usage(commands, to);
  fputs(middle, to);
  option_print_usage(&option_rows, to);
  fputs(bottom, to);
}
