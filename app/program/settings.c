/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/gate/gate.h"
#include "app/gate/rules.h"
#include "app/services/rates.h"
#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/text.h"

/* Scalars of our own */

static int keep_text(conf_t *conf, const char *text, size_t len, const char **out)
{
  char *copy = conf_alloc(conf, len + 1);
  if (copy == NULL)
    return SMPL_ENOMEM;
  memcpy(copy, text, len);
  *out = copy;
  return SMPL_OK;
}

static int parse_rule(conf_t *conf, const char *text, size_t len, void *out)
{
  const char *copy = NULL;
  int err = keep_text(conf, text, len, &copy);
  return err ? err : rule_parse(copy, out);
}

static const conf_scalar_t scalar_rule = {
    .expected = "a path like /api/v1/health, or /api/v1/* for all below",
    .size = sizeof(rule_t),
    .parse = parse_rule,
};

/* A host name without port; what stands in Host before the colon. */
static int parse_host(conf_t *conf, const char *text, size_t len, void *out)
{
  if (strpbrk(text, ":[]") != NULL || gate_host((const uint8_t *)text, len) != GATE_ADMIT)
    return SMPL_EINVAL;
  return keep_text(conf, text, len, out);
}

static const conf_scalar_t scalar_host = {
    .expected = "a host name without port",
    .size = sizeof(const char *),
    .parse = parse_host,
    .same = conf_same_text,
};

/* "http://name[:port]", nothing after it. */
static int parse_base_url(conf_t *conf, const char *text, size_t len, void *out)
{
  static const char scheme[] = "http://";
  size_t skip = sizeof scheme - 1;
  if (len <= skip || memcmp(text, scheme, skip) != 0 ||
      gate_host((const uint8_t *)text + skip, len - skip) != GATE_ADMIT)
    return SMPL_EINVAL;
  return keep_text(conf, text, len, out);
}

static const conf_scalar_t scalar_base_url = {
    .expected = "a URL like http://config.internal.smplkit.local",
    .size = sizeof(const char *),
    .parse = parse_base_url,
    .same = conf_same_text,
};

static int parse_listener_name(conf_t *conf, const char *text, size_t len, void *out)
{
  if (len > 32 || !(text_lower(text[0]) >= 'a' && text_lower(text[0]) <= 'z'))
    return SMPL_EINVAL;
  for (size_t i = 0; i < len; i++) {
    char c = text_lower(text[i]);
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
      return SMPL_EINVAL;
  }
  return keep_text(conf, text, len, out);
}

static const conf_scalar_t scalar_listener_name = {
    .expected = "a name of up to 32 letters, digits, - and _",
    .size = sizeof(const char *),
    .parse = parse_listener_name,
    .same = conf_same_text,
};

static int parse_sha256(conf_t *conf, const char *text, size_t len, void *out)
{
  static const char digits[] = "0123456789abcdef";
  uint8_t *hash = out;
  (void)conf;
  if (len != 2 * KEY_HASH_LEN)
    return SMPL_EINVAL;
  memset(hash, 0, KEY_HASH_LEN);
  for (size_t i = 0; i < len; i++) {
    const char *digit = memchr(digits, text_lower(text[i]), sizeof digits - 1);
    if (digit == NULL)
      return SMPL_EINVAL;
    hash[i / 2] = (uint8_t)(hash[i / 2] << 4 | (digit - digits));
  }
  return SMPL_OK;
}

static const conf_scalar_t scalar_sha256 = {
    .expected = "the SHA-256 of a key, 64 hexadecimal digits, as smpl-app "
                "internal-key prints it",
    .size = KEY_HASH_LEN,
    .parse = parse_sha256,
    .same = conf_same_bytes,
};

static int parse_operation(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  (void)len;
  operation_t operation = operation_named(text);
  memcpy(out, &operation, sizeof operation);
  return operation != OPERATION_OPEN ? SMPL_OK : SMPL_EINVAL;
}

#define OPERATION_WORD(id, name, what) " " name
static const conf_scalar_t scalar_operation = {
    .expected = "an operation of:" OPERATION_LIST(OPERATION_WORD),
    .size = sizeof(operation_t),
    .parse = parse_operation,
    .same = conf_same_bytes,
};

/* Tables */

