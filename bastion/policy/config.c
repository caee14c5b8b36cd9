/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/config.h"

#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/conf/fixed.h"
#include "common/net/control_conf.h"
#include "common/process/file.h"
#include "common/dns/lookup.h"
#include "common/base/text.h"

/* ---- scalars of our own ---- */

static int keep_text(conf_t *conf, const char *text, size_t len, void *out)
{
  char *copy = conf_alloc(conf, len + 1);
  if (copy == NULL)
    return SMPL_ENOMEM;
  memcpy(copy, text, len + 1);
  memcpy(out, &copy, sizeof copy);
  return SMPL_OK;
}

static bool name_char(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         strchr("._-@+", c) != NULL;
}

bool config_is_name(const char *text)
{
  size_t len = strlen(text);
  for (size_t i = 0; i < len; i++)
    if (!name_char(text[i]))
      return false;
  return len > 0 && len < CONFIG_NAME_MAX && text[0] != '-';
}

static int parse_name(conf_t *conf, const char *text, size_t len, void *out)
{
  return config_is_name(text) ? keep_text(conf, text, len, out) : SMPL_EINVAL;
}

static const conf_scalar_t scalar_name = {
    .expected = "a name of up to 63 letters, digits and . _ - @ +",
    .size = sizeof(const char *),
    .parse = parse_name,
    .same = conf_same_text,
};

/* A pattern without wildcard and port is a name. */
static int parse_domain(conf_t *conf, const char *text, size_t len, void *out)
{
  grant_pattern_t p;
  char with_port[GRANT_NAME_MAX + 3];
  if (len >= GRANT_NAME_MAX)
    return SMPL_ELIMIT;
  memcpy(with_port, text, len);
  memcpy(with_port + len, ":*", 3);
  int err = grant_pattern_parse(with_port, len + 2, &p);
  if (err || p.is_ip || p.wild != GRANT_WILD_NONE)
    return SMPL_EINVAL;
  return keep_text(conf, p.suffix, strlen(p.suffix), out);
}

static const conf_scalar_t scalar_domain = {
    .expected = "a domain (smplkit.local)",
    .size = sizeof(const char *),
    .parse = parse_domain,
    .same = conf_same_text,
};

static int parse_target(conf_t *conf, const char *text, size_t len, void *out)
{
  target_conf_t t;
  int err = grant_pattern_parse(text, len, &t.pattern);
  if (!err)
    err = keep_text(conf, text, len, &t.text);
  if (!err)
    memcpy(out, &t, sizeof t);
  return err;
}

static const conf_scalar_t scalar_target = {
    .expected = "NAME:PORT with NAME a name, *.name, **.name, an IPv4 address or "
                "network or [IPv6], PORT a number, several (80,443) or *",
    .size = sizeof(target_conf_t),
    .parse = parse_target,
};

static int parse_hours(conf_t *conf, const char *text, size_t len, void *out)
{
  hours_conf_t h;
  if (len > CONFIG_HOURS_LEN_MAX)
    return SMPL_EINVAL;
  int err = hours_parse(text, len, &h.window);
  if (!err)
    err = keep_text(conf, text, len, &h.text);
  if (!err)
    memcpy(out, &h, sizeof h);
  return err;
}

static const conf_scalar_t scalar_hours = {
    .expected = "DAYS HH:MM-HH:MM, such as Mon-Fri 08:00-18:00 or Sat,Sun 10:00-12:00",
    .size = sizeof(hours_conf_t),
    .parse = parse_hours,
};

static int parse_description(conf_t *conf, const char *text, size_t len, void *out)
{
  char clean[CONFIG_DESCRIPTION_MAX + 1];
  if (len == 0 || len > CONFIG_DESCRIPTION_MAX || text_printable(clean, sizeof clean, text, len) != len ||
      memcmp(clean, text, len) != 0)
    return SMPL_EINVAL;
  return keep_text(conf, text, len, out);
}

static const conf_scalar_t scalar_description = {
    .expected = "one line of up to 200 bytes",
    .size = sizeof(const char *),
    .parse = parse_description,
    .same = conf_same_text,
};

static int parse_sink(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  return headsink_parse(text, len, out);
}

static const conf_scalar_t scalar_sink = {
    .expected = "syslog, journald, or one of them with :PATH of its socket",
    .size = sizeof(headsink_conf_t),
    .parse = parse_sink,
    .same = conf_same_bytes,
};

