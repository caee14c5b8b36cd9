/* SPDX-License-Identifier: Apache-2.0 */
/* What --help says. */
#include "tunnel/cli/options.h"

static const char usage[] =
    "Usage: smpl-tunnel [OPTION]... [BIND:]PORT:TARGET[:PORT]... [-- COMMAND ARGUMENT...]\n"
    "       smpl-tunnel [OPTION]... PATH:TARGET[:PORT]...       a unix socket instead of a port\n"
    "       smpl-tunnel up SET...                               forwards that tunnel.yaml names\n"
    "       smpl-tunnel ls | whoami | why TARGET[:PORT]         what you may reach, who you are, why (not)\n"
    "       smpl-tunnel status | stop [PID|PORT|all]            your running tunnels\n"
    "       smpl-tunnel completion bash|zsh|fish                for your shell\n"
    "Makes services behind a bastion reachable on local ports, until Ctrl-C.\n"
    "\n"
    "  smpl-tunnel 8080:config.internal        then open http://localhost:8080\n"
    "\n"
    "BIND is a loopback address (both families of localhost by default), PORT the local port (0: any free\n"
    "one). Without the target's port the bastion is asked for it. With a COMMAND the tunnel ends with it;\n"
    "it finds SMPL_TUNNEL_URL, SMPL_TUNNEL_HOST and SMPL_TUNNEL_PORT in its environment.\n"
    "\n"
    "      --bastion [ssh://][USER@]HOST[:PORT]   default: $SMPL_BASTION, then tunnel.yaml\n"
    "  -c, --config FILE          instead of the usual tunnel.yaml\n"
    "  -D, --socks [BIND:]PORT    SOCKS5 proxy; names are looked up at the bastion; several allowed\n"
    "      --open[=PATH]          open the first forward in the browser when it is ready\n"
    "      --stdio TARGET[:PORT]  connect standard input and output, for ssh's ProxyCommand\n"
    "  -l, --user USER            to sign in as\n"
    "  -i, --identity FILE        private key; several allowed (default: ssh_config's, then the usual ones)\n"
    "  -F, --ssh-config FILE      ssh_config to heed (default: ssh's own; none: none)\n"
    "      --known-hosts FILE     host keys that are trusted (default: ~/.ssh/known_hosts)\n"
    "      --any-user             serve local connections of all users of this machine, not yours alone\n"
    "  -g, --gateway              let BIND be an address that other machines reach\n"
    "      --json                 print events as JSON, one a line\n"
    "  -q, --quiet                print nothing but errors\n"
    "  -v, --verbose              say what is being done\n"
    "  -h, --help\n"
    "  -V, --version\n"
    "\n"
    "tunnel.yaml is $SMPL_TUNNEL_CONFIG or $XDG_CONFIG_HOME/smplkit/tunnel.yaml; keys: bastion, user,\n"
    "identity, known_hosts, ssh_config, read_ahead, core_dumps, sets.\n"
    "\n"
    "Exit status: 0 ended as asked, 1 other, 2 usage, 3 cannot bind, 4 cannot reach the bastion, 5 host key\n"
    "not trusted, 6 not signed in, 7 target refused by policy, 8 target unreachable, 9 session ended by the\n"
    "bastion. With a COMMAND: its own status, or 125 for a failure of the tunnel.\n";

const char *options_usage(void)
{
  return usage;
}