static const conf_field_t tls_fields[] = {
    {"certificate", CONF_ONE, 0, .scalar = &conf_path, .required = true},
    {"key", CONF_ONE, sizeof(const char *), .scalar = &conf_path, .required = true},
};
static const conf_map_t tls_map = {"tls", 2 * sizeof(const char *), tls_fields, CONF_COUNT(tls_fields), NULL};

static const conf_field_t listener_fields[] = {
    {"name", CONF_ONE, offsetof(listener_settings_t, name), .scalar = &scalar_listener_name,
     .required = true},
    {"address", CONF_ONE, offsetof(listener_settings_t, address), .scalar = &conf_endpoint, .required = true},
    {"rules", CONF_MANY, offsetof(listener_settings_t, rules), .scalar = &scalar_rule, .required = true,
     .most = LIMIT_RULES},
    {"clients", CONF_MANY, offsetof(listener_settings_t, clients), .scalar = &conf_ip_net,
     .most = LIMIT_CLIENTS},
    {"hosts", CONF_MANY, offsetof(listener_settings_t, hosts), .scalar = &scalar_host, .most = LIMIT_HOSTS},
    {"tls", CONF_MAP, offsetof(listener_settings_t, tls), .map = &tls_map},
};
static const conf_map_t listener_map = {"http listener", sizeof(listener_settings_t), listener_fields,
                                        CONF_COUNT(listener_fields), NULL};

typedef struct internal_key_file {
  const char *name;
  uint8_t sha256[KEY_HASH_LEN];
  conf_list_t operations; /* operation_t */
} internal_key_file_t;

static const conf_field_t internal_key_fields[] = {
    {"name", CONF_ONE, offsetof(internal_key_file_t, name), .scalar = &scalar_listener_name,
     .required = true},
    {"sha256", CONF_ONE, offsetof(internal_key_file_t, sha256), .scalar = &scalar_sha256, .required = true,
     .is_private = true},
    {"operations", CONF_MANY, offsetof(internal_key_file_t, operations), .scalar = &scalar_operation,
     .required = true, .most = OPERATION_COUNT},
};
static const conf_map_t internal_key_map = {"internal key", sizeof(internal_key_file_t), internal_key_fields,
                                            CONF_COUNT(internal_key_fields), NULL};

typedef struct accounts_file {
  const char *url;
} accounts_file_t;

static const conf_field_t accounts_fields[] = {
    {"url", CONF_ONE, offsetof(accounts_file_t, url), .scalar = &scalar_base_url, .required = true},
};
static const conf_map_t accounts_map = {"accounts", sizeof(accounts_file_t), accounts_fields,
                                        CONF_COUNT(accounts_fields), NULL};

typedef struct drain_file {
  uint64_t lag, finish; /* ms */
} drain_file_t;

static void drain_defaults(void *out)
{
  *(drain_file_t *)out = (drain_file_t){.finish = LIMIT_DRAIN_MS};
}

static const conf_field_t drain_fields[] = {
    {"lag", CONF_ONE, offsetof(drain_file_t, lag), .scalar = &conf_duration, .max = LIMIT_DRAIN_MAX_MS},
    {"finish", CONF_ONE, offsetof(drain_file_t, finish), .scalar = &conf_duration, .max = LIMIT_DRAIN_MAX_MS},
};
static const conf_map_t drain_map = {"drain", sizeof(drain_file_t), drain_fields, CONF_COUNT(drain_fields),
                                     drain_defaults};

typedef struct rate_file {
  uint64_t requests, burst;
} rate_file_t;

static void rate_defaults(void *out)
{
  *(rate_file_t *)out = (rate_file_t){.requests = LIMIT_RATE_REQUESTS};
}

/* The first field is what a lone number means: 0 for no limit. */
static const conf_field_t rate_fields[] = {
    {"requests", CONF_ONE, offsetof(rate_file_t, requests), .scalar = &conf_uint,
     .max = LIMIT_RATE_REQUESTS_MAX},
    {"burst", CONF_ONE, offsetof(rate_file_t, burst), .scalar = &conf_uint, .min = 1,
     .max = LIMIT_RATE_BURST_MAX},
};
static const conf_map_t rate_map = {"rate_limit", sizeof(rate_file_t), rate_fields, CONF_COUNT(rate_fields),
                                    rate_defaults};