/* "16MiB", or a bare 0. */
static int parse_size(conf_t *conf, const char *text, size_t len, void *out)
{
  static const struct {
    const char *unit;
    unsigned shift;
  } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
  enum { SIZE_MAX_SHIFT = 42, UNIT_LEN = 3 };
  uint64_t n;
  (void)conf;
  if (len == 1 && text[0] == '0') {
    *(uint64_t *)out = 0;
    return SMPL_OK;
  }
  for (size_t i = 0; i < COUNT_OF(units) && len > UNIT_LEN; i++) {
    if (strcmp(text + len - UNIT_LEN, units[i].unit) != 0)
      continue;
    int err = text_parse_u64(text, len - UNIT_LEN, 1ull << (SIZE_MAX_SHIFT - units[i].shift), &n);
    if (!err)
      *(uint64_t *)out = n << units[i].shift;
    return err;
  }
  return SMPL_EINVAL;
}

/* In MiB: so are the defaults. */
static char *format_size(const void *value, char *buf, size_t cap)
{
  snprintf(buf, cap, "%lluMiB", (unsigned long long)*(const uint64_t *)value >> 20);
  return buf;
}

static const conf_scalar_t scalar_size = {
    .expected = "a size with KiB, MiB or GiB (16MiB), or 0",
    .size = sizeof(uint64_t),
    .parse = parse_size,
    .same = conf_same_bytes,
    .format = format_size,
};

static const char *const algorithms_names[MSG_ALGORITHMS_COUNT] = {
    [MSG_ALGORITHMS_MODERN] = "modern", [MSG_ALGORITHMS_COMPATIBLE] = "compatible"};

static int parse_algorithms(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  for (int i = 0; i < MSG_ALGORITHMS_COUNT; i++) {
    if (strlen(algorithms_names[i]) != len || memcmp(algorithms_names[i], text, len) != 0)
      continue;
    *(msg_algorithms_t *)out = (msg_algorithms_t)i;
    return SMPL_OK;
  }
  return SMPL_EINVAL;
}

static const conf_scalar_t scalar_algorithms = {
    .expected = "modern or compatible",
    .size = sizeof(msg_algorithms_t),
    .parse = parse_algorithms,
    .same = conf_same_bytes,
};

const char *config_algorithms(const config_t *c)
{
  return algorithms_names[c->algorithms];
}

static int parse_startups(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  uint64_t v[3];
  const char *at = text;
  const char *end = text + len;
  for (int i = 0; i < 3; i++) {
    const char *stop = i < 2 ? memchr(at, ':', (size_t)(end - at)) : end;
    if (stop == NULL || text_parse_u64(at, (size_t)(stop - at), CONFIG_CONNECTIONS_MAX, &v[i]))
      return SMPL_EINVAL;
    at = stop + 1;
  }
  if (v[0] == 0 || v[1] > 100 || v[2] < v[0])
    return SMPL_EINVAL;
  *(startups_t *)out = (startups_t){(uint32_t)v[0], (uint32_t)v[1], (uint32_t)v[2]};
  return SMPL_OK;
}

static char *format_startups(const void *value, char *buf, size_t cap)
{
  const startups_t *s = value;
  snprintf(buf, cap, "%u:%u:%u", s->begin, s->rate, s->full);
  return buf;
}

static const conf_scalar_t scalar_startups = {
    .expected = "BEGIN:PERCENT:FULL, such as 10:30:100 (from 10 connections "
                "that have not signed in 30 % make one give way, at 100 all)",
    .size = sizeof(startups_t),
    .parse = parse_startups,
    .same = conf_same_bytes,
    .format = format_startups,
};

/* ---- the tables ---- */

enum { MINUTE_MS = 60 * 1000, DAY_MS = 86400 * 1000 };
enum { KEYS_TRIES = 3 }; /* to read a keys file that is being replaced */

static const conf_field_t user_fields[] = {
    {"name", CONF_ONE, offsetof(user_conf_t, name), .scalar = &scalar_name, .required = true,
     .doc = "the name that the user signs in with"},
    {"keys", CONF_ONE, offsetof(user_conf_t, keys_path), .scalar = &conf_path, .required = true,
     .doc = "a file in authorized_keys format; one that cannot be read has no key"},
    {"groups", CONF_MANY, offsetof(user_conf_t, groups), .scalar = &scalar_name, .allow_empty = true,
     .most = 64, .doc = "groups that the user is in; grants name them"},
};
static const conf_map_t user_map = {"a user", sizeof(user_conf_t), user_fields, COUNT_OF(user_fields), NULL};

