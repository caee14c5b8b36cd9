/* SPDX-License-Identifier: Apache-2.0 */
/* bastion.yaml: what is read, and that every mistake is named with its place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bastion/policy/config.h"
#include "bastion/policy/explain.h"
#include "bastion/policy/finder.h"
#include "common/base/error.h"
#include "kit.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static const char good[] =
    "listen: [\"127.0.0.1:2222\", \"[::1]:2222\"]\n"
    "host_keys: [host]\n"
    "resolver: {servers: [\"127.0.0.1:5300\"], source: 127.10.0.5}\n"
    "connect_from: [127.10.0.5]\n"
    "search: [smplkit.local]\n"
    "users:\n"
    "  - {name: dev, keys: dev.pub, groups: [developers]}\n"
    "  - {name: ops, keys: ops.pub}\n"
    "grants:\n"
    "  - groups: [developers]\n"
    "    targets: [\"*.internal.smplkit.local:8000\"]\n"
    "    networks: [127.10.0.0/16]\n"
    "    idle: 5m\n"
    "  - {users: [ops], targets: [\"10.1.2.3:22,80\"], networks: [10.0.0.0/8], session: 1h}\n"
    "limits: {startups: \"5:50:20\", channels: 7}\n"
    "audit: audit.jsonl\n"
    "control: bastion.sock\n";

static int setup(void **state)
{
  (void)state;
  kit_key_t key;
  char line[4200];
  static const char *const args[] = {"-t", "ed25519", "-N", "", NULL};
  kit_folder_new();
  kit_keygen("host", args);
  static const char *const names[] = {"dev.pub", "ops.pub"};
  for (size_t i = 0; i < COUNT(names); i++) {
    kit_key_new(&key, "ssh-ed25519", 0);
    snprintf(line, sizeof line, "%s\n", key.line);
    kit_write(names[i], line, 0644);
    kit_key_free(&key);
  }
  kit_write("bad.pub", "ssh-ed25519 AAAA\n", 0644);
  return 0;
}

static int teardown(void **state)
{
  (void)state;
  kit_folder_remove();
  return 0;
}

static config_t *load_good(void)
{
  config_t *c;
  diag_t diag = {""};
  kit_write("bastion.yaml", good, 0644);
  if (config_load(kit_path("bastion.yaml"), &c, &diag))
    fail_msg("%s", diag.text);
  return c;
}

static void a_whole_configuration_is_read(void **state)
{
  (void)state;
  config_t *c = load_good();
  assert_int_equal(c->listen.count, 2);
  assert_int_equal(hostkeys_count(c->keys), 1);
  assert_true(c->resolver.has_source);
  assert_int_equal(c->users.count, 2);
  assert_int_equal(config_user(c, "dev")->keys.count, 1);
  assert_null(config_user(c, "root"));
  assert_int_equal(config_grant_count(c), 2);
  assert_int_equal(c->grants[0].idle_ms, 300000);
  assert_int_equal(c->grants[0].session_ms, 8 * 3600000);
  assert_int_equal(c->grants[1].idle_ms, 20 * 60000);
  assert_int_equal(c->grants[1].session_ms, 3600000);
  assert_int_equal(c->limits.startups.begin, 5);
  assert_int_equal(c->limits.channels, 7);
  assert_int_equal(c->limits.login_grace_ms, 30000);
  assert_int_equal(c->limits.sessions_per_user, 16);
  assert_int_equal(c->limits.startups_per_source, CONFIG_STARTUPS_PER_SOURCE);
  assert_int_equal(c->limits.connection_rate.connections, CONFIG_RATE_PER_SECOND);
  assert_int_equal(c->limits.connection_rate.burst, CONFIG_RATE_BURST);
  assert_int_equal(c->audit_reserve, 16 << 20);
  ip_t ip;
  ip_parse("127.0.0.1", &ip);
  assert_true(config_is_own(c, &ip, 2222));
  assert_false(config_is_own(c, &ip, 2223));
  config_free(c);
}

/* Replaces `old` in the good file and expects the error. */
static void fails_with(const char *old, const char *with, const char *saying)
{
  char text[sizeof good + 512];
  const char *at = strstr(good, old);
  assert_non_null(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, with, at + strlen(old));
  kit_write("bastion.yaml", text, 0644);
  config_t *c;
  diag_t diag = {""};
  if (config_load(kit_path("bastion.yaml"), &c, &diag) == SMPL_OK)
    fail_msg("accepted: %s", with);
  assert_null(c);
  if (strstr(diag.text, saying) == NULL)
    fail_msg("%s\n  says: %s\n  expected: %s", with, diag.text, saying);
}