/* The file as it is written. */
typedef struct file {
  const char *service;
  conf_list_t listeners;
  conf_list_t balancers;
  const char *database;
  const char *revocations;
  accounts_file_t accounts;
  conf_list_t sisters;
  resolver_conf_t resolver;
  conf_list_t internal_keys; /* internal_key_file_t */
  const char *internal_key_file;
  const char *access_log;
  bool free_bind;
  bool core_dumps;
  const char *control;
  drain_file_t drain;
  rate_file_t rate;
} file_t;

static const conf_field_t file_fields[] = {
    {"service", CONF_ONE, offsetof(file_t, service), .scalar = &conf_string, .required = true},
    {"listeners", CONF_MAPS, offsetof(file_t, listeners), .map = &listener_map, .required = true,
     .most = LIMIT_LISTENERS},
    {"balancers", CONF_MANY, offsetof(file_t, balancers), .scalar = &conf_ip_net, .most = LIMIT_BALANCERS},
    {"database", CONF_ONE, offsetof(file_t, database), .scalar = &conf_path, .required = true},
    {"revocations", CONF_ONE, offsetof(file_t, revocations), .scalar = &conf_path},
    {"accounts", CONF_MAP, offsetof(file_t, accounts), .map = &accounts_map},
    {"sisters", CONF_MANY, offsetof(file_t, sisters), .scalar = &scalar_base_url, .most = LIMIT_SISTERS},
    {"resolver", CONF_MAP, offsetof(file_t, resolver), .map = &resolver_conf_map},
    {"internal_keys", CONF_MAPS, offsetof(file_t, internal_keys), .map = &internal_key_map,
     .most = INTERNAL_KEYS_MAX},
    {"internal_key_file", CONF_ONE, offsetof(file_t, internal_key_file), .scalar = &conf_path},
    {"access_log", CONF_ONE, offsetof(file_t, access_log), .scalar = &conf_path},
    {"free_bind", CONF_ONE, offsetof(file_t, free_bind), .scalar = &conf_bool},
    {"core_dumps", CONF_ONE, offsetof(file_t, core_dumps), .scalar = &conf_bool},
    {"control", CONF_ONE, offsetof(file_t, control), .scalar = &conf_path},
    {"rate_limit", CONF_ONE_OR_MAP, offsetof(file_t, rate), .map = &rate_map},
    {"drain", CONF_MAP, offsetof(file_t, drain), .map = &drain_map},
};

static void file_defaults(void *out)
{
  file_t *file = out;
  file->free_bind = true;
  drain_defaults(&file->drain);
  rate_defaults(&file->rate);
}

static const conf_map_t file_map = {"configuration", sizeof(file_t), file_fields, CONF_COUNT(file_fields),
                                    file_defaults};

const char *settings_key(size_t index)
{
  return index < CONF_COUNT(file_fields) ? file_fields[index].key : NULL;
}

/* Checks */

static int find_service(const conf_t *conf, const file_t *file, const service_t *const *services,
                        const service_t **out, diag_t *diag)
{
  char names[256] = "";
  size_t used = 0;
  for (size_t i = 0; services[i] != NULL; i++) {
    *out = services[i];
    if (strcmp(services[i]->name, file->service) == 0)
      return SMPL_OK;
    int n = snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", services[i]->name);
    used += n > 0 && (size_t)n < sizeof names - used ? (size_t)n : 0;
  }
  return conf_fail(conf, diag, &file->service, "no service '%s'; there is: %s", file->service, names);
}

static bool is_accounts(const file_t *file)
{
  return strcmp(file->service, "accounts") == 0;
}

/* Who calls whom: every other service asks the account service about keys, which tells its sisters of new
 * accounts. */