static const conf_field_t grant_fields[] = {
    {"groups", CONF_MANY, offsetof(grant_conf_t, groups), .scalar = &scalar_name, .allow_empty = true,
     .most = 1000, .doc = "who has the grant: all users of these groups"},
    {"users", CONF_MANY, offsetof(grant_conf_t, users), .scalar = &scalar_name, .allow_empty = true,
     .most = CONFIG_USERS_MAX, .doc = "who has the grant: these users"},
    {"targets", CONF_MANY, offsetof(grant_conf_t, targets), .scalar = &scalar_target, .required = true,
     .most = 1000, .doc = "what may be reached: NAME:PORT; *.NAME is one label more, **.NAME any number"},
    {"networks", CONF_MANY, offsetof(grant_conf_t, networks), .scalar = &conf_ip_net, .required = true,
     .most = 256, .doc = "the networks that all addresses of a target must lie in"},
    {"idle", CONF_ONE, offsetof(grant_conf_t, idle_ms), .scalar = &conf_duration, .min = 1000,
     .max = 7ull * DAY_MS, .doc = "a session ends after so long without a forwarded byte"},
    {"session", CONF_ONE, offsetof(grant_conf_t, session_ms), .scalar = &conf_duration, .min = 1000,
     .max = 30ull * DAY_MS, .doc = "a session ends after so long"},
    {"hours", CONF_ONE_OR_MANY, offsetof(grant_conf_t, hours), .scalar = &scalar_hours,
     .most = HOURS_WINDOWS_MAX,
     .doc = "when the grant is in force, on this machine's clock; without it always"},
    {"max_sessions", CONF_ONE, offsetof(grant_conf_t, max_sessions), .scalar = &conf_uint, .min = 1,
     .max = CONFIG_CONNECTIONS_MAX, .doc = "how many sessions of one user may use the grant at once"},
    {"description", CONF_ONE, offsetof(grant_conf_t, description), .scalar = &scalar_description,
     .doc = "what it is for; explain and smpl-control targets show it"},
};

static void grant_defaults(void *out)
{
  grant_conf_t *g = out;
  g->idle_ms = 20 * MINUTE_MS;
  g->session_ms = 8 * 60 * MINUTE_MS;
}

static const conf_map_t grant_map = {"a grant", sizeof(grant_conf_t), grant_fields, COUNT_OF(grant_fields),
                                     grant_defaults};

static const conf_field_t rate_fields[] = {
    {"connections", CONF_ONE, offsetof(connection_rate_t, connections), .scalar = &conf_uint,
     .max = CONFIG_RATE_MAX, .doc = "new connections and logins of one user a second; 0 is no limit"},
    {"burst", CONF_ONE, offsetof(connection_rate_t, burst), .scalar = &conf_uint, .min = 1,
     .max = CONFIG_RATE_MAX, .doc = "how many of them at once"},
};

static void rate_defaults(void *out)
{
  *(connection_rate_t *)out = (connection_rate_t){CONFIG_RATE_PER_SECOND, CONFIG_RATE_BURST};
}

static const conf_map_t rate_map = {"connection_rate", sizeof(connection_rate_t), rate_fields,
                                    COUNT_OF(rate_fields), rate_defaults};

static const conf_field_t limits_fields[] = {
    {"login_grace", CONF_ONE, offsetof(limits_conf_t, login_grace_ms), .scalar = &conf_duration, .min = 1000,
     .max = 10 * MINUTE_MS, .doc = "how long a client has to sign in"},
    {"startups", CONF_ONE, offsetof(limits_conf_t, startups), .scalar = &scalar_startups,
     .doc = "from how many connections that have not signed in some give way, and from how many all"},
    {"startups_per_source", CONF_ONE, offsetof(limits_conf_t, startups_per_source), .scalar = &conf_uint,
     .min = 1, .max = CONFIG_CONNECTIONS_MAX,
     .doc = "how many connections of one source may not have signed in"},
    {"connections", CONF_ONE, offsetof(limits_conf_t, connections), .scalar = &conf_uint, .min = 1,
     .max = CONFIG_CONNECTIONS_MAX, .doc = "how many connections there may be in all"},
    {"sessions_per_user", CONF_ONE, offsetof(limits_conf_t, sessions_per_user), .scalar = &conf_uint,
     .min = 1, .max = CONFIG_CONNECTIONS_MAX, .doc = "how many sessions one user may have"},
    {"channels", CONF_ONE, offsetof(limits_conf_t, channels), .scalar = &conf_uint, .min = 1,
     .max = CONFIG_CHANNELS_MAX, .doc = "how many connections one session may forward at once"},
    {"drain", CONF_ONE, offsetof(limits_conf_t, drain_ms), .scalar = &conf_duration, .max = 60 * MINUTE_MS,
     .doc = "how long open connections have to finish after SIGTERM"},
    {"connection_rate", CONF_MAP, offsetof(limits_conf_t, connection_rate), .map = &rate_map,
     .doc = "how fast one user may open connections and sign in"},
};