/* good without its grants, and so many of them. */
static int load_grants(size_t count, config_t **out, diag_t *diag)
{
  static const char one[] = "  - {users: [dev], targets: ['a.b:1'], networks: [10.0.0.0/8]}\n";
  const char *start = strstr(good, "grants:\n"), *end = strstr(good, "limits:");
  assert_true(start != NULL && end > start);
  size_t size = sizeof good + (count + 1) * sizeof one;
  char *text = calloc(1, size);
  assert_non_null(text);
  size_t used = (size_t)snprintf(text, size, "%.*sgrants:\n", (int)(start - good), good);
  for (size_t i = 0; i < count; i++, used += sizeof one - 1)
    memcpy(text + used, one, sizeof one);
  memcpy(text + used, end, strlen(end) + 1);
  kit_write("bastion.yaml", text, 0644);
  free(text);
  return config_load(kit_path("bastion.yaml"), out, diag);
}

static void so_many_grants_and_no_more(void **state)
{
  (void)state;
  config_t *c;
  diag_t diag = {""};
  if (load_grants(CONFIG_GRANTS_MAX, &c, &diag) != SMPL_OK)
    fail_msg("%s", diag.text);
  assert_int_equal(config_grant_count(c), 10000);
  config_free(c);
  assert_int_equal(load_grants(CONFIG_GRANTS_MAX + 1, &c, &diag), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, "grants: 10001 items, more than the limit of 10000"));
}

static void every_mistake_is_named_with_its_place(void **state)
{
  (void)state;
  fails_with("search:", "serch:", "bastion.yaml:5:1: unknown key 'serch'");
  fails_with("audit: audit.jsonl\n", "", "audit");
  fails_with("control: bastion.sock", "control: bastion.sock\nmetrics: 127.0.0.1:0",
             "metrics: expected a port from 1 to 65535");
  fails_with("control: bastion.sock", "control: bastion.sock\nmetrcs: 127.0.0.1:1", "unknown key 'metrcs'");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\naudit_sink: syslogd",
             "audit_sink: expected syslog, journald");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\naudit_sink: \"syslog:relative\"",
             "audit_sink: expected");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\npenalties: {exempt: [10.0.0.1/8]}", "exempt");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\npenalties: {enabled: maybe}", "enabled");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\npenalties: {silent: {rate: 0}}", "rate");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\npenalties: {silent: {burst: 0}}", "burst");
  fails_with("audit: audit.jsonl", "audit: audit.jsonl\npenalties: {silent: 5}", "silent");
  fails_with("channels: 7", "drain: 2h", "drain");
  fails_with("channels: 7", "connection_rate: {connections: -1}", "connections");
  fails_with("channels: 7", "connection_rate: {connections: 1000001}",
             "connections: must be from 0 to 1000000");
  fails_with("channels: 7", "connection_rate: {burst: 0}", "burst: must be from 1 to 1000000");
  static const char *const sizes[] = {"16",      "16MB",   "16 MiB", "MiB",  "-1MiB",
                                      "4097GiB", "1.5GiB", "00",     "0MiBx"};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char with[64];
    snprintf(with, sizeof with, "audit: audit.jsonl\naudit_reserve: %s", sizes[i]);
    fails_with("audit: audit.jsonl", with, "audit_reserve: expected a size with KiB, MiB or GiB");
  }
  fails_with("127.0.0.1:2222", "127.0.0.1", "bastion.yaml:1:11: listen");
  fails_with("127.0.0.1:2222", "127.0.0.1:0", "bastion.yaml:1:11: listen: the port is missing");
  fails_with("\"[::1]:2222\"", "\"127.0.0.1:2222\"", "the same address twice");
  fails_with("host_keys: [host]", "host_keys: [hots]", "bastion.yaml:2:13: host_keys: ");
  fails_with("host_keys: [host]", "host_keys: [host, host]", "bastion.yaml:2:19: host_keys: ");
  fails_with("host_keys: [host]", "host_keys: [host, host]", "there is a host key of kind ed25519 already");
  fails_with("host_keys: [host]", "host_keys: [host, a, b, c]", "4 items, more than the limit of 3");
  fails_with("host_keys: [host]", "host_keys: [host]\nalgorithms: old", "modern or compatible");
  fails_with("source: 127.10.0.5", "source: 127.10.0", "bastion.yaml:3:");
  fails_with("[smplkit.local]", "[\"*.smplkit.local\"]", "bastion.yaml:5:11: search: expected a domain");
  fails_with("name: dev", "name: \"d v\"", "bastion.yaml:7:13: name: expected a name");
  fails_with("name: ops", "name: dev", "bastion.yaml:8:12: users: 'dev' is there twice");
  fails_with("users: [ops], ", "", "bastion.yaml:14:6: a grant needs groups or users");
  fails_with("local:8000", "local", "bastion.yaml:11:16: targets: expected NAME:PORT");
  fails_with("local:8000", "local:8000-9000", "bastion.yaml:11:16: targets");
  fails_with("*.internal", "inter*nal", "bastion.yaml:11:16: targets");
  fails_with("networks: [127.10.0.0/16]\n", "\n", "networks");
  fails_with("127.10.0.0/16", "127.10.0.1/16", "bastion.yaml:12:16: networks");
  fails_with("idle: 5m", "idle: 5 minutes", "bastion.yaml:13:11: idle");
  fails_with("idle: 5m", "idle: 1ms", "idle: must be from 1s to 7d");
  fails_with("5:50:20", "5:50", "startups: expected BEGIN:PERCENT:FULL");
  fails_with("5:50:20", "5:101:20", "startups: expected");
  fails_with("5:50:20", "20:50:5", "startups: expected");
  fails_with("5:50:20", "0:50:5", "startups: expected");
  fails_with("channels: 7", "channels: 0", "channels: must be from 1 to 1024");
  fails_with("channels: 7", "channels: 1025", "channels: must be from 1 to 1024");
  fails_with("channels: 7", "startups_per_source: 0", "startups_per_source: ");
  fails_with("channels: 7", "connections: 19", "startups: 20 connections");
}