static int check_calls(const conf_t *conf, const file_t *file, diag_t *diag)
{
  bool has_accounts = conf_given_map(conf, &file->accounts);
  bool has_resolver = conf_given_map(conf, &file->resolver);
  if (is_accounts(file) && has_accounts)
    return conf_fail(conf, diag, &file->accounts.url, "the account service itself has no 'accounts'");
  if (!is_accounts(file) && !has_accounts)
    return conf_fail(conf, diag, &file->service,
                     "'accounts' is missing: where %s has API keys checked, as in "
                     "accounts: {url: \"http://app.internal.smplkit.local\"}",
                     file->service);
  if (!is_accounts(file) && file->revocations != NULL)
    return conf_fail(conf, diag, &file->revocations, "only the account service has 'revocations'");
  if (!is_accounts(file) && conf_given(conf, &file->sisters))
    return conf_fail(conf, diag, &file->sisters, "only the account service has 'sisters'");
  if ((has_accounts || file->sisters.count > 0) && !has_resolver)
    return conf_fail(conf, diag,
                     has_accounts ? (const void *)&file->accounts.url : (const void *)&file->sisters,
                     "'resolver' is missing: sister services are called by their private names, as in "
                     "resolver: {servers: [\"127.0.0.1:5300\"]}");
  return SMPL_OK;
}

/* The host of "http://host[:port]" if it is an address. */
static bool literal_host(const char *url, ip_t *ip)
{
  char host[IP_TEXT_MAX];
  const char *at = strstr(url, "://") + 3;
  bool bracket = at[0] == '[';
  at += bracket;
  size_t len = strcspn(at, bracket ? "]" : ":");
  if (len >= sizeof host)
    return false;
  memcpy(host, at, len);
  host[len] = '\0';
  return ip_parse(host, ip) == SMPL_OK;
}

/* Who is called is private: a name's addresses are judged when it is called, an address is here. */
static int check_private(const conf_t *conf, const void *field, const char *url, diag_t *diag)
{
  ip_t ip;
  if (!literal_host(url, &ip) || ip_is_private(&ip))
    return SMPL_OK;
  return conf_fail(conf, diag, field,
                   "'%s': not a private address (RFC 1918, 100.64.0.0/10, fc00::/7 or loopback)", url);
}

static int check_called(const conf_t *conf, const file_t *file, diag_t *diag)
{
  const char *const *sisters = file->sisters.items;
  int err = conf_given_map(conf, &file->accounts)
                ? check_private(conf, &file->accounts.url, file->accounts.url, diag)
                : SMPL_OK;
  for (size_t i = 0; !err && i < file->sisters.count; i++)
    err = check_private(conf, &sisters[i], sisters[i], diag);
  return err;
}

static int check_listeners(const conf_t *conf, const file_t *file, diag_t *diag)
{
  const listener_settings_t *all = file->listeners.items;
  for (size_t i = 0; i < file->listeners.count; i++) {
    if (all[i].address.port == 0)
      return conf_fail(conf, diag, &all[i].address, "http listener %s: port 0 is no port to be found at",
                       all[i].name);
    for (size_t j = 0; j < i; j++) {
      if (strcmp(all[i].name, all[j].name) == 0)
        return conf_fail(conf, diag, &all[i].name, "two http listeners are named %s", all[i].name);
      if (ip_equal(&all[i].address.ip, &all[j].address.ip) && all[i].address.port == all[j].address.port)
        return conf_fail(conf, diag, &all[i].address, "http listeners %s and %s have the same address",
                         all[j].name, all[i].name);
    }
  }
  return SMPL_OK;
}

/* Whoever is a balancer says whose a request is: that cannot be everybody. */
static int check_balancers(const conf_t *conf, const file_t *file, diag_t *diag)
{
  const ip_net_t *all = file->balancers.items;
  for (size_t i = 0; i < file->balancers.count; i++)
    if (all[i].prefix == (ip_net_is_v4(&all[i]) ? 96 : 0))
      return conf_fail(conf, diag, &all[i],
                       "balancers: with all addresses in it, everybody could name a source");
  return SMPL_OK;
}

static int check_internal_keys(const conf_t *conf, const file_t *file, diag_t *diag)
{
  const internal_key_file_t *all = file->internal_keys.items;
  for (size_t i = 0; i < file->internal_keys.count; i++) {
    size_t of_name = 1;
    for (size_t j = 0; j < i; j++) {
      of_name += strcmp(all[i].name, all[j].name) == 0;
      if (memcmp(all[i].sha256, all[j].sha256, sizeof all[i].sha256) == 0)
        return conf_fail(conf, diag, &all[i].sha256, "internal key %s: the key of %s again", all[i].name,
                         all[j].name);
    }
    if (of_name > INTERNAL_KEYS_OF_NAME_MAX)
      return conf_fail(conf, diag, &all[i].name,
                       "internal key %s: more than %d of one name; the old and the new one are enough",
                       all[i].name, INTERNAL_KEYS_OF_NAME_MAX);
  }
  return SMPL_OK;
}