static void limits_defaults(void *out)
{
  *(limits_conf_t *)out = (limits_conf_t){30 * 1000,
                                          {10, 30, 100},
                                          CONFIG_STARTUPS_PER_SOURCE,
                                          512,
                                          16,
                                          256,
                                          CONFIG_DRAIN_MS,
                                          {CONFIG_RATE_PER_SECOND, CONFIG_RATE_BURST}};
}

static const conf_map_t limits_map = {"limits", sizeof(limits_conf_t), limits_fields, COUNT_OF(limits_fields),
                                      limits_defaults};

static const conf_field_t silent_fields[] = {
    {"rate", CONF_ONE, offsetof(penalty_silent_t, rate), .scalar = &conf_uint, .min = 1,
     .max = CONFIG_SILENT_MAX, .doc = "connections of one source a second that go without trying to sign in"},
    {"burst", CONF_ONE, offsetof(penalty_silent_t, burst), .scalar = &conf_uint, .min = 1,
     .max = CONFIG_SILENT_MAX, .doc = "how many of them at once"},
};
static void silent_defaults(void *out)
{
  *(penalty_silent_t *)out = (penalty_silent_t){PENALTY_SILENT_RATE, PENALTY_SILENT_BURST};
}

static const conf_map_t silent_map = {"silent", sizeof(penalty_silent_t), silent_fields,
                                      COUNT_OF(silent_fields), silent_defaults};

static const conf_field_t penalties_fields[] = {
    {"enabled", CONF_ONE, offsetof(penalties_conf_t, enabled), .scalar = &conf_bool,
     .doc = "whether sources that fail to sign in are closed out for a while"},
    {"exempt", CONF_MANY, offsetof(penalties_conf_t, exempt), .scalar = &conf_ip_net, .allow_empty = true,
     .most = 256, .doc = "networks that are never closed out; without it loopback"},
    {"silent", CONF_MAP, offsetof(penalties_conf_t, silent), .map = &silent_map,
     .doc = "connections that go without trying to sign in"},
};
static void penalties_defaults(void *out)
{
  penalties_conf_t *p = out;
  p->enabled = true;
  silent_defaults(&p->silent);
}

static const conf_map_t penalties_map = {"penalties", sizeof(penalties_conf_t), penalties_fields,
                                         COUNT_OF(penalties_fields), penalties_defaults};

static const conf_field_t roles_fields[] = {
    {"read", CONF_MANY, offsetof(roles_t, read), .scalar = &roles_scalar, .allow_empty = true, .most = 256,
     .doc = "accounts and @groups that may look: status, sessions, explain, blocks"},
    {"terminate", CONF_MANY, offsetof(roles_t, terminate), .scalar = &roles_scalar, .allow_empty = true,
     .most = 256, .doc = "accounts and @groups that may also end sessions, reload, block and unblock"},
};
static const conf_map_t roles_map = {"roles", sizeof(roles_t), roles_fields, COUNT_OF(roles_fields), NULL};

