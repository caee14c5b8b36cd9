/* SPDX-License-Identifier: Apache-2.0 */
/* The access log when its reader does not keep up: lines are lost, and none is joined to another. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/http/access.h"

enum { ROUNDS = 40, LINES = 60, READ_EACH = 5000, READ_MAX = 1 << 20 };

static char folder[64], path[96];
static access_log_t *access_log;
static int reader;

static int open_pipe(void **state)
{
  (void)state;
  diag_t diag;
  snprintf(folder, sizeof folder, "/tmp/smpl-access-XXXXXX");
  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(path, sizeof path, "%s/log", folder);
  if (mkfifo(path, 0600) < 0)
    return -1;
  reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  return reader >= 0 ? access_open(path, &access_log, &diag) : -1;
}

static int close_pipe(void **state)
{
  (void)state;
  access_close(access_log);
  close(reader);
  unlink(path);
  return rmdir(folder);
}

static void write_lines(int count)
{
  static const char head[] = "GET /api/v1/configs HTTP/1.1\r\n";
  const access_line_t line = {.listener = "public",
                              .client = "127.0.0.1:50190",
                              .verdict = "admitted",
                              .reason = "admitted",
                              .head = (const uint8_t *)head,
                              .head_len = sizeof head - 1,
                              .status = 200,
                              .id = "of-a-length-that-divides-nothing"};
  for (int i = 0; i < count; i++)
    access_write(access_log, &line);
}

static size_t take(char *into, size_t most)
{
  ssize_t n = read(reader, into, most);
  return n > 0 ? (size_t)n : 0;
}

static void check_lines(char *text)
{
  size_t count = 0;
  for (char *line = text, *end; *line != '\0'; line = end + 1, count++) {
    end = strchr(line, '\n');
    assert_non_null(end);
    *end = '\0';
    assert_int_equal(strncmp(line, "{\"time\":", 8), 0);
    assert_int_equal(end[-1], '}');
    assert_null(strstr(line + 1, "{\"time\":"));
  }
  assert_true(count > ROUNDS);
}

static void a_reader_that_is_slow_loses_whole_lines(void **state)
{
  (void)state;
  static char text[READ_MAX];
  size_t used = 0;
  uint64_t lost = 0;
  for (int i = 0; i < ROUNDS; i++) {
    write_lines(LINES);
    access_flush(access_log);
    lost += access_lost(access_log);
    used += take(text + used, READ_EACH);
  }
  assert_true(lost > 0);
  for (size_t n; (n = take(text + used, sizeof text - used)) > 0;) {
    used += n;
    access_flush(access_log); /* what is left of a line */
  }
  assert_int_equal(access_lost(access_log), 0);
  text[used] = '\0';
  check_lines(text);
}

static void what_is_left_of_a_line_goes_to_no_other_file(void **state)
{
  (void)state;
  static char text[READ_MAX];
  access_file_t file;
  diag_t diag;
  for (int i = 0; i < ROUNDS; i++) {
    write_lines(LINES);
    access_flush(access_log);
  }
  assert_int_equal(access_file_open(path, &file, &diag), 0);
  access_use(access_log, &file);
  while (take(text, sizeof text) > 0) {
  }
  write_lines(1);
  access_flush(access_log);
  size_t used = take(text, sizeof text);
  assert_true(used > 0 && memcmp(text, "{\"time\":", 8) == 0 && text[used - 1] == '\n');
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_reader_that_is_slow_loses_whole_lines, open_pipe, close_pipe),
      cmocka_unit_test_setup_teardown(what_is_left_of_a_line_goes_to_no_other_file, open_pipe, close_pipe),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