static int check_control(const conf_t *conf, const file_t *file, diag_t *diag)
{
  size_t most = sizeof((struct sockaddr_un *)0)->sun_path - 1;
  if (file->control == NULL || strlen(file->control) <= most)
    return SMPL_OK;
  return conf_fail(conf, diag, &file->control, "control: a socket's path has at most %zu bytes, this one %zu",
                   most, strlen(file->control));
}

static int take_internal_keys(const file_t *file, settings_t *out, diag_t *diag)
{
  const internal_key_file_t *from = file->internal_keys.items;
  out->internal_key_count = file->internal_keys.count;
  out->internal_keys = conf_alloc(out->conf, (file->internal_keys.count + 1) * sizeof *out->internal_keys);
  if (out->internal_keys == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < file->internal_keys.count; i++) {
    internal_key_t *key = &out->internal_keys[i];
    const operation_t *operations = from[i].operations.items;
    snprintf(key->name, sizeof key->name, "%s", from[i].name);
    memcpy(key->hash, from[i].sha256, sizeof key->hash);
    for (size_t j = 0; j < from[i].operations.count; j++)
      key->operations |= 1u << operations[j];
  }
  return SMPL_OK;
}

/* The key that this service sends: one line, of a file that nobody else can read. */
static int read_internal_key(const file_t *file, settings_t *out, diag_t *diag)
{
  char *text = NULL;
  size_t len = 0;
  diag_t why = {.text = ""};
  if (file->internal_key_file == NULL)
    return SMPL_OK;
  const char *slash = strrchr(file->internal_key_file, '/');
  if (key_is_internal(slash != NULL ? slash + 1 : file->internal_key_file))
    return conf_fail(out->conf, diag, &file->internal_key_file,
                     "internal_key_file: expected the name of the file with the key, got the key itself");
  int err = file_read_secret(file->internal_key_file, INTERNAL_KEY_FILE_MAX, &text, &len, &why);
  if (err)
    return conf_fail(out->conf, diag, &file->internal_key_file, "internal_key_file: %s", why.text);
  text[strcspn(text, "\r\n")] = '\0';
  size_t rest = strlen(text);
  bool alone = rest == len || strspn(text + rest + 1, "\r\n") == len - rest - 1;
  if (alone && key_is_internal(text))
    memcpy(out->internal_key, text, sizeof out->internal_key);
  else
    err = conf_fail(out->conf, diag, &file->internal_key_file,
                    "internal_key_file: %s: expected one internal key, as smpl-app internal-key prints it",
                    file->internal_key_file);
  explicit_bzero(text, len);
  free(text);
  return err;
}

static int take(const file_t *file, settings_t *out, diag_t *diag)
{
  out->service_name = file->service;
  out->listeners = file->listeners;
  out->balancers = file->balancers;
  out->database = file->database;
  conf_place(out->conf, &file->database, out->database_place, sizeof out->database_place);
  out->revocations = file->revocations;
  out->accounts_url = file->accounts.url;
  out->sisters = file->sisters;
  out->resolver = file->resolver;
  out->access_log = file->access_log;
  out->free_bind = file->free_bind;
  out->core_dumps = file->core_dumps;
  out->control = file->control;
  conf_place(out->conf, &file->control, out->control_place, sizeof out->control_place);
  conf_place(out->conf, &file->service, out->service_place, sizeof out->service_place);
  out->internal_key_file = file->internal_key_file;
  out->drain_lag_ms = file->drain.lag;
  out->drain_finish_ms = file->drain.finish;
  out->rate_requests = file->rate.requests;
  out->rate_burst = file->rate.burst > 0 ? file->rate.burst : file->rate.requests * RATES_BURST_FACTOR;
  out->sister_urls = conf_alloc(out->conf, (file->sisters.count + 1) * sizeof *out->sister_urls);
  if (out->sister_urls == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < file->sisters.count; i++)
    out->sister_urls[i] = ((const char *const *)file->sisters.items)[i];
  return SMPL_OK;
}