static const conf_field_t config_fields[] = {
    {"listen", CONF_MANY, offsetof(config_t, listen), .scalar = &conf_endpoint, .required = true,
     .most = CONFIG_LISTEN_MAX, .doc = "addresses and ports of the SSH server"},
    {"host_keys", CONF_MANY, offsetof(config_t, host_keys), .scalar = &conf_path, .required = true,
     .most = MSG_HOST_KEYS_MAX, .doc = "files of host keys, at most one of each kind: ed25519, ecdsa, rsa"},
    {"algorithms", CONF_ONE, offsetof(config_t, algorithms), .scalar = &scalar_algorithms,
     .doc = "which algorithms are offered: modern (the default), or compatible for older clients"},
    {"resolver", CONF_MAP, offsetof(config_t, resolver), .map = &resolver_conf_map, .required = true,
     .doc = "the DNS servers that look up the names of targets"},
    {"connect_from", CONF_MANY, offsetof(config_t, connect_from), .scalar = &conf_ip, .most = 8,
     .doc = "addresses that connections to targets come from; without it the system chooses"},
    {"search", CONF_MANY, offsetof(config_t, search), .scalar = &scalar_domain, .allow_empty = true,
     .most = CONFIG_SEARCH_MAX, .doc = "domains that names without a final dot are looked up in"},
    {"users", CONF_MAPS, offsetof(config_t, users), .map = &user_map, .required = true, .allow_empty = true,
     .most = CONFIG_USERS_MAX, .doc = "who may sign in"},
    {"grants", CONF_MAPS, offsetof(config_t, grant_confs), .map = &grant_map, .required = true,
     .allow_empty = true, .most = CONFIG_GRANTS_MAX, .doc = "who may reach what"},
    {"limits", CONF_MAP, offsetof(config_t, limits), .map = &limits_map,
     .doc = "how much there may be of what all share"},
    {"penalties", CONF_MAP, offsetof(config_t, penalties), .map = &penalties_map,
     .doc = "what happens to sources that fail to sign in"},
    {"roles", CONF_MAP, offsetof(config_t, roles), .map = &roles_map,
     .doc = "who may do what over the control socket; without it all whom its mode lets in"},
    {"user", CONF_ONE, offsetof(config_t, user), .scalar = &scalar_name, .fixed = true,
     .doc = "the account that the broker becomes when it is started as root"},
    {"free_bind", CONF_ONE, offsetof(config_t, free_bind), .scalar = &conf_bool,
     .doc = "whether addresses that this machine does not have yet are bound"},
    {"core_dumps", CONF_ONE, offsetof(config_t, core_dumps), .scalar = &conf_bool, .fixed = true,
     .doc = "whether the broker may leave core dumps"},
    {"libssh", CONF_MAP, offsetof(config_t, libssh), .map = &libssh_conf_map,
     .doc = "which versions of libssh are accepted"},
    {"audit", CONF_ONE, offsetof(config_t, audit), .scalar = &conf_path, .required = true, .fixed = true,
     .doc = "the file of the audit"},
    {"audit_reserve", CONF_ONE, offsetof(config_t, audit_reserve), .scalar = &scalar_size,
     .doc = "how much of the audit's disk stays free for those who wrote little"},
    {"audit_sink", CONF_ONE, offsetof(config_t, audit_sink), .scalar = &scalar_sink, .fixed = true,
     .doc = "a second place that is told the audit's head"},
    {"metrics", CONF_ONE_OR_MAP, offsetof(config_t, metrics), .map = &metrics_conf_map, .fixed = true,
     .doc = "where Prometheus reads the metrics; nowhere unless given"},
    {"control", CONF_ONE, offsetof(config_t, control), .scalar = &conf_path, .required = true, .fixed = true,
     .doc = "the control socket"},
    {"state", CONF_ONE, offsetof(config_t, state), .scalar = &conf_path, .fixed = true,
     .doc = "a folder for what outlives the process: blocks and the audit's head"},
};

static void config_defaults(void *out)
{
  limits_defaults(&((config_t *)out)->limits);
  penalties_defaults(&((config_t *)out)->penalties);
  ((config_t *)out)->free_bind = true;
  ((config_t *)out)->audit_reserve = CONFIG_AUDIT_RESERVE;
}

const conf_map_t config_map = {"the configuration", sizeof(config_t), config_fields, COUNT_OF(config_fields),
                               config_defaults};

/* ---- what tables cannot say ---- */

static int check_endpoints(config_t *c, diag_t *diag)
{
  const endpoint_t *listen = c->listen.items;
  for (size_t i = 0; i < c->listen.count; i++) {
    if (listen[i].port == 0)
      return conf_fail(c->conf, diag, &listen[i], "listen: the port is missing (22, or 2222 without root)");
    for (size_t j = 0; j < i; j++)
      if (listen[i].port == listen[j].port && ip_equal(&listen[i].ip, &listen[j].ip))
        return conf_fail(c->conf, diag, &listen[i], "listen: the same address twice");
  }
  c->metrics.free_bind = c->free_bind;
  return metrics_conf_check(c->conf, &c->metrics, diag);
}

static int check_paths(const config_t *c, diag_t *diag)
{
  int err = control_conf_check(c->conf, &c->control, diag);
  if (!err && strlen(c->audit) >= PATH_MAX)
    err = conf_fail(c->conf, diag, &c->audit, "audit: a path has at most %d bytes, this one %zu",
                    PATH_MAX - 1, strlen(c->audit));
  return err;
}

static int check_limits(const config_t *c, diag_t *diag)
{
  const limits_conf_t *l = &c->limits;
  if (conf_given(c->conf, &l->startups) && l->startups.full > l->connections)
    return conf_fail(c->conf, diag, &l->startups,
                     "startups: %u connections that have not signed in are more than all %llu "
                     "(connections)",
                     l->startups.full, (unsigned long long)l->connections);
  return SMPL_OK;
}

/* What may well be meant, at the place of a field of the configuration. name is put behind in quotes unless
 * it is "". */
static void add_warning(config_t *c, const void *field, const char *what, const char *name)
{
  char place[DIAG_TEXT_MAX / 2];
  const char *quote = name[0] != '\0' ? "'" : "";
  faults_add(&c->faults, FAULT_WARNING, "%s: %s%s%s%s", conf_place(c->conf, field, place, sizeof place), what,
             quote, name, quote);
}