/* Replaces `old` in the good file; it is loaded, and the first of its faults says so. */
static config_t *loads_without(const char *old, const char *with, size_t errors, const char *saying)
{
  char text[sizeof good + 512];
  const char *at = strstr(good, old);
  assert_non_null(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, with, at + strlen(old));
  kit_write("bastion.yaml", text, 0644);
  config_t *c;
  diag_t diag = {""};
  if (config_load(kit_path("bastion.yaml"), &c, &diag))
    fail_msg("%s: %s", with, diag.text);
  if (c->faults.count == 0 || strstr(c->faults.list[0].text, saying) == NULL)
    fail_msg("%s\n  says: %s\n  expected: %s", with, c->faults.count > 0 ? c->faults.list[0].text : "nothing",
             saying);
  assert_int_equal(c->faults.errors, errors);
  assert_int_equal(config_user(c, "ops") == NULL ? 1 : config_user(c, "ops")->keys.count, 1); /* as ever */
  return c;
}

static void has_no_key(const char *file, size_t errors, const char *saying)
{
  char with[128];
  snprintf(with, sizeof with, "keys: %s", file);
  config_t *c = loads_without("keys: dev.pub", with, errors, saying);
  assert_int_equal(config_user(c, "dev")->keys.count, 0);
  config_free(c);
}

static void a_keys_file_that_is_gone_empty_or_not_to_be_trusted_has_nobodys_keys(void **state)
{
  (void)state;
  kit_write("empty.pub", "", 0644);
  kit_write("comment.pub", "# nobody\n", 0644);
  has_no_key("nothing.pub", 1, "bastion.yaml:7:23: keys: ");
  has_no_key("empty.pub", 0, "empty.pub: no key in the file: dev cannot sign in");
  has_no_key("comment.pub", 0, "comment.pub: no key in the file");
  has_no_key("bad.pub", 1, "bad.pub:1: the key is malformed");
  has_no_key(".", 1, "not a regular file (dev has no key and cannot sign in)");
  chmod(kit_path("dev.pub"), 0666);
  has_no_key("dev.pub", 1, "others can write it (mode 666)");
  chmod(kit_path("dev.pub"), 0644);
}

