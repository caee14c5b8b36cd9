/* SPDX-License-Identifier: Apache-2.0 */
/* The grant decision, against a naive reference on a small universe: every pattern with every name, port,
 * user, network, address and hour. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/policy/grant.h"
#include "bastion/policy/target.h"
#include "common/base/error.h"

/* ---- a reference that is slow and obvious: patterns and names as lists of labels ---- */

typedef struct labels {
  char text[GRANT_NAME_MAX];
  const char *label[128];
  int count;
} labels_t;

static void split(const char *name, labels_t *out)
{
  snprintf(out->text, sizeof out->text, "%s", name);
  out->count = 0;
  for (char *save = NULL, *l = strtok_r(out->text, ".", &save); l != NULL; l = strtok_r(NULL, ".", &save))
    out->label[out->count++] = l;
}

static bool naive_name(const char *pattern, const char *name)
{
  labels_t p, n;
  split(pattern, &p);
  split(name, &n);
  int fixed = p.count;
  int first = 0;
  if (strcmp(p.label[0], "*") == 0 || strcmp(p.label[0], "**") == 0) {
    fixed--;
    first = 1;
    int extra = n.count - fixed;
    if (strcmp(p.label[0], "*") == 0 ? extra != 1 : extra < 1)
      return false;
  } else if (n.count != fixed) {
    return false;
  }
  for (int i = 0; i < fixed; i++)
    if (strcmp(p.label[first + i], n.label[n.count - fixed + i]) != 0)
      return false;
  return true;
}

static bool naive_port(const char *ports, uint16_t port)
{
  char text[64], want[8];
  if (strcmp(ports, "*") == 0 || port == 0)
    return true;
  snprintf(text, sizeof text, ",%s,", ports);
  snprintf(want, sizeof want, ",%u,", port);
  return strstr(text, want) != NULL;
}

/* ---- the universe ---- */

static const char *const hosts[] = {"a.x", "b.a.x", "*.x", "*.a.x",    "**.x",      "**.a.x",
                                    "*",   "**",    "x",   "10.0.0.1", "10.0.0.0/8"};
static const char *const port_lists[] = {"80", "80,443", "*"};
static const char *const names[] = {"x",    "a.x", "b.a.x", "c.b.a.x",  "ax",      "a.xx",
                                    "b.ax", "a",   "aa.x",  "10.0.0.1", "10.9.9.9"};
static const uint16_t ports[] = {0, 80, 443, 22};
static const char *const subjects[][2] = {{"u", "g"}, {"u", "h"}, {"v", "g"}, {"v", "h"}}; /* user, group */
static const char *const hour_texts[] = {NULL, "Mon 08:00-10:00", "Tue-Sun 22:00-09:30"};
static const unsigned minutes[] = {9 * 60, 10 * 60, HOURS_WEEK - 1};
static const char *const nets[] = {"10.0.0.0/8", "10.0.0.1/32", "192.168.0.0/16", "0.0.0.0/0", "127.0.0.0/8"};
static const char *const addresses[] = {"10.0.0.1",  "10.9.9.9",        "192.168.1.1",
                                        "127.0.0.1", "169.254.169.254", "8.8.8.8"};

#define COUNT(a) (sizeof(a) / sizeof *(a))

typedef struct one {
  grant_t grant;
  grant_pattern_t pattern;
  ip_net_t net;
  hours_window_t hours;
  const char *hours_text;
  const char *users[1];
  const char *groups[1];
  const char *host, *ports, *net_text;
  bool by_user, by_group;
} one_t;

static void make(one_t *o, size_t host, size_t list, size_t net, int who, size_t hours)
{
  char text[64];
  snprintf(text, sizeof text, "%s:%s", hosts[host], port_lists[list]);
  assert_int_equal(grant_pattern_parse(text, strlen(text), &o->pattern), SMPL_OK);
  assert_int_equal(ip_net_parse(nets[net], &o->net), SMPL_OK);
  o->host = hosts[host];
  o->ports = port_lists[list];
  o->net_text = nets[net];
  o->by_user = (who & 1) != 0;
  o->by_group = (who & 2) != 0;
  o->users[0] = "u";
  o->groups[0] = "g";
  o->hours_text = hour_texts[hours];
  if (o->hours_text != NULL)
    assert_int_equal(hours_parse(o->hours_text, strlen(o->hours_text), &o->hours), SMPL_OK);
  o->grant = (grant_t){.users = o->users,
                       .user_count = o->by_user,
                       .groups = o->groups,
                       .group_count = o->by_group,
                       .targets = &o->pattern,
                       .target_count = 1,
                       .networks = &o->net,
                       .network_count = 1,
                       .idle_ms = 1,
                       .session_ms = 1,
                       .hours = &o->hours,
                       .hour_count = o->hours_text != NULL};
}