/* An editor may put another file in its place at any time. */
static int read_keys(const char *path, char **text, size_t *len, diag_t *why)
{
  int err = SMPL_EAGAIN;
  for (int i = 0; i < KEYS_TRIES && err == SMPL_EAGAIN; i++) {
    *why = (diag_t){""};
    err = file_read_trusted(path, AUTHKEYS_FILE_MAX, text, len, why);
  }
  return err;
}

/* Nothing is said of the file where this process has run out of something. */
static bool ran_out(int err)
{
  return err == SMPL_ENOMEM || (err == SMPL_ESYS && (errno == EMFILE || errno == ENFILE || errno == ENOMEM));
}

/* A file that is gone, that cannot be read or that others can write has nobody's keys: whoever left is out,
 * and what is wrong with one file concerns nobody else. */
static int load_keys(config_t *c, user_conf_t *user, diag_t *diag)
{
  diag_t why = {""};
  char place[DIAG_TEXT_MAX / 2], *text;
  size_t len;
  int err = read_keys(user->keys_path, &text, &len, &why);
  if (err && ran_out(err))
    return conf_fail(c->conf, diag, &user->keys_path, "keys: %s", why.text);
  if (err) {
    faults_add(&c->faults, FAULT_ERROR, "%s: keys: %s (%s has no key and cannot sign in)",
               conf_place(c->conf, &user->keys_path, place, sizeof place), why.text, user->name);
    return SMPL_OK;
  }
  err = authkeys_parse(user->keys_path, text, len, &user->keys, &c->faults);
  free(text);
  if (!err && user->keys.count == 0)
    faults_add(&c->faults, FAULT_WARNING, "%s: no key in the file: %s cannot sign in", user->keys_path,
               user->name);
  return err ? diag_fail(diag, err, "out of memory") : SMPL_OK;
}

static int load_users(config_t *c, diag_t *diag)
{
  user_conf_t *users = c->users.items;
  if (c->users.count == 0)
    add_warning(c, &c->users, "users: nobody is left", "");
  for (size_t i = 0; i < c->users.count; i++) {
    for (size_t j = 0; j < i; j++)
      if (strcmp(users[i].name, users[j].name) == 0)
        return conf_fail(c->conf, diag, &users[i], "users: '%s' is there twice", users[i].name);
    int err = load_keys(c, &users[i], diag);
    if (err)
      return err;
  }
  return SMPL_OK;
}

/* Names in order, to be found among many: users and grants may be ten thousand each. */
typedef struct names {
  const char **list;
  size_t count;
} names_t;