static void who_has_left_a_group_the_users_or_the_system_is_nobody(void **state)
{
  (void)state;
  config_free(loads_without("groups: [developers]}", "groups: []}", 0,
                            "bastion.yaml:10:14: groups: no user is in a group 'developers'"));
  config_free(loads_without("  - {name: dev, keys: dev.pub, groups: [developers]}\n", "", 0,
                            "groups: no user is in a group 'developers'"));
  config_free(loads_without("  - {name: ops, keys: ops.pub}\n", "", 0, "users: there is no user 'ops'"));
  config_free(loads_without("users: [ops]", "users: []", 0, "bastion.yaml:14:6: a grant for nobody"));
  config_t *c =
      loads_without("audit: audit.jsonl", "audit: audit.jsonl\nroles: {read: [no-such-account-here]}", 1,
                    "roles: read: there is no such account or group");
  assert_true(c->roles.given);
  config_free(c);
  c = load_good();
  assert_false(c->roles.given);
  config_free(c);
}

static void sizes_and_rates_are_read(void **state)
{
  (void)state;
  static const struct {
    const char *text;
    uint64_t bytes;
  } sizes[] = {{"0", 0}, {"1KiB", 1024}, {"256MiB", 256ull << 20}, {"4096GiB", 1ull << 42}, {"0MiB", 0}};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char text[sizeof good + 128];
    config_t *c;
    diag_t diag = {""};
    snprintf(text, sizeof text, "%saudit_reserve: %s\n", good, sizes[i].text);
    char *at = strstr(text, "channels: 7");
    assert_non_null(at);
    memcpy(at, "drain: 10s ", 11);
    kit_write("bastion.yaml", text, 0644);
    if (config_load(kit_path("bastion.yaml"), &c, &diag))
      fail_msg("%s: %s", sizes[i].text, diag.text);
    assert_int_equal(c->audit_reserve, sizes[i].bytes);
    config_free(c);
  }
}

static void a_host_key_that_others_can_read_is_refused(void **state)
{
  (void)state;
  chmod(kit_path("host"), 0640);
  fails_with("idle: 5m", "idle: 6m", "bastion.yaml:2:13: host_keys: ");
  chmod(kit_path("host"), 0600);
}

static void explains(const config_t *c, const char *user, const char *target, bool allowed, const char *text)
{
  char host[256];
  uint16_t port;
  diag_t diag = {""};
  assert_int_equal(explain_split(target, host, sizeof host, &port, &diag), SMPL_OK);
  json_t *d = explain_decision(c, user, host, port);
  assert_true(json_is_true(json_object_get(d, "ok")));
  assert_int_equal(json_is_true(json_object_get(d, "allowed")), allowed);
  assert_string_equal(json_string_value(json_object_get(d, "text")), text);
  assert_int_equal(json_is_object(json_object_get(d, "grant")), allowed);
  json_decref(d);
}

static void explain_says_who_may_reach_what_and_why_not(void **state)
{
  (void)state;
  config_t *c = load_good();
  explains(c, "dev", "config.internal:8000", true, "dev may reach config.internal.smplkit.local port 8000");
  explains(c, "dev", "config.internal.smplkit.local.:8000", true,
           "dev may reach config.internal.smplkit.local port 8000");
  explains(c, "dev", "config.internal", true, "dev may reach config.internal.smplkit.local");
  explains(
      c, "dev", "config.internal:22", false,
      "dev may not reach config.internal.smplkit.local port 22: the grant covers this name, not this port");
  explains(c, "ops", "config.internal:8000", false,
           "ops may not reach config.internal.smplkit.local port 8000: no grant covers this target");
  explains(c, "dev", "config.internal.:8000", false,
           "dev may not reach config.internal port 8000: no grant covers this target");
  explains(c, "ops", "10.1.2.3:22", true, "ops may reach 10.1.2.3 port 22");
  explains(c, "dev", "a b:22", false,
           "dev may not reach a b port 22: the target's name or port is malformed");
  json_t *d = explain_decision(c, "nobody\n", "x", 1);
  assert_false(json_is_true(json_object_get(d, "ok")));
  json_decref(d);
  config_free(c);
}

