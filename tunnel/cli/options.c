/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/cli/options.h"

#include <errno.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/base/ip.h"
#include "tunnel/cli/config.h"

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
    {'W', "is unknown: standard input and output are connected by --stdio TARGET[:PORT]"},
    {'R', "is unknown: nothing is forwarded from the bastion to here"},
    {'f', "is unknown: end the line with & to have it in the background"},
};

/* ---- paths ---- */

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

/* ---- the sources, strongest first: what stands already is kept ---- */

static int take_bastion(options_t *o, const char *text, diag_t *diag)
{
  char user[USER_MAX];
  int err = destination_parse(text, user, o->task.to.host, &o->task.to.port, diag);
  if (!err && !o->task.to.user[0])
    err = text_copy(o->task.to.user, sizeof o->task.to.user, user);
  return err;
}

static int take_user(options_t *o, const char *user, diag_t *diag)
{
  if (!user[0] || text_copy(o->task.to.user, sizeof o->task.to.user, user) != SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "user '%s': empty or longer than %d bytes", user, USER_MAX - 1);
  return SMPL_OK;
}

static int take_identity(options_t *o, const char *path, diag_t *diag)
{
  if (o->task.to.identity_count == IDENTITIES_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d identity files", IDENTITIES_MAX);
  o->task.to.identities[o->task.to.identity_count++] = path;
  o->task.to.identities_given = true;
  return SMPL_OK;
}

static bool is_forward(const char *format, const char *word)
{
  char text[512];
  forward_t f;
  int n = snprintf(text, sizeof text, "%s%s", format, word);
  return n > 0 && (size_t)n < sizeof text && forward_parse(text, &f, NULL) == SMPL_OK;
}

static bool is_bastion(const char *word)
{
  char user[USER_MAX], host[HOST_MAX];
  uint16_t port;
  return destination_parse(word, user, host, &port, NULL) == SMPL_OK;
}

static bool is_local_port(const char *word)
{
  forward_t f;
  return word[0] && word[strspn(word, "0123456789")] == '\0' &&
         forward_parse_socks(word, &f, NULL) == SMPL_OK;
}

/* A word that cannot be a forward: what its author may have meant. Whatever it says to write is accepted. */
static int not_a_forward(const char *word, diag_t *diag)
{
  if (strchr(word, '@') && is_bastion(word))
    return diag_fail(diag, SMPL_EINVAL, "'%s' is not a forward; the bastion is given as --bastion %s", word,
                     word);
  if (strstr(word, "://"))
    return diag_fail(diag, SMPL_EINVAL,
                     "'%s' is not a forward: a target is a name, not a URL, as in 8080:config.internal",
                     word);
  if (is_local_port(word))
    return diag_fail(diag, SMPL_EINVAL,
                     "'%s' is not a forward: its target is missing, as in %s:config.internal", word, word);
  if ((strchr(word, '.') || strchr(word, ':')) && is_forward("8080:", word))
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
  if (a->kind == FORWARD_SOCKET || b->kind == FORWARD_SOCKET)
    return a->kind == b->kind && strcmp(a->path, b->path) == 0;
  if (a->port != b->port || a->port == 0)
    return false;
  if (a->bind_given)
    return listens_on(b, &a->bind);
  return !b->bind_given || listens_on(a, &b->bind);
}

static int add_forward(options_t *o, const char *word, const forward_t *f, diag_t *diag)
{
  if (o->task.forward_count == FORWARDS_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d forwards", FORWARDS_MAX);
  for (size_t i = 0; i < o->task.forward_count; i++) {
    if (clash(f, &o->task.forwards[i]) && f->kind == FORWARD_SOCKET)
      return diag_fail(diag, SMPL_EINVAL, "'%s': another forward has this socket already", word);
    if (clash(f, &o->task.forwards[i]))
      return diag_fail(diag, SMPL_EINVAL,
                       "'%s': another forward has port %u already; choose another one, or 0 for any free one",
                       word, f->port);
  }
  o->task.forwards[o->task.forward_count++] = *f;
  return SMPL_OK;
}

static int take_forward(options_t *o, const char *word, diag_t *diag)
{
  forward_t f;
  if (!strchr(word, ':') || strstr(word, "://") || (strchr(word, '@') && !strchr(word, '/')) ||
      forward_lacks_port(word))
    return not_a_forward(word, diag);
  int err = forward_parse(word, &f, diag);
  return err ? err : add_forward(o, word, &f, diag);
}

static int take_socks(options_t *o, const char *word, diag_t *diag)
{
  forward_t f;
  int err = forward_parse_socks(word, &f, diag);
  return err ? err : add_forward(o, word, &f, diag);
}

static int take_stdio(options_t *o, const char *word, diag_t *diag)
{
  if (o->task.stdio)
    return diag_fail(diag, SMPL_EINVAL, "--stdio connects one target");
  o->task.stdio = true;
  int err = forward_parse_target(word, &o->task.forwards[0], diag);
  o->task.forward_count = 1;
  return err;
}

/* ---- the sets of tunnel.yaml ---- */

static bool is_from_sets(const options_t *o)
{
  return o->command && o->command->from_sets;
}

static int take_set(options_t *o, const config_set_t *set, diag_t *diag)
{
  const char *const *forwards = set->forwards.items;
  const char *const *socks = set->socks.items;
  diag_t inner = {0};
  int err = SMPL_OK;
  const void *at = set;
  for (size_t i = 0; !err && i < set->forwards.count; i++) {
    at = &forwards[i];
    err = take_forward(o, forwards[i], &inner);
  }
  for (size_t i = 0; !err && i < set->socks.count; i++) {
    at = &socks[i];
    err = take_socks(o, socks[i], &inner);
  }
  return err ? conf_fail(o->conf, diag, at, "%s", inner.text) : SMPL_OK;
}

/* The names of all sets, for a message. */
static char *name_sets(const config_t *file, char *buf, size_t cap)
{
  const config_set_t *sets = file->sets.items;
  size_t used = 0;
  buf[0] = '\0';
  for (size_t i = 0; i < file->sets.count && used < cap; i++) {
    int n = snprintf(buf + used, cap - used, "%s%s", i ? ", " : "", sets[i].name);
    used += n > 0 ? (size_t)n : 0;
  }
  return buf;
}

static int take_sets(options_t *o, const config_t *file, bool *in_file, diag_t *diag)
{
  const config_set_t *sets = file->sets.items;
  for (size_t i = 0; i < file->sets.count; i++) {
    for (size_t k = 0; k < i; k++) {
      if (strcmp(sets[i].name, sets[k].name) == 0)
        return conf_fail(o->conf, diag, &sets[i].name, "another set is named '%s' already", sets[i].name);
    }
    if (sets[i].forwards.count + sets[i].socks.count == 0)
      return conf_fail(o->conf, diag, &sets[i].name, "the set '%s' has neither forwards nor socks",
                       sets[i].name);
    o->sets[o->set_count++] = sets[i].name;
  }
  for (size_t w = 0; is_from_sets(o) && w < o->word_count; w++) {
    char names[512];
    size_t i = 0;
    while (i < file->sets.count && strcmp(sets[i].name, o->words[w]) != 0)
      i++;
    if (i == file->sets.count) {
      *in_file = false;
      return diag_fail(diag, SMPL_EINVAL, "no set is named '%s' in %s%s%s", o->words[w],
                       conf_path_of(o->conf), i ? "; there are: " : ": it has no sets",
                       i ? name_sets(file, names, sizeof names) : "");
    }
    int err = take_set(o, &sets[i], diag);
    if (err)
      return err;
  }
  return SMPL_OK;
}

static int no_file(const options_t *o, const char *path, diag_t *diag)
{
  if (!is_from_sets(o))
    return SMPL_OK;
  return diag_fail(diag, SMPL_EINVAL, "up needs the sets of tunnel.yaml, and there is no %s", path);
}

static int from_file(options_t *o, bool *in_file, diag_t *diag)
{
  char path[PATH_TEXT_MAX] = "";
  bool named;
  if (config_path(o->config, path, sizeof path, &named) != SMPL_OK || (!named && access(path, F_OK) != 0))
    return no_file(o, path[0] ? path : "tunnel.yaml", diag);
  config_t file;
  *in_file = true;
  if (access(path, F_OK) != 0)
    return diag_fail_errno(diag, "%s names %s", o->config ? "--config" : "$SMPL_TUNNEL_CONFIG", path);
  int err = config_load(path, &file, &o->conf, diag);
  if (err)
    return err;
  if (!o->task.to.host[0] && file.bastion) {
    diag_t inner = {0};
    if (take_bastion(o, file.bastion, &inner) != SMPL_OK)
      return conf_fail(o->conf, diag, &file.bastion, "%s", inner.text);
  }
  if (!o->task.to.user[0] && file.user &&
      text_copy(o->task.to.user, sizeof o->task.to.user, file.user) != SMPL_OK)
    return conf_fail(o->conf, diag, &file.user, "a user's name has at most %d bytes", USER_MAX - 1);
  const char *const *identities = file.identities.items;
  for (size_t i = 0; !o->task.to.identities_given && i < file.identities.count; i++)
    o->task.to.identities[o->task.to.identity_count++] = identities[i];
  o->task.to.identities_given = o->task.to.identity_count > 0;
  if (o->task.to.known_hosts_count == 0 && file.known_hosts)
    o->task.to.known_hosts[o->task.to.known_hosts_count++] = file.known_hosts;
  o->task.to.known_hosts_given = o->task.to.known_hosts_count > 0;
  if (!o->task.to.ssh_config)
    o->task.to.ssh_config = file.ssh_config;
  o->task.read_ahead = file.read_ahead;
  o->core_dumps = file.core_dumps;
  o->task.libssh = file.libssh;
  err = take_sets(o, &file, in_file, diag);
  if (!err)
    *in_file = false;
  return err;
}

static void add_path(options_t *o, const char **list, size_t *count, const char *folder, const char *name)
{
  const char *path = keep_path(o, folder, name);
  if (path)
    list[(*count)++] = path;
}

static int defaults(options_t *o, diag_t *diag)
{
  const char *h = config_home();
  const struct passwd *pw = getpwuid(getuid());
  char path[PATH_TEXT_MAX];
  bool named;
  if (!o->task.to.host[0])
    return diag_fail(diag, SMPL_EINVAL,
                     "no bastion is known: give --bastion [USER@]HOST[:PORT], set SMPL_BASTION, or write "
                     "'bastion: HOST' to %s",
                     config_path(o->config, path, sizeof path, &named) == SMPL_OK ? path : "tunnel.yaml");
  o->task.to.port_given = o->task.to.port != 0;
  o->task.to.user_given = o->task.to.user[0] != '\0';
  if (o->task.to.port == 0)
    o->task.to.port = SSH_PORT;
  if (!o->task.to.user[0] &&
      (!pw || text_copy(o->task.to.user, sizeof o->task.to.user, pw->pw_name) != SMPL_OK))
    return diag_fail(diag, SMPL_EINVAL, "no user is known: give -l USER");
  if (!o->task.to.identities_given) {
    add_path(o, o->task.to.identities, &o->task.to.identity_count, h, ".ssh/id_ed25519");
    add_path(o, o->task.to.identities, &o->task.to.identity_count, h, ".ssh/id_ecdsa");
    add_path(o, o->task.to.identities, &o->task.to.identity_count, h, ".ssh/id_rsa");
  }
  if (o->task.to.known_hosts_count == 0) {
    add_path(o, o->task.to.known_hosts, &o->task.to.known_hosts_count, h, ".ssh/known_hosts");
    add_path(o, o->task.to.known_hosts, &o->task.to.known_hosts_count, "/etc/ssh", "ssh_known_hosts");
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

static int take_known_hosts(options_t *o, const char *path, diag_t *diag)
{
  (void)diag;
  o->task.to.known_hosts[0] = path;
  o->task.to.known_hosts_count = 1;
  o->task.to.known_hosts_given = true;
  return SMPL_OK;
}

static int take_open(options_t *o, const char *path, diag_t *diag)
{
  o->task.open = path ? path : "/";
  if (o->task.open[0] != '/')
    return diag_fail(diag, SMPL_EINVAL, "--open=%s: a path begins with '/', as in --open=/docs",
                     o->task.open);
  return SMPL_OK;
}

static int take_verbose(options_t *o, const char *value, diag_t *diag)
{
  (void)value;
  (void)diag;
  o->verbose++;
  return SMPL_OK;
}

enum { OPT_BASTION = OPTION_LONG, OPT_KNOWN_HOSTS, OPT_JSON, OPT_OPEN, OPT_STDIO, OPT_ANY_USER };

/* Each is taken, or stored where its row says. */
typedef struct taken {
  option_row_t row;
  int (*take)(options_t *o, const char *value, diag_t *diag);
} taken_t;

#define AT(member) .at = offsetof(options_t, member)

static const taken_t rows[] = {
    {{OPT_BASTION, "bastion", "[ssh://][USER@]HOST[:PORT]",
      .help = "the bastion; else $SMPL_BASTION, else tunnel.yaml"},
     take_bastion},
    {{'D', "socks", "[BIND:]PORT",
      .help = "a SOCKS5 proxy that looks names up at the bastion; several allowed"},
     take_socks},
    {{OPT_OPEN, "open", "[=PATH]", .help = "opens the first forward in the browser once it is ready"},
     take_open},
    {{OPT_STDIO, "stdio", "TARGET[:PORT]", .completes = "targets",
      .help = "connects standard input and output, for ssh's ProxyCommand"},
     take_stdio},
    {{'l', "user", "USER", .help = "the user to sign in as"}, take_user},
    {{'i', "identity", "FILE",
      .help = "a private key; several allowed (default: ssh_config's, then the usual ones)"},
     take_identity},
    {{'c', "config", "FILE", AT(config), .help = "a file in place of the usual tunnel.yaml"}, NULL},
    {{'F', "ssh-config", "FILE", AT(task.to.ssh_config),
      .help = "the ssh_config to heed (default: ssh's own; none: no file)"},
     NULL},
    {{OPT_KNOWN_HOSTS, "known-hosts", "FILE", .help = "the host keys to trust (default: ~/.ssh/known_hosts)"},
     take_known_hosts},
    {{OPT_ANY_USER, "any-user", NULL, AT(task.any_user),
      .help = "serves all users of this machine, not you alone"},
     NULL},
    {{'g', "gateway", NULL, AT(gateway), .help = "lets BIND be an address that other machines reach"}, NULL},
    {{OPT_JSON, "json", NULL, AT(json), .help = "prints events as JSON, one a line"}, NULL},
    {{'q', "quiet", NULL, AT(quiet), .help = "prints nothing but errors"}, NULL},
    {{'v', "verbose", NULL, .help = "says what is being done"}, take_verbose},
    {{'h', "help", NULL, AT(help), .help = "prints this"}, NULL},
    {{'V', "version", NULL, AT(version), .help = "prints the version"}, NULL},
};

const option_set_t option_rows = {OPTION_ROWS(rows)};

static int take_option(options_t *o, int c, int argc, char **argv, diag_t *diag)
{
  const taken_t *taken = option_find(&option_rows, c);
  if (!taken)
    return bad_option(c, argc, argv, diag);
  if (taken->take)
    return taken->take(o, optarg, diag);
  option_store(&taken->row, optarg, o);
  return SMPL_OK;
}

/* How many words a command takes, and "why" asks about one target: a fault in it is the command line's. */
static int check_words(const options_t *o, diag_t *diag)
{
  const cli_command_t *c = o->command;
  forward_t f;
  if (o->word_count < c->row.min || o->word_count > c->row.max)
    return diag_fail(diag, SMPL_EINVAL, "%s: expected %s", c->row.name, c->wants);
  return c->about_target ? forward_parse_target(o->words[0], &f, diag) : SMPL_OK;
}

static int take_words(options_t *o, const command_set_t *commands, int argc, char **argv, diag_t *diag)
{
  if (optind < argc && !o->task.stdio)
    o->command = command_find(commands, argv[optind]);
  if (!o->command) {
    for (int i = optind; i < argc; i++) {
      if (o->task.stdio)
        return diag_fail(diag, SMPL_EINVAL,
                         "--stdio connects one target and forwards no port: '%s' is too much", argv[i]);
      int err = take_forward(o, argv[i], diag);
      if (err)
        return err;
    }
    return SMPL_OK;
  }
  for (int i = optind + 1; i < argc; i++) {
    if (o->word_count == WORDS_MAX)
      return diag_fail(diag, SMPL_ELIMIT, "more than %d words", WORDS_MAX);
    o->words[o->word_count++] = argv[i];
  }
  o->task.job = o->command->job;
  o->task.target = o->command->about_target ? o->words[0] : NULL;
  return check_words(o, diag);
}

/* What does not go together, once everything is known. */
static int check_together(const options_t *o, diag_t *diag)
{
  bool forwards = !o->command || o->command->from_sets;
  if (forwards && o->task.forward_count == 0)
    return diag_fail(diag, SMPL_EINVAL,
                     "what to forward is missing, as in: smpl-tunnel 8080:config.internal (see --help)");
  if (!forwards && (o->task.forward_count > 0 || o->task.exec || o->task.open))
    return diag_fail(diag, SMPL_EINVAL, "%s forwards nothing: leave out -D, --open, --stdio and --",
                     o->command->row.name);
  if (o->task.exec && (o->task.stdio || o->json))
    return diag_fail(diag, SMPL_EINVAL, "%s and a command to run do not go together",
                     o->task.stdio ? "--stdio" : "--json");
  for (size_t i = 0; i < o->task.forward_count; i++) {
    char text[IP_TEXT_MAX];
    if (o->task.forwards[i].wide && !o->gateway)
      return diag_fail(
          diag, SMPL_EDENIED,
          "%s is not a loopback address; the grant is to you, not to your network (-g lets other "
          "machines use it in your name)",
          ip_format(&o->task.forwards[i].bind, text));
  }
  return SMPL_OK;
}

static int from_arguments(int argc, char **argv, const command_set_t *commands, options_t *o, diag_t *diag)
{
  option_table_t table;
  const char *user = NULL;
  int c;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--") != 0)
      continue;
    if (!argv[i + 1])
      return diag_fail(diag, SMPL_EINVAL, "the command to run is missing behind --");
    o->task.exec = argv + i + 1;
    argc = i;
  }
  option_table(&option_rows, &table);
  opterr = 0;
  optind = 0; /* GNU: start afresh, for tests that parse more than once */
  while ((c = getopt_long(argc, argv, table.letters, table.longs, NULL)) != -1) {
    int err = take_option(o, c, argc, argv, diag);
    if (err || o->help || o->version)
      return err;
    if (c == 'l')
      user = optarg;
    if (user) /* stands above the one in --bastion, whatever their order */
      take_user(o, user, NULL);
  }
  int err = take_words(o, commands, argc, argv, diag);
  return err || is_from_sets(o) ? err : check_together(o, diag);
}

int options_read(int argc, char **argv, const command_set_t *commands, options_t *out, bool *in_file,
                 diag_t *diag)
{
  *out = (options_t){.task.read_ahead = true};
  *in_file = false;
  int err = from_arguments(argc, argv, commands, out, diag);
  if (!err && out->command && out->command->local && from_file(out, in_file, NULL) != SMPL_OK)
    out->set_count = 0; /* what is wrong with it is told to those who use it */
  if (err || out->help || out->version || (out->command && out->command->local))
    return err;
  const char *env = getenv("SMPL_BASTION");
  if (!out->task.to.host[0] && env && env[0]) {
    diag_t inner = {0};
    err = take_bastion(out, env, &inner);
    if (err)
      diag_fail(diag, err, "$SMPL_BASTION: %s", inner.text);
  }
  if (!err)
    err = from_file(out, in_file, diag);
  if (!err && is_from_sets(out))
    err = check_together(out, diag);
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
