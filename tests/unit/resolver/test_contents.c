/* SPDX-License-Identifier: Apache-2.0 */
/* resolver/zone/zone.c: contents are swapped under the handle while others read them. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "resolver/zone/rcu.h"
#include "resolver/zone/zone_text.h"

enum { READERS = 2, SWAPS = 100, PATIENCE_MS = 120000 };

static zone_contents_t *contents(unsigned version)
{
  char text[300];
  dns_name_t origin;
  diag_t diag = {""};
  zone_contents_t *c;
  snprintf(text, sizeof text, "$TTL 60\n@ SOA ns a %u 2 3 4 5\n@ NS ns\nns A 10.0.0.%u\nb A 10.0.0.%u\n%s",
           version, version % 250, version % 250, version % 2 ? "odd A 10.0.0.1\n" : "even A 10.0.0.1\n");
  assert_int_equal(dns_name_from_text("org", &origin), 0);
  if (zone_read_text("org", &origin, "z", text, strlen(text), &c, &diag))
    fail_msg("%s", diag.text);
  return c;
}

static zone_t *handle(const char *name, unsigned version)
{
  zone_t *z;
  dns_name_t origin;
  assert_int_equal(dns_name_from_text("org", &origin), 0);
  assert_int_equal(zone_new(name, &origin, "z", &z), 0);
  if (version > 0)
    assert_null(zone_swap(z, contents(version)));
  return z;
}

static const char *ask_a(const view_t *v, const char *name)
{
  return harness_text(v, &(ask_t){.name = name, .type = DNS_TYPE_A});
}

static void the_next_question_is_answered_from_the_new_contents(void **state)
{
  (void)state;
  zone_t *z = handle("org", 1);
  view_t *v = harness_view("v", z, NULL, NULL);
  assert_string_equal(ask_a(v, "ns.org"), "NOERROR aa | ns.org. 60 IN A 10.0.0.1;");
  assert_int_equal(zone_facts(z).serial, 1);
  zone_contents_free(zone_swap(z, contents(2)));
  assert_string_equal(ask_a(v, "ns.org"), "NOERROR aa | ns.org. 60 IN A 10.0.0.2;");
  assert_string_equal(ask_a(v, "even.org"), "NOERROR aa | even.org. 60 IN A 10.0.0.1;");
  assert_non_null(strstr(ask_a(v, "odd.org"), "NXDOMAIN"));
  assert_int_equal(zone_facts(z).serial, 2);
  view_free(v);
  zone_free(z);
}

/* What its handle says of it stays; what it holds may go, and come. */
static void a_handle_without_contents_is_not_available(void **state)
{
  (void)state;
  zone_t *z = handle("org", 1);
  view_t *v = harness_view("v", z, NULL, NULL);
  zone_contents_free(zone_swap(z, NULL));
  assert_false(zone_is_available(z));
  assert_string_equal(ask_a(v, "ns.org"), "SERVFAIL");
  assert_null(zone_swap(z, contents(3)));
  assert_string_equal(ask_a(v, "ns.org"), "NOERROR aa | ns.org. 60 IN A 10.0.0.3;");
  view_free(v);
  zone_free(z);
}

static void an_overlay_sees_its_base_change(void **state)
{
  (void)state;
  zone_t *base = handle("org@base", 1), *over = handle("org@over", 2);
  assert_int_equal(zone_set_base(over, base), 0);
  view_t *v = harness_view("v", over, NULL, NULL);
  assert_string_equal(ask_a(v, "odd.org"), "NOERROR aa | odd.org. 60 IN A 10.0.0.1;");
  zone_contents_free(zone_swap(base, contents(4)));
  assert_non_null(strstr(ask_a(v, "odd.org"), "NXDOMAIN"));
  assert_string_equal(ask_a(v, "even.org"), "NOERROR aa | even.org. 60 IN A 10.0.0.1;");
  view_free(v);
  zone_free(over);
  zone_free(base);
}

/* ---- under RCU ---- */

typedef struct shared {
  const view_t *view;
  atomic_bool stop;
  atomic_uint looked, torn;
} shared_t;

static uint8_t last_byte(zone_in_view_t z, const char *text)
{
  dns_name_t name;
  zone_match_t m;
  if (dns_name_from_text(text, &name))
    return 0;
  zone_match(z, &name, DNS_TYPE_A, &m);
  return m.kind == ZONE_ANSWER ? zone_rrset_wire(m.rrset)[m.rrset->wire_len - 1] : 0;
}

/* Two names of one version, by one right to read. */
static void *look(void *arg)
{
  shared_t *s = arg;
  dns_name_t origin;
  dns_name_from_text("org", &origin);
  urcu_qsbr_register_thread();
  while (!atomic_load(&s->stop)) {
    zone_in_view_t z;
    bool found = view_zone_for(s->view, &origin, DNS_TYPE_A, &z);
    uint8_t first = found ? last_byte(z, "ns.org") : 0;
    if (first == 0 || first != last_byte(z, "b.org"))
      atomic_fetch_add(&s->torn, 1);
    atomic_fetch_add(&s->looked, 1);
    rcu_quiet((void *)(uintptr_t)s->view);
  }
  urcu_qsbr_unregister_thread();
  return NULL;
}

static void whoever_reads_sees_one_version_whole(void **state)
{
  (void)state;
  zone_t *z = handle("org", 1);
  view_t *v = harness_view("v", z, NULL, NULL);
  shared_t s = {.view = v};
  pthread_t readers[READERS];
  for (size_t i = 0; i < READERS; i++)
    assert_int_equal(pthread_create(&readers[i], NULL, look, &s), 0);
  for (unsigned version = 2; version < SWAPS + 2; version++) {
    unsigned before = atomic_load(&s.looked);
    zone_contents_t *old = zone_swap(z, contents(version));
    urcu_qsbr_synchronize_rcu();
    zone_contents_free(old);
    for (unsigned i = 0; i < PATIENCE_MS && atomic_load(&s.looked) == before; i++)
      usleep(1000);
  }
  atomic_store(&s.stop, true);
  for (size_t i = 0; i < READERS; i++)
    pthread_join(readers[i], NULL);
  assert_true(atomic_load(&s.looked) >= SWAPS);
  assert_int_equal(atomic_load(&s.torn), 0);
  view_free(v);
  zone_free(z);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_next_question_is_answered_from_the_new_contents),
      cmocka_unit_test(a_handle_without_contents_is_not_available),
      cmocka_unit_test(an_overlay_sees_its_base_change),
      cmocka_unit_test(whoever_reads_sees_one_version_whole),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
