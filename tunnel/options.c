#include "tunnel/options.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/text.h"

enum { SSH_PORT = 22 };

/* What users of ssh type out of habit, and what to do instead. */
static const struct habit {
  char option;
  const char *instead;
} habits[] = {
    {'p', "is unknown: the bastion's port goes behind its name, as in --bastion HOST:PORT"},
    {'L', "is unknown: a forward needs no option before it, as in smpl-tunnel 8080:config.internal"},
    {'N', "is unknown, and not needed: nothing but forwarding is done"},
    {'J', "is unknown: the bastion is given as --bastion [USER@]HOST[:PORT]"},
    {'c', "is unknown: a configuration file is named by $SMPL_TUNNEL_CONFIG"},
    {'F', "is not supported yet"},
    {'D', "is not supported yet"},
};

enum { OPT_BASTION = 256, OPT_KNOWN_HOSTS, OPT_JSON };

typedef struct file_conf {
  const char *bastion;
  const char *user;
  conf_list_t identities;
  const char *known_hosts;
} file_conf_t;

static const char usage[] =
    "Usage: smpl-tunnel [OPTION]... [BIND:]PORT:TARGET[:PORT]...\n"
    "Makes services behind a bastion reachable on local ports, until Ctrl-C.\n"
    "\n"
    "  smpl-tunnel 8080:config.internal        then open http://localhost:8080\n"
    "\n"
    "BIND is a loopback address (both families of localhost by default), PORT the local port (0: any free "
    "one). Without\n"
    "the target's port the bastion is asked for it.\n"
    "\n"
    "      --bastion [ssh://][USER@]HOST[:PORT]   default: $SMPL_BASTION, then tunnel.yaml\n"
    "  -l, --user USER            to sign in as\n"
    "  -i, --identity FILE        private key; several allowed (default: ~/.ssh/id_ed25519, id_ecdsa, "
    "id_rsa)\n"
    "      --known-hosts FILE     host keys that are trusted (default: ~/.ssh/known_hosts)\n"
    "      --json                 print events as JSON, one a line\n"
    "  -q, --quiet                print nothing but errors\n"
    "  -v, --verbose              say what is being done\n"
    "  -h, --help\n"
    "  -V, --version\n"
    "\n"
    "tunnel.yaml is $SMPL_TUNNEL_CONFIG or $XDG_CONFIG_HOME/smplkit/tunnel.yaml; keys: bastion, user, "
    "identity, known_hosts.\n"
    "\n"
    "Exit status: 0 ended as asked, 1 other, 2 usage, 3 cannot bind, 4 cannot reach the bastion, 5 host key "
    "not trusted,\n"
    "6 not signed in, 7 target refused by policy, 8 target unreachable, 9 session ended by the bastion.\n";

const char *options_usage(void)
{
  return usage;
}

/* ---- [ssh://][USER@]HOST[:PORT] ---- */

static int parse_host_port(const char *whole, const char *text, char *host, uint16_t *port, diag_t *diag)
{
  const char *end;
  size_t len;
  if (*text == '[') {
    len = strcspn(++text, "]");
    if (text[len] != ']')
      return diag_fail(diag, SMPL_EINVAL, "bastion '%s': ']' is missing", whole);
    end = text + len + 1;
  } else {
    len = strcspn(text, ":/");
    end = text + len;
  }
  if (len == 0 || len >= OPTIONS_HOST_MAX)
    return diag_fail(diag, SMPL_EINVAL, "bastion '%s': expected [USER@]HOST[:PORT]", whole);
  for (size_t i = 0; i < len; i++) {
    if (text[i] <= ' ' || text[i] > '~' || text[i] == '@' || text[i] == ',')
      return diag_fail(diag, SMPL_EINVAL, "bastion '%s': not a host's name or address", whole);
    host[i] = text_lower(text[i]);
  }
  host[len] = '\0';
  *port = 0;
  if (*end == '/' && end[1] == '\0')
    end++;
  if (*end == '\0')
    return SMPL_OK;
  uint64_t value;
  size_t digits = strcspn(++end, "/");
  if (end[-1] != ':' || (end[digits] != '\0' && end[digits + 1] != '\0') ||
      text_parse_u64(end, digits, UINT16_MAX, &value) != SMPL_OK || value == 0)
    return diag_fail(diag, SMPL_EINVAL, "bastion '%s': '%s' is not a port (1 to 65535)", whole, end);
  *port = (uint16_t)value;
  return SMPL_OK;
}