static void targets_on_the_command_line_are_split_at_the_port(void **state)
{
  (void)state;
  static const struct {
    const char *text, *host;
    uint16_t port;
  } good_ones[] = {{"a.b:80", "a.b", 80},      {"a", "a", 0},
                   {"a.:1", "a.", 1},          {"10.0.0.1:80", "10.0.0.1", 80},
                   {"fd00::1", "fd00::1", 0},  {"[fd00::1]:80", "fd00::1", 80},
                   {"[fd00::1]", "fd00::1", 0}};
  static const char *const bad[] = {"a:", "a:0", "a:65536", "a:x", ":80", "", "[fd00::1", "[]:80"};
  char host[64];
  uint16_t port;
  for (size_t i = 0; i < COUNT(good_ones); i++) {
    assert_int_equal(explain_split(good_ones[i].text, host, sizeof host, &port, NULL), SMPL_OK);
    assert_string_equal(host, good_ones[i].host);
    assert_int_equal(port, good_ones[i].port);
  }
  for (size_t i = 0; i < COUNT(bad); i++)
    if (explain_split(bad[i], host, sizeof host, &port, NULL) == SMPL_OK)
      fail_msg("accepted: %s", bad[i]);
}

/* good, with one of its lines or the end replaced. */
static config_t *load_with(const char *line, const char *other)
{
  char text[4096];
  config_t *c;
  diag_t diag = {""};
  const char *at = line != NULL ? strstr(good, line) : good + strlen(good);
  assert_non_null(at);
  snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, other,
           at + (line != NULL ? strlen(line) : 0));
  kit_write("other.yaml", text, 0644);
  if (config_load(kit_path("other.yaml"), &c, &diag))
    fail_msg("%s", diag.text);
  return c;
}

static void a_reload_changes_what_its_row_lets_it_change(void **state)
{
  static const struct {
    const char *line, *other;
    const char *says; /* NULL: it may change */
  } cases[] = {
      {"audit: audit.jsonl\n", "audit: other.jsonl\n", ":16:8: audit: a change needs a restart"},
      {"control: bastion.sock\n", "control: other.sock\n", ":17:10: control: a change needs a restart"},
      {NULL, "audit_sink: syslog\n", ":18:13: audit_sink: a change needs a restart"},
      {NULL, "state: kept\n", ":18:8: state: a change needs a restart"},
      {NULL, "user: bastion\n", ":18:7: user: a change needs a restart"},
      {NULL, "core_dumps: true\n", ":18:13: core_dumps: a change needs a restart"},
      {NULL, "metrics: 127.0.0.1:9100\n", ": metrics: a change needs a restart"},
      {NULL, "metrics: {address: 127.0.0.1:9100, hosts: [a.example]}\n",
       ": metrics: a change needs a restart"},
      {"search: [smplkit.local]\n", "search: [other.local]\n", NULL},
      {"limits: {startups: \"5:50:20\", channels: 7}\n", "limits: {channels: 8}\n", NULL},
      {"listen: [\"127.0.0.1:2222\", \"[::1]:2222\"]\n", "listen: [\"127.0.0.1:2223\"]\n", NULL},
      {NULL, "free_bind: false\naudit_reserve: 32MiB\nroles: {read: [root]}\n", NULL},
  };
  (void)state;
  config_t *now = load_good();
  for (size_t i = 0; i < COUNT(cases); i++) {
    config_t *next = load_with(cases[i].line, cases[i].other);
    diag_t diag = {""};
    int err = config_check_fixed(now, next, &diag);
    assert_int_equal(err, cases[i].says != NULL ? SMPL_EINVAL : SMPL_OK);
    if (cases[i].says != NULL && strstr(diag.text, cases[i].says) == NULL)
      fail_msg("%s is not in: %s", cases[i].says, diag.text);
    config_t *same = load_with(cases[i].line, cases[i].other);
    if (config_check_fixed(next, same, &diag))
      fail_msg("the same file needs a restart: %s", diag.text);
    config_free(same);
    config_free(next);
  }
  config_free(now);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_whole_configuration_is_read),
      cmocka_unit_test(every_mistake_is_named_with_its_place),
      cmocka_unit_test(a_reload_changes_what_its_row_lets_it_change),
      cmocka_unit_test(so_many_grants_and_no_more),
      cmocka_unit_test(a_keys_file_that_is_gone_empty_or_not_to_be_trusted_has_nobodys_keys),
      cmocka_unit_test(who_has_left_a_group_the_users_or_the_system_is_nobody),
      cmocka_unit_test(sizes_and_rates_are_read),
      cmocka_unit_test(a_host_key_that_others_can_read_is_refused),
      cmocka_unit_test(explain_says_who_may_reach_what_and_why_not),
      cmocka_unit_test(targets_on_the_command_line_are_split_at_the_port),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