int settings_load(const char *path, const service_t *const *services, settings_t *out, diag_t *diag)
{
  file_t file;
  *out = (settings_t){.conf = NULL};
  int err = conf_load(path, &file_map, &file, &out->conf, diag);
  if (err)
    return err;
  err = find_service(out->conf, &file, services, &out->service, diag);
  if (!err)
    err = resolver_conf_check(out->conf, &file.resolver, diag);
  if (!err)
    err = check_calls(out->conf, &file, diag);
  if (!err)
    err = check_called(out->conf, &file, diag);
  if (!err)
    err = check_listeners(out->conf, &file, diag);
  if (!err)
    err = check_balancers(out->conf, &file, diag);
  if (!err)
    err = check_internal_keys(out->conf, &file, diag);
  if (!err)
    err = check_control(out->conf, &file, diag);
  if (!err)
    err = take_internal_keys(&file, out, diag);
  if (!err)
    err = read_internal_key(&file, out, diag);
  if (!err)
    err = take(&file, out, diag);
  if (err)
    settings_free(out);
  return err;
}

int settings_check_database(const settings_t *settings, diag_t *diag)
{
  const char *path = settings->database, *slash = strrchr(path, '/');
  char folder[PATH_MAX];
  int len = slash == NULL || slash == path ? 1 : (int)(slash - path);
  snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : path);
  struct stat st;
  const char *why = NULL;
  if (stat(folder, &st) == 0 && !S_ISDIR(st.st_mode))
    why = "not a folder";
  else if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0)
    why = strerror(errno);
  if (why != NULL)
    return diag_fail(diag, SMPL_EINVAL,
                     "%s: the database's folder must be there and be writable, for its journal too: %s: %s",
                     settings->database_place, folder, why);
  if (stat(path, &st) == 0 &&
      (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0))
    return diag_fail(diag, SMPL_EINVAL, "%s: the database must be a file that can be written: %s: %s",
                     settings->database_place, path,
                     S_ISREG(st.st_mode) ? strerror(errno) : "not a regular file");
  return SMPL_OK;
}

int settings_check_control(const settings_t *settings, diag_t *diag)
{
  const char *path = settings->control, *slash = path != NULL ? strrchr(path, '/') : NULL;
  char folder[PATH_MAX];
  struct stat st;
  if (path == NULL)
    return SMPL_OK;
  int len = slash == NULL || slash == path ? 1 : (int)(slash - path);
  snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : path);
  if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
    return diag_fail(diag, SMPL_EINVAL, "%s: control: there is no folder %s", settings->control_place,
                     folder);
  if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
    return diag_fail(diag, SMPL_EINVAL, "%s: control: %s exists and is not a socket", settings->control_place,
                     path);
  return SMPL_OK;
}

/* For each operation that the service's routes need: who may. */
static void warn_of_operation(const settings_t *settings, operation_t operation,
                              void (*say)(void *ctx, const char *text), void *ctx)
{
  const service_t *service = settings->service;
  char text[DIAG_TEXT_MAX];
  unsigned held = 0;
  for (size_t i = 0; i < settings->internal_key_count; i++)
    held |= settings->internal_keys[i].operations;
  for (size_t i = 0; i < service->route_count && (held >> operation & 1) == 0; i++) {
    if (service->routes[i].operation != operation)
      continue;
    snprintf(
        text, sizeof text,
        "nobody may %s: no internal key in internal_keys has the operation %s, so such requests are refused",
        operation_purpose(operation), operation_name(operation));
    say(ctx, text);
    return;
  }
}

void settings_each_caller_warning(const settings_t *settings, void (*say)(void *ctx, const char *text),
                                  void *ctx)
{
  for (int i = OPERATION_FIRST; i < OPERATION_COUNT; i++)
    warn_of_operation(settings, (operation_t)i, say, ctx);
}

void settings_each_warning(const settings_t *settings, void (*say)(void *ctx, const char *text), void *ctx)
{
  settings_each_caller_warning(settings, say, ctx);
  if (settings->internal_key[0] == '\0' && (settings->accounts_url != NULL || settings->sisters.count > 0))
    say(ctx, "no internal_key_file: sister services will refuse what this one asks of them");
  if (settings->revocations == NULL && strcmp(settings->service_name, "accounts") == 0)
    say(ctx, "no revocations: after a restore all API keys of the backup will be disabled, since nothing "
             "tells which were "
             "revoked meanwhile");
}