static bool naive_subject(const one_t *o, const char *user, const char *group)
{
  return (o->by_user && strcmp(user, "u") == 0) || (o->by_group && strcmp(group, "g") == 0);
}

static bool naive_host(const one_t *o, const char *name)
{
  bool address = strncmp(name, "10.", 3) == 0;
  if (address || strncmp(o->host, "10.", 3) == 0)
    return address && (strcmp(o->host, "10.0.0.0/8") == 0 || strcmp(o->host, name) == 0);
  return naive_name(o->host, name);
}

static bool naive_hours(const one_t *o, unsigned minute)
{
  if (o->hours_text == NULL)
    return true;
  if (strcmp(o->hours_text, "Mon 08:00-10:00") == 0)
    return minute == 9 * 60;
  return minute == 9 * 60 /* of Sunday's window */ || minute == HOURS_WEEK - 1;
}

static bool naive_admits(const char *net_text, const char *address)
{
  if (strcmp(address, "169.254.169.254") == 0)
    return false; /* metadata: no network here lies within 169.254/16 */
  if (strcmp(address, "127.0.0.1") == 0)
    return strcmp(net_text, "127.0.0.0/8") == 0;
  if (strcmp(net_text, "0.0.0.0/0") == 0)
    return true;
  if (strcmp(net_text, "10.0.0.0/8") == 0)
    return strncmp(address, "10.", 3) == 0;
  if (strcmp(net_text, "10.0.0.1/32") == 0)
    return strcmp(address, "10.0.0.1") == 0;
  return strcmp(net_text, "192.168.0.0/16") == 0 && strncmp(address, "192.168.", 8) == 0;
}

static reason_t naive(const one_t *grants, size_t count, const char *const *subject, const char *name,
                      uint16_t port, const char *address, unsigned minute, size_t *which)
{
  bool host = false, with_port = false, in_force = false;
  for (size_t g = 0; g < count; g++) {
    if (!naive_subject(&grants[g], subject[0], subject[1]) || !naive_host(&grants[g], name))
      continue;
    host = true;
    if (!naive_port(grants[g].ports, port))
      continue;
    with_port = true;
    if (!naive_hours(&grants[g], minute))
      continue;
    in_force = true;
    if (address != NULL && !naive_admits(grants[g].net_text, address))
      continue;
    *which = g;
    return REASON_NONE;
  }
  return in_force    ? REASON_ADDRESS_NOT_GRANTED
         : with_port ? REASON_OUTSIDE_HOURS
         : host      ? REASON_PORT_NOT_GRANTED
                     : REASON_NOT_GRANTED;
}

static unsigned long checked, allowed;

static void compare(const one_t *set, const grant_t *grants, size_t count, const char *const *subject,
                    const char *name, uint16_t port, const char *address, unsigned minute)
{
  grant_subject_t s = {subject[0], &subject[1], 1, minute};
  grant_target_t t = {.name = name, .port = port};
  ip_t ip;
  t.is_ip = ip_parse(name, &t.ip) == SMPL_OK;
  size_t which = 0;
  reason_t want = naive(set, count, subject, name, port, address, minute, &which);
  grant_decision_t d;
  if (address != NULL) {
    assert_int_equal(ip_parse(address, &ip), SMPL_OK);
    d = grant_decide_address(grants, count, &s, &t, &ip);
  } else {
    d = grant_decide(grants, count, &s, &t);
  }
  if (d.reason != want || (want == REASON_NONE && d.grant != which))
    fail_msg("%s/%s %s:%u at %s, minute %u: %s, expected %s", subject[0], subject[1], name, port,
             address ? address : "-", minute, reason_name(d.reason), reason_name(want));
  checked++;
  allowed += d.reason == REASON_NONE;
}