int options_parse_bastion(const char *text, char *user, char *host, uint16_t *port, diag_t *diag)
{
  const char *rest = strncmp(text, "ssh://", 6) == 0 ? text + 6 : text;
  const char *at = strrchr(rest, '@');
  user[0] = '\0';
  if (at) {
    size_t len = (size_t)(at - rest);
    if (len == 0 || len >= OPTIONS_USER_MAX)
      return diag_fail(diag, SMPL_EINVAL, "bastion '%s': expected [USER@]HOST[:PORT]", text);
    memcpy(user, rest, len);
    user[len] = '\0';
    rest = at + 1;
  }
  return parse_host_port(text, rest, host, port, diag);
}

/* ---- paths ---- */

static const char *home(void)
{
  const char *h = getenv("HOME");
  if (h && h[0])
    return h;
  const struct passwd *pw = getpwuid(getuid());
  return pw ? pw->pw_dir : NULL;
}

/* Folder and name joined, owned by o; NULL when there is no room or no memory. */
static const char *keep_path(options_t *o, const char *folder, const char *name)
{
  if (!folder || o->path_count == sizeof o->paths / sizeof *o->paths)
    return NULL;
  char *path = NULL;
  if (asprintf(&path, "%s/%s", folder, name) < 0)
    return NULL;
  o->paths[o->path_count++] = path;
  return path;
}

