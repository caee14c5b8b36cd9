/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/settings_file.h"

#include <string.h>

#include "app/gate/gate.h"
#include "app/gate/rules.h"
#include "common/base/error.h"
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

static bool same_rule(const void *a, const void *b, size_t size)
{
  (void)size;
  return strcmp(((const rule_t *)a)->text, ((const rule_t *)b)->text) == 0;
}

static const conf_scalar_t scalar_rule = {
    .expected = "a path like /api/v1/health, or /api/v1/* for all below",
    .size = sizeof(rule_t),
    .parse = parse_rule,
    .same = same_rule,
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
    {"certificate", CONF_ONE, 0, .scalar = &conf_path, .required = true,
     .doc = "the PEM file of the certificate, with its chain behind it"},
    {"key", CONF_ONE, sizeof(const char *), .scalar = &conf_path, .required = true,
     .doc = "the PEM file of its private key, without a passphrase and closed to others"},
};
static const conf_map_t tls_map = {"tls", 2 * sizeof(const char *), tls_fields, COUNT_OF(tls_fields), NULL};

static const conf_field_t listener_fields[] = {
    {"name", CONF_ONE, offsetof(listener_settings_t, name), .scalar = &scalar_listener_name, .required = true,
     .doc = "the listener's name, by which a reload finds it again"},
    {"address", CONF_ONE, offsetof(listener_settings_t, address), .scalar = &conf_endpoint, .required = true,
     .fixed = true, .doc = "the address and port to answer on"},
    {"rules", CONF_MANY, offsetof(listener_settings_t, rules), .scalar = &scalar_rule, .required = true,
     .most = LIMIT_RULES, .fixed = true,
     .doc = "the paths to let in: a path, or a path and a final /* for everything below it"},
    {"clients", CONF_MANY, offsetof(listener_settings_t, clients), .scalar = &conf_ip_net,
     .most = LIMIT_CLIENTS,
     .doc = "the networks whose peers may connect; needed where a rule lets in an internal route"},
    {"hosts", CONF_MANY, offsetof(listener_settings_t, hosts), .scalar = &scalar_host, .most = LIMIT_HOSTS,
     .doc = "the names that a Host may have, besides the own address and localhost"},
    {"tls", CONF_MAP, offsetof(listener_settings_t, tls), .map = &tls_map,
     .doc = "the certificate to serve https with; to add or remove it needs a restart"},
};
const conf_map_t settings_listener_map = {"http listener", sizeof(listener_settings_t), listener_fields,
                                          COUNT_OF(listener_fields), NULL};

static const conf_field_t internal_key_fields[] = {
    {"name", CONF_ONE, offsetof(internal_key_file_t, name), .scalar = &scalar_listener_name, .required = true,
     .doc = "whose key it is; at most two keys have one name"},
    {"sha256", CONF_ONE, offsetof(internal_key_file_t, sha256), .scalar = &scalar_sha256, .required = true,
     .is_private = true, .doc = "the SHA-256 of the key"},
    {"operations", CONF_MANY, offsetof(internal_key_file_t, operations), .scalar = &scalar_operation,
     .required = true, .most = OPERATION_COUNT, .doc = "the operations that it may be used for"},
};
static const conf_map_t internal_key_map = {"internal key", sizeof(internal_key_file_t), internal_key_fields,
                                            COUNT_OF(internal_key_fields), NULL};

static const conf_field_t accounts_fields[] = {
    {"url", CONF_ONE, offsetof(accounts_file_t, url), .scalar = &scalar_base_url, .required = true,
     .doc = "the URL of the account service's internal listener"},
};
static const conf_map_t accounts_map = {"accounts", sizeof(accounts_file_t), accounts_fields,
                                        COUNT_OF(accounts_fields), NULL};

static void drain_defaults(void *out)
{
  *(drain_file_t *)out = (drain_file_t){.finish = LIMIT_DRAIN_MS};
}

static const conf_field_t drain_fields[] = {
    {"lag", CONF_ONE, offsetof(drain_file_t, lag), .scalar = &conf_duration, .max = LIMIT_DRAIN_MAX_MS,
     .doc = "how long everything goes on at SIGTERM while balancers notice"},
    {"finish", CONF_ONE, offsetof(drain_file_t, finish), .scalar = &conf_duration, .max = LIMIT_DRAIN_MAX_MS,
     .doc = "how long requests under way may take after that"},
};
static const conf_map_t drain_map = {"drain", sizeof(drain_file_t), drain_fields, COUNT_OF(drain_fields),
                                     drain_defaults};