static void compare_all_at(const one_t *set, const grant_t *grants, size_t count, unsigned minute)
{
  for (size_t s = 0; s < COUNT(subjects); s++)
    for (size_t n = 0; n < COUNT(names); n++)
      for (size_t p = 0; p < COUNT(ports); p++) {
        compare(set, grants, count, subjects[s], names[n], ports[p], NULL, minute);
        for (size_t a = 0; a < COUNT(addresses); a++)
          compare(set, grants, count, subjects[s], names[n], ports[p], addresses[a], minute);
      }
}

static void compare_all(const one_t *set, const grant_t *grants, size_t count)
{
  for (size_t m = 0; m < COUNT(minutes); m++)
    compare_all_at(set, grants, count, minutes[m]);
}

static void one_grant_agrees_with_the_reference_everywhere(void **state)
{
  (void)state;
  compare_all(NULL, NULL, 0); /* default deny */
  assert_int_equal(allowed, 0);
  one_t o;
  for (size_t h = 0; h < COUNT(hosts); h++)
    for (size_t l = 0; l < COUNT(port_lists); l++)
      for (size_t n = 0; n < COUNT(nets); n++)
        for (int who = 0; who < 4; who++)
          for (size_t t = 0; t < COUNT(hour_texts); t++) {
            make(&o, h, l, n, who, t);
            compare_all(&o, &o.grant, 1);
          }
  assert_true(allowed > 1000 && allowed < checked / 2);
}

static void the_first_of_two_grants_that_covers_all_decides(void **state)
{
  (void)state;
  one_t set[2];
  grant_t grants[2];
  for (size_t h = 0; h < COUNT(hosts); h++)
    for (size_t k = 0; k < COUNT(hosts); k++)
      for (size_t n = 0; n < COUNT(nets); n++) {
        make(&set[0], h, h % COUNT(port_lists), n, 1 + (int)(k % 3), k % COUNT(hour_texts));
        make(&set[1], k, k % COUNT(port_lists), (n + k) % COUNT(nets), 3, h % COUNT(hour_texts));
        grants[0] = set[0].grant;
        grants[1] = set[1].grant;
        compare_all(set, grants, 2);
      }
}

static void patterns_have_one_grammar(void **state)
{
  (void)state;
  static const char *const good[] = {"a:1",          "a.b.:65535", "*.a:80",        "**.a:80,443",
                                     "*:*",          "**:*",       "A_b-c.D:*",     "10.0.0.1:22",
                                     "[fd00::1]:22", "[::1]:*",    "10.0.0.0/8:22", "[fd00::/8]:22",
                                     "0.0.0.0/0:*"};
  static const char *const bad[] = {"",
                                    "a",
                                    ":80",
                                    "a:",
                                    "a:0",
                                    "a:65536",
                                    "a:-1",
                                    "a:80,",
                                    "a:,80",
                                    "a:80,,1",
                                    "a:http",
                                    "a..b:1",
                                    ".a:1",
                                    "..:1",
                                    "a.*.b:1",
                                    "*a.b:1",
                                    "***.a:1",
                                    "*.:1",
                                    "a b:1",
                                    "a:1:2",
                                    "fd00::1:22",
                                    "[fd00::1:22",
                                    "[10.0.0.1]:22",
                                    "[::ffff:10.0.0.1]:22",
                                    "a:*,80",
                                    "a:+80",
                                    "10.0.0.1/8:22",
                                    "10.0.0.0/33:22",
                                    "fd00::/8:22",
                                    "[fd00::1/8]:22",
                                    "[10.0.0.0/8]:22"};
  grant_pattern_t p;
  for (size_t i = 0; i < COUNT(good); i++)
    if (grant_pattern_parse(good[i], strlen(good[i]), &p))
      fail_msg("refused: %s", good[i]);
  for (size_t i = 0; i < COUNT(bad); i++)
    if (!grant_pattern_parse(bad[i], strlen(bad[i]), &p))
      fail_msg("accepted: %s", bad[i]);
}

