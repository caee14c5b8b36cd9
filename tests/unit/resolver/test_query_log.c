/* SPDX-License-Identifier: Apache-2.0 */
/* The query log: what a line says, that hostile names stay within it, and the limits of ring and disk. */
#include "harness.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "resolver/limits.h"
#include "resolver/answer/query_log.h"

static const char path[] = "test_query_log.json";

static query_log_t *open_log(uint64_t sample)
{
  settings_t settings = {.query_log = {path, sample}};
  endpoint_t at;
  query_log_t *log;
  diag_t diag = {""};
  unlink(path);
  assert_int_equal(endpoint_parse("127.0.0.1:5300", &at), 0);
  if (query_log_open(&settings, 2, &at, 1, &log, &diag))
    fail_msg("%s", diag.text);
  return log;
}

static void note_from(query_log_t *log, unsigned worker, const char *address, const uint8_t *msg, size_t len)
{
  ip_t peer;
  assert_int_equal(ip_parse(address, &peer), 0);
  query_event_t e = {"a \"view\"", 0, &peer, EXCHANGE_UDP, msg, len, DNS_RCODE_NXDOMAIN, true, 99};
  query_ring_note(query_log_ring(log, worker), &e);
}

static void note(query_log_t *log, unsigned worker, const uint8_t *msg, size_t len)
{
  note_from(log, worker, "192.0.2.7", msg, len);
}

static void note_name(query_log_t *log, unsigned worker, const char *name)
{
  uint8_t msg[512];
  ask_t ask = {.name = name, .type = DNS_TYPE_SRV};
  note(log, worker, msg, harness_query(&ask, msg));
}

/* The lines of the file, each one JSON object. */
static json_t *lines(void)
{
  char *text;
  size_t len;
  diag_t diag = {""};
  json_t *list = json_array();
  if (file_read(path, 64 << 20, &text, &len, &diag))
    fail_msg("%s", diag.text);
  for (char *at = text; at < text + len;) {
    char *end = strchr(at, '\n');
    assert_non_null(end);
    json_t *line = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(line));
    json_array_append_new(list, line);
    at = end + 1;
  }
  free(text);
  return list;
}

static void check(const json_t *line, const char *key, const char *want)
{
  assert_string_equal(json_string_value(json_object_get(line, key)), want);
}

static void a_line_says_who_asked_what_and_got_what(void **state)
{
  (void)state;
  query_log_t *log = open_log(1);
  note_name(log, 1, "Www.example.org");
  note(log, 0, (const uint8_t *)"\0\0\0\0\0\1\0\0\0\0\0\0", 12); /* a header without its question */
  query_log_drain(log);
  assert_int_equal(query_log_written(log), 2);
  query_log_free(log);
  json_t *list = lines();
  assert_int_equal(json_array_size(list), 2);
  assert_true(json_is_null(json_object_get(json_array_get(list, 0), "name")));
  const json_t *line = json_array_get(list, 1);
  check(line, "listener", "127.0.0.1:5300");
  check(line, "client", "192.0.2.7");
  check(line, "transport", "udp");
  check(line, "view", "a \"view\"");
  check(line, "name", "Www.example.org.");
  check(line, "type", "SRV");
  check(line, "rcode", "NXDOMAIN");
  assert_true(json_is_true(json_object_get(line, "truncated")));
  assert_int_equal(json_integer_value(json_object_get(line, "bytes")), 99);
  json_decref(list);
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 07, 0); /* not for everybody: it tells who asked for what */
}

static void hostile_names_stay_within_their_line(void **state)
{
  (void)state;
  query_log_t *log = open_log(1);
  uint8_t msg[DNS_HEADER_LEN + DNS_NAME_MAX + 4] = {0};
  for (unsigned byte = 0; byte < 256;
       byte++) { /* four labels, most of them this byte: the longest name, escaped */
    size_t at = DNS_HEADER_LEN;
    for (unsigned label = 0; label < 4; label++) {
      unsigned len = label < 3 ? 63 : 61;
      msg[at] = (uint8_t)len;
      memset(msg + at + 1, (int)byte, len);
      at += len + 1;
    }
    msg[at++] = 0;
    memcpy(msg + at, "\0\1\0\1", 4);
    note(log, 0, msg, at + 4);
  }
  query_log_drain(log);
  query_log_free(log);
  json_t *list = lines();
  assert_int_equal(json_array_size(list), 256);
  for (size_t i = 0; i < 256; i++)
    assert_true(json_string_length(json_object_get(json_array_get(list, i), "name")) > 250);
  json_decref(list);
}