static void rate_defaults(void *out)
{
  *(rate_file_t *)out = (rate_file_t){.requests = LIMIT_RATE_REQUESTS};
}

/* The first field is what a lone number means: 0 for no limit. */
static const conf_field_t rate_fields[] = {
    {"requests", CONF_ONE, offsetof(rate_file_t, requests), .scalar = &conf_uint,
     .max = LIMIT_RATE_REQUESTS_MAX,
     .doc = "how many requests a second one API key may send; 0 means no limit"},
    {"burst", CONF_ONE, offsetof(rate_file_t, burst), .scalar = &conf_uint, .min = 1,
     .max = LIMIT_RATE_BURST_MAX, .doc = "how many at once; five times as many as a second unless given"},
};
static const conf_map_t rate_map = {"rate_limit", sizeof(rate_file_t), rate_fields, COUNT_OF(rate_fields),
                                    rate_defaults};

static const conf_field_t file_fields[] = {
    {"service", CONF_ONE, offsetof(settings_file_t, service), .scalar = &conf_string, .required = true,
     .fixed = true, .doc = "which service this is: accounts, config or flags"},
    {"listeners", CONF_MAPS, offsetof(settings_file_t, listeners), .map = &settings_listener_map,
     .required = true, .most = LIMIT_LISTENERS,
     .doc = "the http listeners, each with the paths that it lets in"},
    {"balancers", CONF_MANY, offsetof(settings_file_t, balancers), .scalar = &conf_ip_net,
     .most = LIMIT_BALANCERS,
     .doc = "addresses or networks of the balancers whose X-Forwarded-For is believed"},
    {"database", CONF_ONE, offsetof(settings_file_t, database), .scalar = &conf_path, .required = true,
     .fixed = true, .doc = "the SQLite file"},
    {"revocations", CONF_ONE, offsetof(settings_file_t, revocations), .scalar = &conf_path, .fixed = true,
     .doc = "of the account service: the file that gets each revocation before it is acknowledged"},
    {"accounts", CONF_MAP, offsetof(settings_file_t, accounts), .map = &accounts_map,
     .doc = "of the other services: who checks API keys"},
    {"sisters", CONF_MANY, offsetof(settings_file_t, sisters), .scalar = &scalar_base_url,
     .most = LIMIT_SISTERS,
     .doc = "of the account service: the URLs of services that are told of new accounts"},
    {"resolver", CONF_MAP, offsetof(settings_file_t, resolver), .map = &resolver_conf_map,
     .doc = "the DNS servers that look up the names of sister services"},
    {"internal_keys", CONF_MAPS, offsetof(settings_file_t, internal_keys), .map = &internal_key_map,
     .most = INTERNAL_KEYS_MAX, .doc = "who may call inside, and for what"},
    {"internal_key_file", CONF_ONE, offsetof(settings_file_t, internal_key_file), .scalar = &conf_path,
     .doc = "the file with the key that this service shows its sisters"},
    {"access_log", CONF_ONE, offsetof(settings_file_t, access_log), .scalar = &conf_path,
     .doc = "the file of the access log; standard output unless given"},
    {"free_bind", CONF_ONE, offsetof(settings_file_t, free_bind), .scalar = &conf_bool, .fixed = true,
     .doc = "whether addresses that this machine does not have yet are bound"},
    {"core_dumps", CONF_ONE, offsetof(settings_file_t, core_dumps), .scalar = &conf_bool, .fixed = true,
     .doc = "whether a crash may leave a core dump, with every secret in it"},
    {"control", CONF_ONE, offsetof(settings_file_t, control), .scalar = &conf_path, .fixed = true,
     .doc = "the unix socket for reload and status; none unless given"},
    {"rate_limit", CONF_ONE_OR_MAP, offsetof(settings_file_t, rate), .map = &rate_map,
     .doc = "what one API key may send"},
    {"drain", CONF_MAP, offsetof(settings_file_t, drain), .map = &drain_map,
     .doc = "how long the service goes on once it is told to end"},
};

static void file_defaults(void *out)
{
  settings_file_t *file = out;
  file->free_bind = true;
  drain_defaults(&file->drain);
  rate_defaults(&file->rate);
}

const conf_map_t settings_file_map = {"configuration", sizeof(settings_file_t), file_fields,
                                      COUNT_OF(file_fields), file_defaults};
