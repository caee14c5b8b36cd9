/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/config.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "tunnel/limits.h"

const char *config_home(void)
{
  const char *h = getenv("HOME");
  if (h && h[0])
    return h;
  const struct passwd *pw = getpwuid(getuid());
  return pw ? pw->pw_dir : NULL;
}

/* A path of tunnel.yaml: below the file's folder, or with ~/ below the home folder. */
static int parse_path(conf_t *conf, const char *text, size_t len, void *out)
{
  if (len < 2 || text[0] != '~' || text[1] != '/')
    return conf_path.parse(conf, text, len, out);
  const char *h = config_home();
  if (!h)
    return SMPL_EINVAL;
  size_t cap = strlen(h) + len;
  char *path = conf_alloc(conf, cap);
  if (!path)
    return SMPL_ENOMEM;
  snprintf(path, cap, "%s%s", h, text + 1);
  *(const char **)out = path;
  return SMPL_OK;
}

static const conf_scalar_t path_scalar = {
    .expected = "a path",
    .size = sizeof(const char *),
    .parse = parse_path,
    .same = conf_same_text,
};

static const conf_field_t set_fields[] = {
    {"name", CONF_ONE, offsetof(config_set_t, name), .scalar = &conf_string, .required = true,
     .doc = "the name of the set"},
    {"forwards", CONF_ONE_OR_MANY, offsetof(config_set_t, forwards), .scalar = &conf_string,
     .most = FORWARDS_MAX, .doc = "forwards as on the command line: [BIND:]PORT:TARGET[:PORT]"},
    {"socks", CONF_ONE_OR_MANY, offsetof(config_set_t, socks), .scalar = &conf_string, .most = FORWARDS_MAX,
     .doc = "the local ends of SOCKS5 proxies: [BIND:]PORT"},
};
static const conf_map_t set_map = {"set", sizeof(config_set_t), set_fields, COUNT_OF(set_fields), NULL};

static const conf_field_t file_fields[] = {
    {"bastion", CONF_ONE, offsetof(config_t, bastion), .scalar = &conf_string,
     .doc = "the bastion, [ssh://][USER@]HOST[:PORT], or a Host of ssh_config(5)"},
    {"user", CONF_ONE, offsetof(config_t, user), .scalar = &conf_string, .doc = "the user to sign in as"},
    {"identity", CONF_ONE_OR_MANY, offsetof(config_t, identities), .scalar = &path_scalar,
     .most = IDENTITIES_MAX,
     .doc = "private keys, tried in this order; without it those of ssh_config(5), then the usual ones"},
    {"known_hosts", CONF_ONE, offsetof(config_t, known_hosts), .scalar = &path_scalar,
     .doc = "a file of host keys to trust; new ones are written to it"},
    {"ssh_config", CONF_ONE, offsetof(config_t, ssh_config), .scalar = &path_scalar,
     .doc = "a file in place of ssh's own; none means no file"},
    {"core_dumps", CONF_ONE, offsetof(config_t, core_dumps), .scalar = &conf_bool,
     .doc = "whether a crash may leave a core dump, with keys in it"},
    {"read_ahead", CONF_ONE, offsetof(config_t, read_ahead), .scalar = &conf_bool,
     .doc = "whether the session is read in large pieces; false takes less memory, more processor"},
    {"libssh", CONF_MAP, offsetof(config_t, libssh), .map = &libssh_conf_map,
     .doc = "which versions of libssh are accepted"},
    {"sets", CONF_MAPS, offsetof(config_t, sets), .map = &set_map, .allow_empty = true, .most = SETS_MAX,
     .doc = "forwards under one name, for smpl-tunnel up NAME"},
};

static void file_defaults(void *out)
{
  config_t *file = out;
  file->read_ahead = true;
}

const conf_map_t config_map = {"tunnel.yaml", sizeof(config_t), file_fields, COUNT_OF(file_fields),
                               file_defaults};

int config_path(const char *given, char *path, size_t cap, bool *named)
{
  const char *variable = getenv("SMPL_TUNNEL_CONFIG");
  const char *xdg = getenv("XDG_CONFIG_HOME");
  if (!given && variable && variable[0])
    given = variable;
  *named = given != NULL;
  if (*named)
    return text_copy(path, cap, given);
  int n;
  if (xdg && xdg[0] == '/')
    n = snprintf(path, cap, "%s/smplkit/tunnel.yaml", xdg);
  else
    n = config_home() ? snprintf(path, cap, "%s/.config/smplkit/tunnel.yaml", config_home()) : -1;
  return n > 0 && (size_t)n < cap ? SMPL_OK : SMPL_ENOENT;
}

int config_load(const char *path, config_t *out, conf_t **conf, diag_t *diag)
{
  return conf_load(path, &config_map, out, conf, diag);
}
