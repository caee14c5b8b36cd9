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
#include <unistd.h>

#include "app/gate/gate.h"
#include "app/services/rates.h"
#include "common/base/error.h"
#include "common/net/control_conf.h"
#include "common/process/file.h"
#include "common/base/text.h"

/* Checks */

static int find_service(const conf_t *conf, const settings_file_t *file, const service_t *const *services,
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

static bool is_accounts(const settings_file_t *file)
{
  return strcmp(file->service, "accounts") == 0;
}

/* Who calls whom: every other service asks the account service about keys, which tells its sisters of new
 * accounts. */
static int check_calls(const conf_t *conf, const settings_file_t *file, diag_t *diag)
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

static int check_called(const conf_t *conf, const settings_file_t *file, diag_t *diag)
{
  const char *const *sisters = file->sisters.items;
  int err = conf_given_map(conf, &file->accounts)
                ? check_private(conf, &file->accounts.url, file->accounts.url, diag)
                : SMPL_OK;
  for (size_t i = 0; !err && i < file->sisters.count; i++)
    err = check_private(conf, &sisters[i], sisters[i], diag);
  return err;
}

static int check_listeners(const conf_t *conf, const settings_file_t *file, diag_t *diag)
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
static int check_balancers(const conf_t *conf, const settings_file_t *file, diag_t *diag)
{
  const ip_net_t *all = file->balancers.items;
  for (size_t i = 0; i < file->balancers.count; i++)
    if (all[i].prefix == (ip_net_is_v4(&all[i]) ? 96 : 0))
      return conf_fail(conf, diag, &all[i],
                       "balancers: with all addresses in it, everybody could name a source");
  return SMPL_OK;
}

static int check_internal_keys(const conf_t *conf, const settings_file_t *file, diag_t *diag)
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

static int take_internal_keys(const settings_file_t *file, settings_t *out, diag_t *diag)
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
static int read_internal_key(const settings_file_t *file, settings_t *out, diag_t *diag)
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

static int take(const settings_file_t *file, settings_t *out, diag_t *diag)
{
  out->rate_burst = file->rate.burst > 0 ? file->rate.burst : file->rate.requests * RATES_BURST_FACTOR;
  out->sister_urls = conf_alloc(out->conf, (file->sisters.count + 1) * sizeof *out->sister_urls);
  if (out->sister_urls == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; i < file->sisters.count; i++)
    out->sister_urls[i] = ((const char *const *)file->sisters.items)[i];
  return SMPL_OK;
}

static int check(settings_t *out, const service_t *const *services, diag_t *diag)
{
  settings_file_t *file = out->file;
  int err = find_service(out->conf, file, services, &out->service, diag);
  if (!err)
    err = resolver_conf_check(out->conf, &file->resolver, diag);
  if (!err)
    err = check_calls(out->conf, file, diag);
  if (!err)
    err = check_called(out->conf, file, diag);
  if (!err)
    err = check_listeners(out->conf, file, diag);
  if (!err)
    err = check_balancers(out->conf, file, diag);
  if (!err)
    err = check_internal_keys(out->conf, file, diag);
  return err ? err : control_conf_check(out->conf, &file->control, diag);
}

int settings_load(const char *path, const service_t *const *services, settings_t *out, diag_t *diag)
{
  *out = (settings_t){.file = calloc(1, sizeof *out->file)};
  if (out->file == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = conf_load(path, &settings_file_map, out->file, &out->conf, diag);
  if (!err)
    err = check(out, services, diag);
  if (!err)
    err = take_internal_keys(out->file, out, diag);
  if (!err)
    err = read_internal_key(out->file, out, diag);
  if (!err)
    err = take(out->file, out, diag);
  if (err)
    settings_free(out);
  return err;
}

int settings_check_database(const settings_t *settings, diag_t *diag)
{
  const char *path = settings->file->database, *slash = strrchr(path, '/');
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
    return conf_fail(settings->conf, diag, &settings->file->database,
                     "the database's folder must be there and be writable, for its journal too: %s: %s",
                     folder, why);
  if (stat(path, &st) == 0 &&
      (!S_ISREG(st.st_mode) || faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) != 0))
    return conf_fail(settings->conf, diag, &settings->file->database,
                     "the database must be a file that can be written: %s: %s", path,
                     S_ISREG(st.st_mode) ? strerror(errno) : "not a regular file");
  return SMPL_OK;
}

int settings_check_control(const settings_t *settings, diag_t *diag)
{
  const char *path = settings->file->control, *slash = path != NULL ? strrchr(path, '/') : NULL;
  char folder[PATH_MAX];
  struct stat st;
  if (path == NULL)
    return SMPL_OK;
  int len = slash == NULL || slash == path ? 1 : (int)(slash - path);
  snprintf(folder, sizeof folder, "%.*s", len, slash == NULL ? "." : path);
  if (stat(folder, &st) != 0 || !S_ISDIR(st.st_mode))
    return conf_fail(settings->conf, diag, &settings->file->control, "control: there is no folder %s",
                     folder);
  if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
    return conf_fail(settings->conf, diag, &settings->file->control, "control: %s exists and is not a socket",
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
  if (settings->internal_key[0] == '\0' &&
      (settings->file->accounts.url != NULL || settings->file->sisters.count > 0))
    say(ctx, "no internal_key_file: sister services will refuse what this one asks of them");
  if (settings->file->revocations == NULL && strcmp(settings->service->name, "accounts") == 0)
    say(ctx, "no revocations: after a restore all API keys of the backup will be disabled, since nothing "
             "tells which were "
             "revoked meanwhile");
}

void settings_free(settings_t *settings)
{
  explicit_bzero(settings->internal_key, sizeof settings->internal_key);
  free(settings->file);
  conf_free(settings->conf);
  *settings = (settings_t){.conf = NULL};
}

service_env_t settings_env(const settings_t *s)
{
  return (service_env_t){.database = s->file->database,
                         .revocations = s->file->revocations,
                         .accounts_url = s->file->accounts.url,
                         .sister_urls = s->sister_urls,
                         .internal_key = s->internal_key[0] != '\0' ? s->internal_key : NULL,
                         .rate_requests = s->file->rate.requests,
                         .rate_burst = s->rate_burst,
                         .source = s->file->resolver.has_source ? &s->file->resolver.source : NULL};
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
  const listener_settings_t *from = settings->file->listeners.items;
  int err = SMPL_OK;
  *out = calloc(settings->file->listeners.count, sizeof **out);
  if (*out == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (size_t i = 0; !err && i < settings->file->listeners.count; i++)
    err = make_listener(settings, &from[i], sources, source_count, &(*out)[i], diag);
  if (err) {
    settings_listeners_free(*out, settings);
    *out = NULL;
  }
  return err;
}

void settings_listeners_free(listener_conf_t *listeners, const settings_t *settings)
{
  for (size_t i = 0; listeners != NULL && i < settings->file->listeners.count; i++) {
    router_free((router_t *)(uintptr_t)listeners[i].admit.router);
    tls_free(listeners[i].tls);
  }
  free(listeners);
}