static int compare_names(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool has_name(const names_t *names, const char *name)
{
  return names->count > 0 &&
         bsearch(&name, names->list, names->count, sizeof *names->list, compare_names) != NULL;
}

/* Of all users, or of all groups that somebody is in. */
static int gather_names(const config_t *c, bool groups, names_t *out)
{
  const user_conf_t *users = c->users.items;
  size_t room = groups ? 0 : c->users.count;
  for (size_t i = 0; groups && i < c->users.count; i++)
    room += users[i].groups.count;
  *out = (names_t){calloc(room + 1, sizeof *out->list), 0};
  if (out->list == NULL)
    return SMPL_ENOMEM;
  for (size_t i = 0; i < c->users.count; i++) {
    const char *const *of = users[i].groups.items;
    if (!groups)
      out->list[out->count++] = users[i].name;
    for (size_t j = 0; groups && j < users[i].groups.count; j++)
      out->list[out->count++] = of[j];
  }
  qsort(out->list, out->count, sizeof *out->list, compare_names);
  return SMPL_OK;
}

/* A group in which nobody is left, or somebody who is not in `users` any more, is nobody. */
static int check_grant(config_t *c, const names_t *users, const names_t *groups, const grant_conf_t *g,
                       diag_t *diag)
{
  const char *const *names = g->users.items;
  if (!conf_given(c->conf, &g->users) && !conf_given(c->conf, &g->groups))
    return conf_fail(c->conf, diag, g, "a grant needs groups or users");
  if (g->users.count == 0 && g->groups.count == 0)
    add_warning(c, g, "a grant for nobody: its groups and users are empty", "");
  for (size_t i = 0; i < g->users.count; i++)
    if (!has_name(users, names[i]))
      add_warning(c, &names[i], "users: there is no user ", names[i]);
  names = g->groups.items;
  for (size_t i = 0; i < g->groups.count; i++)
    if (!has_name(groups, names[i]))
      add_warning(c, &names[i], "groups: no user is in a group ", names[i]);
  return SMPL_OK;
}

static void check_members(config_t *c, const char *key, const conf_list_t *list)
{
  char place[DIAG_TEXT_MAX / 2];
  const char *why = roles_are_hidden()
                        ? "cannot be looked up, since the start named none: that needs a restart"
                        : "there is no such account or group on this system";
  const role_member_t *members = list->items;
  for (size_t i = 0; i < list->count; i++)
    if (members[i].missing)
      faults_add(&c->faults, FAULT_ERROR, "%s: %s: %s", conf_place(c->conf, &members[i], place, sizeof place),
                 key, why);
}

static void check_roles(config_t *c)
{
  c->roles.given = conf_given_map(c->conf, &c->roles);
  check_members(c, "roles: read", &c->roles.read);
  check_members(c, "roles: terminate", &c->roles.terminate);
}

static int make_grant(config_t *c, const grant_conf_t *g, grant_t *out, diag_t *diag)
{
  grant_pattern_t *patterns = conf_alloc(c->conf, g->targets.count * sizeof *patterns);
  hours_window_t *hours = conf_alloc(c->conf, g->hours.count * sizeof *hours);
  if (patterns == NULL || hours == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t t = 0; t < g->targets.count; t++)
    patterns[t] = ((const target_conf_t *)g->targets.items)[t].pattern;
  for (size_t h = 0; h < g->hours.count; h++)
    hours[h] = ((const hours_conf_t *)g->hours.items)[h].window;
  *out = (grant_t){.users = g->users.items,
                   .user_count = g->users.count,
                   .groups = g->groups.items,
                   .group_count = g->groups.count,
                   .targets = patterns,
                   .target_count = g->targets.count,
                   .networks = g->networks.items,
                   .network_count = g->networks.count,
                   .idle_ms = g->idle_ms,
                   .session_ms = g->session_ms,
                   .hours = hours,
                   .hour_count = g->hours.count,
                   .max_sessions = g->max_sessions};
  return SMPL_OK;
}

static int make_all(config_t *c, const names_t *users, const names_t *groups, diag_t *diag)
{
  const grant_conf_t *confs = c->grant_confs.items;
  int err = SMPL_OK;
  for (size_t i = 0; i < c->grant_confs.count && !err; i++) {
    err = check_grant(c, users, groups, &confs[i], diag);
    if (!err)
      err = make_grant(c, &confs[i], &c->grants[i], diag);
  }
  return err;
}

static int make_grants(config_t *c, diag_t *diag)
{
  names_t users = {NULL, 0}, groups = {NULL, 0};
  c->grants = conf_alloc(c->conf, c->grant_confs.count * sizeof *c->grants);
  int err = c->grants == NULL ? SMPL_ENOMEM : gather_names(c, false, &users);
  if (!err)
    err = gather_names(c, true, &groups);
  if (err)
    diag_fail(diag, err, "out of memory");
  else
    err = make_all(c, &users, &groups, diag);
  free(users.list);
  free(groups.list);
  return err;
}

static int load_host_keys(config_t *c, diag_t *diag)
{
  const char *const *paths = c->host_keys.items;
  diag_t why = {""};
  size_t at;
  int err = hostkeys_load(paths, c->host_keys.count, &c->keys, &at, &why);
  return err ? conf_fail(c->conf, diag, &paths[at], "host_keys: %s", why.text) : SMPL_OK;
}

/* One that was left out could be reached through a session. */
static int add_own(config_t *c, const endpoint_t *listen, const ip_t *ip, diag_t *diag)
{
  if (c->own_count == CONFIG_OWN_MAX)
    return conf_fail(c->conf, diag, listen,
                     "listen: this machine has more than %d addresses; name those to listen at",
                     CONFIG_OWN_MAX);
  c->own[c->own_count++] = (endpoint_t){*ip, listen->port};
  return SMPL_OK;
}

/* Our own ssh listeners are never a target; one on the unspecified address stands at all of the machine's. */
static int find_own(config_t *c, diag_t *diag)
{
  const endpoint_t *listen = c->listen.items;
  struct ifaddrs *all = NULL;
  if (getifaddrs(&all) < 0)
    return diag_fail_errno(diag, "the machine's addresses cannot be listed");
  int err = SMPL_OK;
  for (size_t i = 0; i < c->listen.count && !err; i++) {
    err = add_own(c, &listen[i], &listen[i].ip, diag);
    if (!ip_is_unspecified(&listen[i].ip))
      continue;
    for (const struct ifaddrs *a = all; a != NULL && !err; a = a->ifa_next) {
      endpoint_t ep;
      if (a->ifa_addr != NULL && endpoint_from_sockaddr(a->ifa_addr, &ep) == SMPL_OK)
        err = add_own(c, &listen[i], &ep.ip, diag);
    }
  }
  freeifaddrs(all);
  return err;
}

int config_load_paths(const char *path, config_t **out, diag_t *diag)
{
  *out = NULL;
  config_t *c = calloc(1, sizeof *c);
  if (c == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = conf_load(path, &config_map, c, &c->conf, diag);
  if (!err)
    err = check_endpoints(c, diag);
  if (err)
    config_free(c);
  else
    *out = c;
  return err;
}

int config_load(const char *path, config_t **out, diag_t *diag)
{
  config_t *c;
  *out = NULL;
  int err = config_load_paths(path, &c, diag);
  if (err)
    return err;
  err = resolver_conf_check(c->conf, &c->resolver, diag);
  if (!err)
    err = check_paths(c, diag);
  if (!err)
    err = check_limits(c, diag);
  if (!err)
    err = load_users(c, diag);
  if (!err)
    err = make_grants(c, diag);
  if (!err)
    err = load_host_keys(c, diag);
  if (!err)
    err = find_own(c, diag);
  if (!err)
    check_roles(c);
  if (err) {
    config_free(c);
    return err;
  }
  *out = c;
  return SMPL_OK;
}

int config_check_fixed(const config_t *now, const config_t *next, diag_t *diag)
{
  return conf_fixed_check(next->conf, &config_map, now, next, diag);
}

void config_free(config_t *c)
{
  if (c == NULL)
    return;
  if (c->conf != NULL) {
    user_conf_t *users = c->users.items;
    for (size_t i = 0; i < c->users.count; i++)
      authkeys_free(&users[i].keys);
  }
  hostkeys_free(c->keys);
  faults_free(&c->faults);
  conf_free(c->conf);
  free(c);
}

const user_conf_t *config_user(const config_t *c, const char *name)
{
  const user_conf_t *users = c->users.items;
  for (size_t i = 0; i < c->users.count; i++)
    if (strcmp(users[i].name, name) == 0)
      return &users[i];
  return NULL;
}

grant_subject_t config_subject(const user_conf_t *user)
{
  return (grant_subject_t){user->name, user->groups.items, user->groups.count, hours_now(NULL)};
}

bool config_is_exempt(const config_t *c, const ip_t *source)
{
  const ip_net_t *nets = c->penalties.exempt.items;
  if (!c->penalties.enabled)
    return true;
  if (!conf_given(c->conf, &c->penalties.exempt))
    return ip_is_loopback(source);
  for (size_t i = 0; i < c->penalties.exempt.count; i++)
    if (ip_net_contains(&nets[i], source))
      return true;
  return false;
}

bool config_is_own(const config_t *c, const ip_t *ip, uint16_t port)
{
  for (size_t i = 0; i < c->own_count; i++)
    if (c->own[i].port == port &&
        (ip_equal(&c->own[i].ip, ip) || (ip_is_unspecified(&c->own[i].ip) && ip_is_loopback(ip))))
      return true;
  return false;
}

size_t config_grant_count(const config_t *c)
{
  return c->grant_confs.count;
}

const char *config_target_text(const config_t *c, const grant_decision_t *decision)
{
  const grant_conf_t *g = &((const grant_conf_t *)c->grant_confs.items)[decision->grant];
  return ((const target_conf_t *)g->targets.items)[decision->target].text;
}

static const grant_conf_t *grant_conf(const config_t *c, size_t grant)
{
  return &((const grant_conf_t *)c->grant_confs.items)[grant];
}

const char *config_grant_description(const config_t *c, size_t grant)
{
  return grant_conf(c, grant)->description;
}

char *config_grant_hours(const config_t *c, size_t grant, char *buf)
{
  const grant_conf_t *g = grant_conf(c, grant);
  size_t used = 0;
  buf[0] = '\0';
  for (size_t i = 0; i < g->hours.count; i++) {
    const char *text = ((const hours_conf_t *)g->hours.items)[i].text;
    used += (size_t)snprintf(buf + used, CONFIG_HOURS_TEXT_MAX - used, "%s%s", i > 0 ? ", " : "", text);
  }
  return buf;
}

char *config_grant_place(const config_t *c, size_t grant, char *buf, size_t cap)
{
  return conf_place(c->conf, &((const grant_conf_t *)c->grant_confs.items)[grant], buf, cap);
}

bool startups_strike(const startups_t *s, size_t waiting, unsigned random)
{
  if (waiting < s->begin)
    return false;
  if (waiting >= s->full)
    return true;
  size_t percent = s->rate + (100 - s->rate) * (waiting - s->begin) / (s->full - s->begin);
  return random < percent;
}