static void patterns_stop_at_their_limits(void **state)
{
  (void)state;
  char text[1024];
  grant_pattern_t p;
  size_t used = (size_t)snprintf(text, sizeof text, "a:1");
  for (int i = 2; i <= GRANT_PORTS_MAX; i++)
    used += (size_t)snprintf(text + used, sizeof text - used, ",%d", i);
  assert_int_equal(grant_pattern_parse(text, used, &p), SMPL_OK);
  assert_int_equal(p.port_count, GRANT_PORTS_MAX);
  used += (size_t)snprintf(text + used, sizeof text - used, ",9999");
  assert_int_equal(grant_pattern_parse(text, used, &p), SMPL_ELIMIT);
  memset(text, 'a', 64);
  memcpy(text + 63, ":*", 3);
  assert_int_equal(grant_pattern_parse(text, 65, &p), SMPL_OK); /* a label of 63 */
  memset(text, 'a', 64);
  memcpy(text + 64, ":*", 3);
  assert_int_equal(grant_pattern_parse(text, 66, &p), SMPL_ELIMIT);
  for (size_t i = 0; i < 254; i++)
    text[i] = i % 32 == 31 ? '.' : 'a';
  memcpy(text + 253, ":*", 3);
  assert_int_equal(grant_pattern_parse(text, 255, &p), SMPL_OK); /* a name of 253 */
  text[253] = 'a';
  memcpy(text + 254, ":*", 3);
  assert_int_equal(grant_pattern_parse(text, 256, &p), SMPL_ELIMIT);
}

static void check_admits(const char *net_text, const char *address, bool want)
{
  ip_net_t net;
  ip_t ip;
  assert_int_equal(ip_net_parse(net_text, &net), SMPL_OK);
  assert_int_equal(ip_parse(address, &ip), SMPL_OK);
  if (grant_network_admits(&net, &ip) != want)
    fail_msg("%s through %s", address, net_text);
}

static void special_addresses_need_a_network_that_means_them(void **state)
{
  (void)state;
  static const struct {
    const char *address, *meant, *wide;
  } listable[] = {{"127.0.0.1", "127.0.0.0/8", "0.0.0.0/0"},
                  {"127.10.1.2", "127.10.0.0/16", "126.0.0.0/7"},
                  {"169.254.169.254", "169.254.169.254", "128.0.0.0/1"},
                  {"::1", "::1", "::/0"},
                  {"64:ff9b::7f00:1", "64:ff9b::/96", "::/0"},
                  {"64:ff9b:1::1", "64:ff9b:1::/48", "64::/16"},
                  {"2002:7f00:1::", "2002::/16", "2000::/3"},
                  {"2001:0:1::1", "2001::/32", "2000::/3"},
                  {"fe80::1", "fe80::/64", "::/0"},
                  {"fec0::1", "fec0::/10", "8000::/1"},
                  {"fd00:ec2::254", "fd00:ec2::254", "fd00::/8"}};
  for (size_t i = 0; i < COUNT(listable); i++) {
    check_admits(listable[i].meant, listable[i].address, true);
    check_admits(listable[i].wide, listable[i].address, false);
  }
  static const char *const never[][2] = {{"0.0.0.0/8", "0.1.2.3"},
                                         {"0.0.0.0/0", "0.0.0.0"},
                                         {"224.0.0.0/4", "224.0.0.1"},
                                         {"255.255.255.255/32", "255.255.255.255"},
                                         {"240.0.0.0/4", "250.1.1.1"},
                                         {"::/96", "::7f00:1"},
                                         {"::/128", "::"},
                                         {"ff00::/8", "ff02::1"}};
  for (size_t i = 0; i < COUNT(never); i++)
    check_admits(never[i][0], never[i][1], false);
  check_admits("0.0.0.0/0", "8.8.8.8", true);
  check_admits("::/0", "2a00::1", true);
  check_admits("::/0", "8.8.8.8", false); /* families apart */
}