/* A path of tunnel.yaml: below the file's folder, or with ~/ below the home directory. */
static int parse_path(conf_t *conf, const char *text, size_t len, void *out)
{
  if (len < 2 || text[0] != '~' || text[1] != '/')
    return conf_path.parse(conf, text, len, out);
  const char *h = home();
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

static const conf_scalar_t path_scalar = {"a path", sizeof(const char *), parse_path};

static const conf_field_t file_fields[] = {
    {"bastion", CONF_ONE, offsetof(file_conf_t, bastion), .scalar = &conf_string},
    {"user", CONF_ONE, offsetof(file_conf_t, user), .scalar = &conf_string},
    {"identity", CONF_ONE_OR_MANY, offsetof(file_conf_t, identities), .scalar = &path_scalar,
     .max = OPTIONS_IDENTITIES_MAX},
    {"known_hosts", CONF_ONE, offsetof(file_conf_t, known_hosts), .scalar = &path_scalar},
};
static const conf_map_t file_map = {"tunnel.yaml", sizeof(file_conf_t), file_fields, CONF_COUNT(file_fields),
                                    NULL};

/* tunnel.yaml's path. A file that was named must exist; the usual one need not. */
static int config_path(char *path, size_t cap, bool *named)
{
  const char *given = getenv("SMPL_TUNNEL_CONFIG");
  const char *xdg = getenv("XDG_CONFIG_HOME");
  *named = given && given[0];
  if (*named)
    return text_copy(path, cap, given);
  int n;
  if (xdg && xdg[0] == '/')
    n = snprintf(path, cap, "%s/smplkit/tunnel.yaml", xdg);
  else
    n = home() ? snprintf(path, cap, "%s/.config/smplkit/tunnel.yaml", home()) : -1;
  return n > 0 && (size_t)n < cap ? SMPL_OK : SMPL_ENOENT;
}

/* ---- the sources, strongest first: what stands already is kept ---- */

static int take_bastion(options_t *o, const char *text, diag_t *diag)
{
  char user[OPTIONS_USER_MAX];
  int err = options_parse_bastion(text, user, o->host, &o->port, diag);
  if (!err && !o->user[0])
    err = text_copy(o->user, sizeof o->user, user);
  return err;
}

static int take_user(options_t *o, const char *user, diag_t *diag)
{
  if (!user[0] || text_copy(o->user, sizeof o->user, user) != SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "user '%s': empty or longer than %d bytes", user,
                     OPTIONS_USER_MAX - 1);
  return SMPL_OK;
}

static int take_identity(options_t *o, const char *path, diag_t *diag)
{
  if (o->identity_count == OPTIONS_IDENTITIES_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d identity files", OPTIONS_IDENTITIES_MAX);
  o->identities[o->identity_count++] = path;
  o->identities_given = true;
  return SMPL_OK;
}

static int from_file(options_t *o, bool *in_file, diag_t *diag)
{
  char path[OPTIONS_PATH_MAX];
  bool named;
  if (config_path(path, sizeof path, &named) != SMPL_OK || (!named && access(path, F_OK) != 0))
    return SMPL_OK;
  file_conf_t file;
  *in_file = true;
  if (access(path, F_OK) != 0)
    return diag_fail_errno(diag, "$SMPL_TUNNEL_CONFIG names %s", path);
  int err = conf_load(path, &file_map, &file, &o->conf, diag);
  if (err)
    return err;
  if (!o->host[0] && file.bastion) {
    diag_t inner = {0};
    if (take_bastion(o, file.bastion, &inner) != SMPL_OK)
      return conf_fail(o->conf, diag, &file.bastion, "%s", inner.text);
  }
  if (!o->user[0] && file.user && text_copy(o->user, sizeof o->user, file.user) != SMPL_OK)
    return conf_fail(o->conf, diag, &file.user, "a user's name has at most %d bytes", OPTIONS_USER_MAX - 1);
  const char *const *identities = file.identities.items;
  for (size_t i = 0; !o->identities_given && i < file.identities.count; i++)
    o->identities[o->identity_count++] = identities[i];
  o->identities_given = o->identity_count > 0;
  if (o->known_hosts_count == 0 && file.known_hosts)
    o->known_hosts[o->known_hosts_count++] = file.known_hosts;
  *in_file = false;
  return SMPL_OK;
}

static void add_path(options_t *o, const char **list, size_t *count, const char *folder, const char *name)
{
  const char *path = keep_path(o, folder, name);
  if (path)
    list[(*count)++] = path;
}

static int defaults(options_t *o, diag_t *diag)
{
  const char *h = home();
  const struct passwd *pw = getpwuid(getuid());
  char path[OPTIONS_PATH_MAX];
  bool named;
  if (!o->host[0])
    return diag_fail(diag, SMPL_EINVAL,
                     "no bastion is known: give --bastion [USER@]HOST[:PORT], set SMPL_BASTION, or write "
                     "'bastion: HOST' to %s",
                     config_path(path, sizeof path, &named) == SMPL_OK ? path : "tunnel.yaml");
  if (o->port == 0)
    o->port = SSH_PORT;
  if (!o->user[0] && (!pw || text_copy(o->user, sizeof o->user, pw->pw_name) != SMPL_OK))
    return diag_fail(diag, SMPL_EINVAL, "no user is known: give -l USER");
  if (!o->identities_given) {
    add_path(o, o->identities, &o->identity_count, h, ".ssh/id_ed25519");
    add_path(o, o->identities, &o->identity_count, h, ".ssh/id_ecdsa");
    add_path(o, o->identities, &o->identity_count, h, ".ssh/id_rsa");
  }
  if (o->known_hosts_count == 0) {
    add_path(o, o->known_hosts, &o->known_hosts_count, h, ".ssh/known_hosts");
    add_path(o, o->known_hosts, &o->known_hosts_count, "/etc/ssh", "ssh_known_hosts");
  }
  return SMPL_OK;
}

/* ---- command line ---- */

/* c is what getopt_long says: ':' when a value is missing, else '?'. */
static int bad_option(int c, int argc, char **argv, diag_t *diag)
{
  const char *word = optind > 0 && optind <= argc ? argv[optind - 1] : "";
  bool is_long = strncmp(word, "--", 2) == 0;
  if (c == ':' && is_long)
    return diag_fail(diag, SMPL_EINVAL, "option %s needs a value (see --help)", word);
  if (c == ':')
    return diag_fail(diag, SMPL_EINVAL, "option -%c needs a value (see --help)", optopt);
  if (is_long && optopt != 0)
    return diag_fail(diag, SMPL_EINVAL, "option %.*s takes no value (see --help)", (int)strcspn(word, "="),
                     word);
  if (optopt == 0)
    return diag_fail(diag, SMPL_EINVAL, "option %s is unknown (see --help)", word);
  for (size_t i = 0; i < sizeof habits / sizeof *habits; i++) {
    if (habits[i].option == optopt)
      return diag_fail(diag, SMPL_EINVAL, "option -%c %s", optopt, habits[i].instead);
  }
  return diag_fail(diag, SMPL_EINVAL, "option -%c is unknown (see --help)", optopt);
}

static int take_option(options_t *o, int c, int argc, char **argv, diag_t *diag)
{
  switch (c) {
  case OPT_BASTION:
    return take_bastion(o, optarg, diag);
  case 'l':
    return take_user(o, optarg, diag);
  case 'i':
    return take_identity(o, optarg, diag);
  case OPT_KNOWN_HOSTS:
    o->known_hosts[0] = optarg;
    o->known_hosts_count = 1;
    return SMPL_OK;
  case OPT_JSON:
    o->json = true;
    return SMPL_OK;
  case 'q':
    o->quiet = true;
    return SMPL_OK;
  case 'v':
    o->verbose++;
    return SMPL_OK;
  case 'h':
    o->help = true;
    return SMPL_OK;
  case 'V':
    o->version = true;
    return SMPL_OK;
  default:
    return bad_option(c, argc, argv, diag);
  }
}

/* A word that cannot be a forward: what its author may have meant. */
static int not_a_forward(const char *word, diag_t *diag)
{
  if (strchr(word, '@'))
    return diag_fail(diag, SMPL_EINVAL, "'%s' is not a forward; the bastion is given as --bastion %s", word,
                     word);
  if (strstr(word, "://"))
    return diag_fail(diag, SMPL_EINVAL,
                     "'%s' is not a forward: a target is a name, not a URL, as in 8080:config.internal",
                     word);
  if (word[0] && word[strspn(word, "0123456789")] == '\0')
    return diag_fail(diag, SMPL_EINVAL,
                     "'%s' is not a forward: its target is missing, as in %s:config.internal", word, word);
  if (strchr(word, '.'))
    return diag_fail(diag, SMPL_EINVAL, "'%s' is not a forward: its local port is missing, as in 8080:%s",
                     word, word);
  return diag_fail(diag, SMPL_EINVAL, "'%s' is neither a forward (PORT:TARGET) nor a command that exists",
                   word);
}

static bool listens_on(const forward_t *f, const ip_t *ip)
{
  char text[IP_TEXT_MAX];
  if (f->bind_given)
    return ip_equal(&f->bind, ip);
  ip_format(ip, text);
  return strcmp(text, "127.0.0.1") == 0 || strcmp(text, "::1") == 0;
}

static bool clash(const forward_t *a, const forward_t *b)
{
  if (a->port != b->port || a->port == 0)
    return false;
  if (a->bind_given)
    return listens_on(b, &a->bind);
  return !b->bind_given || listens_on(a, &b->bind);
}

static int take_forward(options_t *o, const char *word, diag_t *diag)
{
  if (!strchr(word, ':') || strchr(word, '@') || strstr(word, "://"))
    return not_a_forward(word, diag);
  if (o->forward_count == FORWARDS_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d forwards", FORWARDS_MAX);
  forward_t *f = &o->forwards[o->forward_count++];
  int err = forward_parse(word, f, diag);
  for (const forward_t *other = o->forwards; !err && other < f; other++) {
    if (clash(f, other))
      err = diag_fail(diag, SMPL_EINVAL,
                      "'%s': another forward has port %u already; choose another one, or 0 for "
                      "any free one",
                      word, f->port);
  }
  return err;
}

static int from_arguments(int argc, char **argv, options_t *o, diag_t *diag)
{
  static const struct option longs[] = {
      {"bastion", required_argument, NULL, OPT_BASTION},
      {"user", required_argument, NULL, 'l'},
      {"identity", required_argument, NULL, 'i'},
      {"known-hosts", required_argument, NULL, OPT_KNOWN_HOSTS},
      {"json", no_argument, NULL, OPT_JSON},
      {"quiet", no_argument, NULL, 'q'},
      {"verbose", no_argument, NULL, 'v'},
      {"help", no_argument, NULL, 'h'},
      {"version", no_argument, NULL, 'V'},
      {0},
  };
  const char *user = NULL;
  int c;
  opterr = 0;
  optind = 0; /* GNU: start afresh, for tests that parse more than once */
  while ((c = getopt_long(argc, argv, ":l:i:qvhV", longs, NULL)) != -1) {
    int err = take_option(o, c, argc, argv, diag);
    if (err || o->help || o->version)
      return err;
    if (c == 'l')
      user = optarg;
    if (user) /* stands above the one in --bastion, whatever their order */
      take_user(o, user, NULL);
  }
  for (int i = optind; i < argc; i++) {
    int err = take_forward(o, argv[i], diag);
    if (err)
      return err;
  }
  if (o->forward_count == 0)
    return diag_fail(diag, SMPL_EINVAL,
                     "what to forward is missing, as in: smpl-tunnel 8080:config.internal (see --help)");
  return SMPL_OK;
}

int options_read(int argc, char **argv, options_t *out, bool *in_file, diag_t *diag)
{
  *out = (options_t){0};
  *in_file = false;
  int err = from_arguments(argc, argv, out, diag);
  if (err || out->help || out->version)
    return err;
  const char *env = getenv("SMPL_BASTION");
  if (!out->host[0] && env && env[0]) {
    diag_t inner = {0};
    err = take_bastion(out, env, &inner);
    if (err)
      diag_fail(diag, err, "$SMPL_BASTION: %s", inner.text);
  }
  if (!err)
    err = from_file(out, in_file, diag);
  if (!err)
    err = defaults(out, diag);
  return err;
}

void options_free(options_t *options)
{
  if (!options)
    return;
  conf_free(options->conf);
  for (size_t i = 0; i < options->path_count; i++)
    free(options->paths[i]);
  *options = (options_t){0};
}