void settings_free(settings_t *settings)
{
  explicit_bzero(settings->internal_key, sizeof settings->internal_key);
  conf_free(settings->conf);
  *settings = (settings_t){.conf = NULL};
}

service_env_t settings_env(const settings_t *s)
{
  return (service_env_t){.database = s->database,
                         .revocations = s->revocations,
                         .accounts_url = s->accounts_url,
                         .sister_urls = s->sister_urls,
                         .internal_key = s->internal_key[0] != '\0' ? s->internal_key : NULL,
                         .rate_requests = s->rate_requests,
                         .rate_burst = s->rate_burst,
                         .source = s->resolver.has_source ? &s->resolver.source : NULL};
}

/* Listeners */

static bool has_internal_route(const router_t *router)
{
  for (size_t i = 0; i < router_count(router); i++)
    if (router_route(router, i)->tier == TIER_INTERNAL)
      return true;
  return false;
}

/* An internal listener must not be where the internet could reach it, and must say who may. */
static int check_internal(const settings_t *settings, const listener_settings_t *from, diag_t *diag)
{
  if (ip_is_unspecified(&from->address.ip))
    return conf_fail(settings->conf, diag, &from->address,
                     "http listener %s admits internal routes: it needs one "
                     "private address, not all of the machine's",
                     from->name);
  if (!ip_is_private(&from->address.ip))
    return conf_fail(settings->conf, diag, &from->address,
                     "http listener %s admits internal routes: its address must "
                     "be private (RFC 1918, 100.64.0.0/10, fc00::/7 or loopback)",
                     from->name);
  if (from->clients.count == 0)
    return conf_fail(settings->conf, diag, &from->name,
                     "http listener %s admits internal routes: 'clients' is "
                     "missing, as in clients: [10.0.0.0/8]",
                     from->name);
  return SMPL_OK;
}

static int open_tls(const settings_t *settings, const listener_settings_t *from, tls_t **out, diag_t *diag)
{
  diag_t why = {.text = ""};
  if (from->tls.certificate == NULL)
    return SMPL_OK;
  if (tls_open(from->tls.certificate, from->tls.key, out, &why) == SMPL_OK)
    return SMPL_OK;
  return conf_fail(settings->conf, diag, &from->tls.certificate, "http listener %s: %s", from->name,
                   why.text);
}

static int make_listener(const settings_t *settings, const listener_settings_t *from,
                         const route_source_t *sources, size_t source_count, listener_conf_t *out,
                         diag_t *diag)
{
  router_t *router = NULL;
  char *address = conf_alloc(settings->conf, IP_TEXT_MAX);
  if (address == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = router_new(from->rules.items, from->rules.count, sources, source_count, &router, diag);
  if (err)
    return err;
  *out = (listener_conf_t){
      .name = from->name,
      .address = from->address,
      .admit = {.internal = has_internal_route(router),
                .rules = from->rules.items,
                .rule_count = from->rules.count,
                .hosts = from->hosts.items,
                .host_count = from->hosts.count,
                .own_address = ip_format(&from->address.ip, address),
                .router = router},
      .clients = from->clients.items,
      .client_count = from->clients.count,
  };
  err = out->admit.internal ? check_internal(settings, from, diag) : SMPL_OK;
  return err ? err : open_tls(settings, from, &out->tls, diag);
}

int settings_listeners(const settings_t *settings, const route_source_t *sources, size_t source_count,
                       listener_conf_t **out, diag_t *diag)
{
  const listener_settings_t *from = settings->listeners.items;
  int err = SMPL_OK;
  *out = calloc(settings->listeners.count, sizeof **out);
  if (*out == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; !err && i < settings->listeners.count; i++)
    err = make_listener(settings, &from[i], sources, source_count, &(*out)[i], diag);
  if (err) {
    settings_listeners_free(*out, settings->listeners.count);
    *out = NULL;
  }
  return err;
}

void settings_listeners_free(listener_conf_t *listeners, size_t count)
{
  for (size_t i = 0; listeners != NULL && i < count; i++) {
    router_free((router_t *)(uintptr_t)listeners[i].admit.router);
    tls_free(listeners[i].tls);
  }
  free(listeners);
}