static void targets_are_read_once_and_strictly(void **state)
{
  (void)state;
  target_t t;
  static const char *const bad[] = {"",      ".",    "a..b",    "*.a", "a b", "a/b", "::ffff:127.0.0.1",
                                    "[::1]", "a:80", "\xc3\xa4"};
  for (size_t i = 0; i < COUNT(bad); i++)
    if (target_parse(bad[i], &t) == SMPL_OK)
      fail_msg("accepted: %s", bad[i]);
  assert_int_equal(target_parse("Config.Internal", &t), SMPL_OK);
  assert_string_equal(t.name, "config.internal");
  assert_false(t.final);
  assert_int_equal(target_parse("a.b.", &t), SMPL_OK);
  assert_true(t.final);
  assert_string_equal(t.name, "a.b");
  assert_int_equal(target_parse("127.0.0.1", &t), SMPL_OK);
  assert_true(t.is_ip);
  /* What inet_aton would read as an address is only a name here. */
  static const char *const names_only[] = {"127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.0.0.1."};
  for (size_t i = 0; i < COUNT(names_only); i++) {
    assert_int_equal(target_parse(names_only[i], &t), SMPL_OK);
    assert_false(t.is_ip);
  }
}

static void names_are_searched_and_never_bare(void **state)
{
  (void)state;
  target_t t;
  char out[GRANT_NAME_MAX];
  assert_int_equal(target_parse("config.internal", &t), SMPL_OK);
  assert_int_equal(target_under(&t, "smplkit.local", out), SMPL_OK);
  assert_string_equal(out, "config.internal.smplkit.local");
  assert_int_equal(target_parse("config.internal.smplkit.local", &t), SMPL_OK);
  assert_int_equal(target_under(&t, "smplkit.local", out), SMPL_OK);
  assert_string_equal(out, "config.internal.smplkit.local");
  assert_int_equal(target_parse("xsmplkit.local", &t), SMPL_OK);
  assert_int_equal(target_under(&t, "smplkit.local", out), SMPL_OK);
  assert_string_equal(out, "xsmplkit.local.smplkit.local");
  char longest[GRANT_NAME_MAX];
  for (size_t i = 0; i < 253; i++)
    longest[i] = i % 32 == 31 ? '.' : 'a';
  longest[253] = '\0';
  assert_int_equal(target_parse(longest, &t), SMPL_OK);
  assert_int_equal(target_under(&t, "smplkit.local", out), SMPL_ELIMIT);
}

static void what_is_left_of_a_grant_goes_over_to_the_next_that_covers_it(void **state)
{
  (void)state;
  one_t set[2];
  ip_t ip;
  assert_int_equal(ip_parse("10.0.0.1", &ip), SMPL_OK);
  make(&set[0], 0, 0, 0, 1, 1); /* a.x, Mon 08:00-10:00 */
  make(&set[1], 0, 0, 0, 1, 2); /* the same, Tue-Sun 22:00-09:30: of Sunday's window the half hour before */
  grant_t grants[2] = {set[0].grant, set[1].grant};
  grant_subject_t s = {"u", NULL, 0, 7 * 60};
  grant_target_t t = {.name = "a.x", .port = 80};
  assert_int_equal(grant_minutes_left(grants, 1, &s, &t, &ip), 0);      /* 07:00 */
  assert_int_equal(grant_minutes_left(grants, 2, &s, &t, &ip), 3 * 60); /* until 10:00, by both */
  s.minute = HOURS_WEEK - 60;
  assert_int_equal(grant_minutes_left(grants, 2, &s, &t, &ip), 11 * 60); /* over Sunday's midnight */
  s.minute = 10 * 60;
  assert_int_equal(grant_minutes_left(grants, 2, &s, &t, &ip), 0);
  grants[1].hour_count = 0;
  assert_int_equal(grant_minutes_left(grants, 2, &s, &t, &ip), HOURS_WEEK);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_grant_agrees_with_the_reference_everywhere),
      cmocka_unit_test(the_first_of_two_grants_that_covers_all_decides),
      cmocka_unit_test(what_is_left_of_a_grant_goes_over_to_the_next_that_covers_it),
      cmocka_unit_test(patterns_have_one_grammar),
      cmocka_unit_test(patterns_stop_at_their_limits),
      cmocka_unit_test(special_addresses_need_a_network_that_means_them),
      cmocka_unit_test(targets_are_read_once_and_strictly),
      cmocka_unit_test(names_are_searched_and_never_bare),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