static void only_every_nth_is_noted(void **state)
{
  (void)state;
  query_log_t *log = open_log(10);
  for (unsigned i = 0; i < 101; i++)
    note_name(log, 0, "x");
  note_name(log, 1, "x"); /* each worker counts for itself */
  query_log_drain(log);
  assert_int_equal(query_log_written(log), 12);
  assert_int_equal(query_log_dropped(log), 0);
  query_log_free(log);
}

static void fill(query_log_t *log)
{
  uint8_t msg[512];
  ask_t ask = {.name = "x", .type = DNS_TYPE_SRV};
  size_t len = harness_query(&ask, msg);
  for (unsigned i = 0; i < QUERY_LOG_RING; i++) {
    char from[32]; /* from all over the world */
    snprintf(from, sizeof from, "10.%u.%u.1", i / 250, i % 250);
    note_from(log, 0, from, msg, len);
  }
}

/* One network, by whatever addresses of it, has half of the ring; a neighbour's line is there, whenever it
 * comes. */
static void whoever_asks_much_does_not_push_others_out_of_the_log(void **state)
{
  (void)state;
  static const char *const greedy[] = {"198.51.100.%u", "2001:db8:7:%u::1"};
  uint8_t msg[512];
  ask_t ask = {.name = "x", .type = DNS_TYPE_SRV};
  size_t len = harness_query(&ask, msg);
  for (size_t kind = 0; kind < 2; kind++) {
    query_log_t *log = open_log(1);
    for (unsigned round = 1; round <= 3; round++) { /* what was written is not held against it */
      for (unsigned i = 0; i < 3 * QUERY_LOG_RING; i++) {
        char from[64];
        snprintf(from, sizeof from, greedy[kind], i % 250);
        note_from(log, 0, from, msg, len);
      }
      assert_int_equal(query_log_dropped(log), round * (3 * QUERY_LOG_RING - QUERY_LOG_RING / 2));
      for (unsigned i = 0; i < QUERY_LOG_SHARE; i++)
        note_from(log, 0, "203.0.113.9", msg, len);
      assert_int_equal(query_log_dropped(log), round * (3 * QUERY_LOG_RING - QUERY_LOG_RING / 2));
      query_log_drain(log);
      assert_int_equal(query_log_written(log), round * (QUERY_LOG_RING / 2 + QUERY_LOG_SHARE));
    }
    query_log_free(log);
  }
}

static void a_full_ring_drops_and_counts(void **state)
{
  (void)state;
  query_log_t *log = open_log(1);
  fill(log);
  assert_int_equal(query_log_dropped(log), 0);
  note_name(log, 0, "x");
  note_name(log, 0, "x");
  note_name(log, 1, "x"); /* another worker's has room */
  assert_int_equal(query_log_dropped(log), 2);
  query_log_drain(log);
  assert_int_equal(query_log_written(log), QUERY_LOG_RING + 1);
  note_name(log, 0, "x");
  query_log_drain(log);
  assert_int_equal(query_log_written(log), QUERY_LOG_RING + 2);
  assert_int_equal(query_log_dropped(log), 2);
  query_log_free(log);
}

static void a_full_disk_drops_counts_and_recovers(void **state)
{
  (void)state;
  struct rlimit was;
  query_log_t *log = open_log(1);
  note_name(log, 0, "x");
  query_log_drain(log);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit tight = {1, was.rlim_max};
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
  note_name(log, 0, "x");
  note_name(log, 0, "x");
  query_log_drain(log);
  assert_int_equal(query_log_dropped(log), 2);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
  note_name(log, 0, "x");
  query_log_drain(log);
  assert_int_equal(query_log_written(log), 2);
  query_log_free(log);
}

static int clean(void **state)
{
  (void)state;
  unlink(path);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_line_says_who_asked_what_and_got_what),
      cmocka_unit_test(hostile_names_stay_within_their_line),
      cmocka_unit_test(only_every_nth_is_noted),
      cmocka_unit_test(a_full_ring_drops_and_counts),
      cmocka_unit_test(whoever_asks_much_does_not_push_others_out_of_the_log),
      cmocka_unit_test(a_full_disk_drops_counts_and_recovers),
  };
  return cmocka_run_group_tests(tests, NULL, clean);
}
