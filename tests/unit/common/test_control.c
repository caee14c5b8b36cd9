/* SPDX-License-Identifier: Apache-2.0 */
/* common/net/control.h: both ends over a real socket, the server's loop on a thread of its own. */
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/net/control.h"
#include "common/base/error.h"

/* While it is held, no time passes for the server: nobody is ended because a machine is slow. */
static atomic_uint_least64_t held_ns;

int clock_gettime(clockid_t id, struct timespec *ts)
{
  uint64_t held = atomic_load(&held_ns);
  if (held == 0 || (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE))
    return (int)syscall(SYS_clock_gettime, id, ts);
  *ts = (struct timespec){(time_t)(held / 1000000000), (long)(held % 1000000000)};
  return 0;
}

static void hold_clock(void)
{
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  atomic_store(&held_ns, (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

static char dir[] = "/tmp/smpl-ctl-XXXXXX";
static char path[64];

enum { GROUPS_TESTED = 200, PATIENCE_MS = 120000 };

typedef struct fixture {
  uv_loop_t loop;
  uv_async_t stop;
  uv_timer_t later;
  control_server_t *server;
  control_request_t *held;
  pthread_t thread;
  control_peer_t peer;
  gid_t groups[GROUPS_TESTED];
} fixture_t;

enum { BIG = 15 << 20 /* bytes of an answer; four of them are below CONTROL_HELD_MAX */ };

static void on_later(uv_timer_t *timer)
{
  fixture_t *f = timer->data;
  control_reply(f->held, json_pack("{s:b, s:s}", "ok", 1, "when", "later"));
}

static void on_request(void *ctx, control_request_t *request, const control_peer_t *peer, json_t *body)
{
  fixture_t *f = ctx;
  const char *cmd = json_string_value(json_object_get(body, "cmd"));
  f->peer = *peer;
  f->peer.groups = NULL;
  for (size_t i = 0; i < peer->group_count && i < GROUPS_TESTED; i++)
    f->groups[i] = peer->groups[i];
  if (cmd != NULL && strcmp(cmd, "echo") == 0) {
    json_t *reply = json_copy(body);
    json_object_set_new(reply, "ok", json_true());
    control_reply(request, reply);
  } else if (cmd != NULL && strcmp(cmd, "later") == 0) {
    f->held = request;
    uv_timer_start(&f->later, on_later, 30, 0);
  } else if (cmd != NULL && strcmp(cmd, "big") == 0) {
    char *text = malloc(BIG);
    memset(text, 'x', BIG);
    control_reply(request, json_pack("{s:b, s:s#}", "ok", 1, "text", text, (size_t)BIG));
    free(text);
  } else {
    control_reply_error(request, "unknown command '%s'", cmd != NULL ? cmd : "");
  }
}

static void on_stop(uv_async_t *async)
{
  fixture_t *f = async->data;
  control_server_close(f->server);
  uv_close((uv_handle_t *)&f->stop, NULL);
  uv_close((uv_handle_t *)&f->later, NULL);
}

static void *run_loop(void *arg)
{
  fixture_t *f = arg;
  uv_run(&f->loop, UV_RUN_DEFAULT);
  return NULL;
}

static int start(void **state)
{
  fixture_t *f = calloc(1, sizeof *f);
  diag_t diag = {{0}};
  if (f == NULL)
    return -1;
  uv_loop_init(&f->loop);
  uv_async_init(&f->loop, &f->stop, on_stop);
  uv_timer_init(&f->loop, &f->later);
  f->stop.data = f;
  f->later.data = f;
  if (control_server_open(&f->loop, path, on_request, f, &f->server, &diag) != 0)
    return -1;
  *state = f;
  return pthread_create(&f->thread, NULL, run_loop, f);
}

static int stop(void **state)
{
  fixture_t *f = *state;
  atomic_store(&held_ns, 0);
  uv_async_send(&f->stop);
  pthread_join(f->thread, NULL);
  int busy = uv_loop_close(&f->loop);
  free(f);
  return busy == 0 && access(path, F_OK) != 0 ? 0 : -1;
}

static int call(const char *cmd, json_t **reply, diag_t *diag)
{
  json_t *body = json_pack("{s:s}", "cmd", cmd);
  *diag = (diag_t){{0}};
  int err = control_call(path, body, PATIENCE_MS, reply, diag);
  json_decref(body);
  return err;
}

static void a_request_is_answered_now_or_later(void **state)
{
  fixture_t *f = *state;
  json_t *reply;
  diag_t diag;
  assert_int_equal(call("echo", &reply, &diag), SMPL_OK);
  assert_string_equal(json_string_value(json_object_get(reply, "cmd")), "echo");
  json_decref(reply);
  assert_int_equal(f->peer.uid, getuid());
  assert_int_equal(f->peer.pid, getpid());
  assert_int_equal(call("later", &reply, &diag), SMPL_OK);
  assert_string_equal(json_string_value(json_object_get(reply, "when")), "later");
  json_decref(reply);
}

static void an_error_arrives_as_its_text(void **state)
{
  (void)state;
  json_t *reply;
  diag_t diag;
  assert_int_equal(call("nonsense", &reply, &diag), SMPL_ESERVER);
  assert_null(reply);
  assert_string_equal(diag.text, "unknown command 'nonsense'");
}

static void an_answer_as_long_as_the_longest_request_arrives_whole(void **state)
{
  (void)state;

  json_t *reply;
  diag_t diag = {{0}};
  size_t len = CONTROL_REQUEST_MAX - 64;
  char *big = malloc(len + 1);
  assert_non_null(big);
  memset(big, 'x', len);
  big[len] = '\0';
  json_t *body = json_pack("{s:s, s:s}", "cmd", "echo", "big", big);
  assert_int_equal(control_call(path, body, PATIENCE_MS, &reply, &diag), SMPL_OK);
  assert_int_equal(json_string_length(json_object_get(reply, "big")), len);
  json_decref(reply);
  json_decref(body);
  free(big);
}

static int dial(void)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  memcpy(sa.sun_path, path, strlen(path) + 1);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_true(fd >= 0);
  struct timeval patience = {PATIENCE_MS / 1000, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
  return fd;
}

static void a_request_above_the_limit_or_without_json_is_refused(void **state)
{
  (void)state;
  char buf[256];
  int fd = dial();
  char *big = malloc(CONTROL_REQUEST_MAX + 1);
  assert_non_null(big);
  memset(big, 'x', CONTROL_REQUEST_MAX + 1);
  ssize_t ignored = send(fd, big, CONTROL_REQUEST_MAX + 1, MSG_NOSIGNAL);
  (void)ignored;
  assert_true(recv(fd, buf, sizeof buf, 0) <= 0); /* closed without an answer */
  close(fd);
  free(big);
  fd = dial();
  assert_int_equal(send(fd, "[1]\n", 4, MSG_NOSIGNAL), 4);
  ssize_t n = recv(fd, buf, sizeof buf - 1, 0);
  assert_true(n > 0);
  buf[n] = '\0';
  assert_non_null(strstr(buf, "\"ok\":false"));
  close(fd);
}

static void connections_above_the_limit_are_closed_and_the_rest_served(void **state)
{
  (void)state;
  int fds[CONTROL_CLIENTS_MAX];
  char c;
  for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
    fds[i] = dial();
  int extra = dial();
  assert_true(recv(extra, &c, 1, 0) <= 0);
  close(extra);
  assert_int_equal(send(fds[0], "{\"cmd\":\"echo\"}\n", 15, MSG_NOSIGNAL), 15);
  assert_int_equal(recv(fds[0], &c, 1, 0), 1);
  for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
    close(fds[i]);
}

/* ---- other accounts: what the bound of each is, and which groups are seen ---- */

enum { WANTED = CONTROL_CLIENTS_OF_UID + 2 };

/* In a child: another account, with none of the server's ends of connections, which would stay open when the
 * server closes them. */
static void become(uid_t uid, int a, int b, int c)
{
  for (int fd = STDERR_FILENO + 1; fd < 1024; fd++)
    if (fd != a && fd != b && fd != c)
      close(fd);
  if (setgroups(0, NULL) != 0 || setgid(uid) != 0 || setuid(uid) != 0 ||
      prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    _exit(2);
}

/* How many of WANTED connections of this account stay open; they stay until the pipe is closed. The server
 * judges connections in their order: once it has answered a later one (`judged` says so), the refused ones
 * are closed. */
static pid_t fill_as(uid_t uid, const int *hold, int report, int judged)
{
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  become(uid, hold[0], report, judged);
  uint8_t open = 0;
  char c;
  struct pollfd p[WANTED];
  for (int i = 0; i < WANTED; i++)
    p[i] = (struct pollfd){dial(), POLLIN, 0};
  if (write(report, "", 1) != 1 || read(judged, &c, 1) != 1)
    _exit(3);
  int refused = poll(p, WANTED, 0);
  open = (uint8_t)(WANTED - refused);
  if (refused < 0 || write(report, &open, 1) != 1)
    _exit(3);
  _exit(read(hold[0], &c, 1) == 0 ? 0 : 4);
}

/* Five accounts, each of which wants more than it may have: those that come when all places are taken get
 * theirs from those that have most, until each has as many as another. */
static void accounts_share_the_places_and_root_keeps_its_own(void **state)
{
  (void)state;
  enum { ACCOUNTS = 5 };
  if (geteuid() != 0)
    skip();
  int hold[2], report[2], judged[2];
  pid_t pids[ACCOUNTS];
  json_t *reply;
  diag_t diag;
  unsigned total = 0;
  uint8_t open = 0;
  assert_int_equal(chmod(dir, 0711) | chmod(path, 0666), 0);
  assert_int_equal(pipe(hold) | pipe(report) | pipe(judged), 0);
  for (unsigned i = 0; i < ACCOUNTS; i++) {
    pids[i] = fill_as(60001 + i, hold, report[1], judged[0]);
    assert_int_equal(read(report[0], &open, 1), 1); /* it has dialled */
  }
  assert_int_equal(call("echo", &reply, &diag), 0);
  json_decref(reply);
  for (unsigned i = 0; i < ACCOUNTS; i++) {
    assert_int_equal(write(judged[1], "", 1), 1);
    assert_int_equal(read(report[0], &open, 1), 1);
    assert_in_range(open, CONTROL_CLIENTS_OTHERS / ACCOUNTS, CONTROL_CLIENTS_OTHERS / ACCOUNTS + 1);
    total += open;
  }
  assert_int_equal(total, CONTROL_CLIENTS_OTHERS);
  assert_int_equal(call("echo", &reply, &diag), 0);
  json_decref(reply);
  close(hold[1]);
  for (unsigned i = 0; i < ACCOUNTS; i++) {
    int status;
    assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
    assert_int_equal(status, 0);
  }
  for (int i = 0; i < 2; i++) {
    close(report[i]);
    close(judged[i]);
  }
  close(hold[0]);
}

static void one_account_alone_has_its_limit(void **state)
{
  (void)state;
  if (geteuid() != 0)
    skip();
  int hold[2], report[2], judged[2], status;
  json_t *reply;
  diag_t diag;
  uint8_t open = 0;
  assert_int_equal(chmod(dir, 0711) | chmod(path, 0666), 0);
  assert_int_equal(pipe(hold) | pipe(report) | pipe(judged), 0);
  pid_t pid = fill_as(60001, hold, report[1], judged[0]);
  assert_int_equal(read(report[0], &open, 1), 1);
  assert_int_equal(call("echo", &reply, &diag), 0);
  json_decref(reply);
  assert_int_equal(write(judged[1], "", 1), 1);
  assert_int_equal(read(report[0], &open, 1), 1);
  assert_int_equal(open, CONTROL_CLIENTS_OF_UID);
  close(hold[1]);
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  for (int i = 0; i < 2; i++) {
    close(report[i]);
    close(judged[i]);
  }
  close(hold[0]);
}

/* As another account: asks `count` times for BIG bytes and takes one byte of each answer; writes how many
 * came, and once the pipe `judged` says so, how many can still be read to their end. */
static pid_t read_slowly_as(uid_t uid, int count, int report, int judged)
{
  pid_t pid = fork();
  if (pid != 0)
    return pid;
  become(uid, report, judged, judged);
  int fds[CONTROL_CLIENTS_OF_UID];
  uint8_t began = 0, whole = 0;
  char c;
  for (int i = 0; i < count; i++) {
    fds[i] = dial();
    if (send(fds[i], "{\"cmd\":\"big\"}\n", 14, MSG_NOSIGNAL) == 14 && recv(fds[i], &c, 1, 0) == 1)
      began++;
  }
  if (write(report, &began, 1) != 1 || read(judged, &c, 1) != 1)
    _exit(3);
  for (int i = 0; i < count; i++) {
    static char buf[1 << 16];
    size_t got = 1;
    ssize_t n;
    while ((n = recv(fds[i], buf, sizeof buf, 0)) > 0)
      got += (size_t)n;
    whole = (uint8_t)(whole + (got > BIG));
  }
  _exit(write(report, &whole, 1) == 1 ? 0 : 4);
}

static void slow_readers_give_way_for_those_who_hold_less(void **state)
{
  (void)state;
  if (geteuid() != 0)
    skip();
  int report[2], judged[2], status;
  uint8_t n = 0;
  json_t *reply;
  diag_t diag;
  assert_int_equal(chmod(dir, 0711) | chmod(path, 0666), 0);
  assert_int_equal(pipe(report) | pipe(judged), 0);
  hold_clock();
  pid_t greedy = read_slowly_as(60001, CONTROL_CLIENTS_OF_UID, report[1], judged[0]);
  assert_int_equal(read(report[0], &n, 1), 1);
  assert_int_equal(n, CONTROL_HELD_MAX / BIG); /* one more is closed: its own account holds the most */
  pid_t other = read_slowly_as(60002, 1, report[1], judged[0]);
  assert_int_equal(read(report[0], &n, 1), 1);
  assert_int_equal(n, 1);
  assert_int_equal(call("big", &reply, &diag), 0); /* root's own */
  json_decref(reply);
  assert_int_equal(write(judged[1], "  ", 2), 2);
  unsigned whole = 0;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(read(report[0], &n, 1), 1);
    whole += n;
  }
  assert_int_equal(whole, CONTROL_HELD_MAX / BIG); /* the other one's, and one less of the greedy one's */
  assert_int_equal(waitpid(greedy, &status, 0), greedy);
  assert_int_equal(status, 0);
  assert_int_equal(waitpid(other, &status, 0), other);
  assert_int_equal(status, 0);
  for (int i = 0; i < 2; i++) {
    close(report[i]);
    close(judged[i]);
  }
}

static void groups_come_from_the_kernel_few_or_many(void **state)
{
  fixture_t *f = *state;
  if (geteuid() != 0)
    skip();
  assert_int_equal(chmod(dir, 0711) | chmod(path, 0666), 0);
  static const size_t counts[] = {0, 1, 64, 65, GROUPS_TESTED};
  for (size_t n = 0; n < sizeof counts / sizeof *counts; n++) {
    gid_t groups[GROUPS_TESTED];
    for (size_t i = 0; i < counts[n]; i++)
      groups[i] = (gid_t)(70000 + i);
    pid_t pid = fork();
    if (pid == 0) {
      json_t *reply;
      diag_t diag;
      if (setgroups(counts[n], groups) != 0 || setgid(60002) != 0 || setuid(60001) != 0)
        _exit(2);
      _exit(call("echo", &reply, &diag) == 0 ? 0 : 3);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(f->peer.uid, 60001);
    assert_int_equal(f->peer.gid, 60002);
    assert_int_equal(f->peer.group_count, counts[n]);
    for (size_t i = 0; i < counts[n]; i++)
      assert_int_equal(f->groups[i], 70000 + i);
  }
}

static void the_socket_is_closed_to_others_and_not_taken_from_a_living_server(void **state)
{
  (void)state;
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0660);
  uv_loop_t loop;
  control_server_t *second;
  diag_t diag = {{0}};
  uv_loop_init(&loop);
  assert_int_equal(control_server_open(&loop, path, on_request, NULL, &second, &diag), SMPL_EBUSY);
  assert_non_null(strstr(diag.text, "another running program"));
  uv_loop_close(&loop);
}

static void without_a_server_the_caller_is_told_so(void **state)
{
  (void)state;
  json_t *reply;
  diag_t diag;
  assert_int_equal(call("echo", &reply, &diag), SMPL_ECLOSED);
  assert_non_null(strstr(diag.text, "no running program answers"));
}

static void a_stale_socket_is_replaced_and_a_plain_file_is_not(void **state)
{
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  memcpy(sa.sun_path, path, strlen(path) + 1);
  assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
  close(fd);
  assert_int_equal(start(state), 0);
  assert_int_equal(stop(state), 0);
  FILE *plain = fopen(path, "w");
  assert_non_null(plain);
  fclose(plain);
  uv_loop_t loop;
  control_server_t *server;
  diag_t diag = {{0}};
  uv_loop_init(&loop);
  assert_int_equal(control_server_open(&loop, path, on_request, NULL, &server, &diag), SMPL_EEXIST);
  uv_loop_close(&loop);
  assert_int_equal(access(path, F_OK), 0);
  unlink(path);
}

static int make_dir(void **state)
{
  (void)state;
  if (mkdtemp(dir) == NULL)
    return -1;
  snprintf(path, sizeof path, "%s/s", dir);
  return 0;
}

static void check_guess(const char *text, const char *fallback, const char *expected)
{
  char file[96], whole[160];
  snprintf(file, sizeof file, "%s/c.yaml", dir);
  FILE *f = fopen(file, "w");
  assert_non_null(f);
  fputs(text, f);
  fclose(f);
  chmod(file, 0600);
  char *found = control_guess(file, fallback);
  snprintf(whole, sizeof whole, "%s/%s", dir, expected != NULL ? expected : "");
  if (expected == NULL)
    assert_null(found);
  else
    assert_string_equal(found, expected[0] == '/' ? expected : whole);
  free(found);
  unlink(file);
}

/* A client must find whoever can say what is wrong with the file. */
static void the_socket_is_found_in_a_file_that_is_broken(void **state)
{
  (void)state;
  check_guess("a: [\ncontrol: x.sock\nb: {", NULL, "x.sock");
  check_guess("control: \"y.sock\" # there\n]]", NULL, "y.sock");
  check_guess("control: 'y y.sock'\n]]", NULL, "y y.sock");
  check_guess("control:   /run/z.sock   # there", NULL, "/run/z.sock");
  check_guess("control: a#b.sock\r\n%", NULL, "a#b.sock");
  check_guess("a: b\n", "d.sock", "d.sock");
  check_guess("a: b\n", NULL, NULL);
  check_guess("control:\nnext: 1\n", NULL, NULL);
  check_guess("control: \"open\nnext: 1\n", "d.sock", "d.sock");
  check_guess("#control: x\n  control: y\nmycontrol: z\n", NULL, NULL);
  char *found = control_guess("/nowhere/at/all.yaml", "d.sock");
  assert_string_equal(found, "/nowhere/at/d.sock");
  free(found);
}

static void a_program_that_is_not_there_has_a_status_of_its_own(void **state)
{
  (void)state;
  assert_int_equal(control_exit(SMPL_OK), 0);
  assert_int_equal(control_exit(SMPL_ESERVER), 1);
  assert_int_equal(control_exit(SMPL_ETIMEOUT), 1);
  assert_int_equal(control_exit(SMPL_ECLOSED), 3);
}

static int remove_dir(void **state)
{
  (void)state;
  return rmdir(dir);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_request_is_answered_now_or_later, start, stop),
      cmocka_unit_test_setup_teardown(an_error_arrives_as_its_text, start, stop),
      cmocka_unit_test_setup_teardown(an_answer_as_long_as_the_longest_request_arrives_whole, start, stop),
      cmocka_unit_test_setup_teardown(a_request_above_the_limit_or_without_json_is_refused, start, stop),
      cmocka_unit_test_setup_teardown(connections_above_the_limit_are_closed_and_the_rest_served, start,
                                      stop),
      cmocka_unit_test_setup_teardown(accounts_share_the_places_and_root_keeps_its_own, start, stop),
      cmocka_unit_test_setup_teardown(one_account_alone_has_its_limit, start, stop),
      cmocka_unit_test_setup_teardown(slow_readers_give_way_for_those_who_hold_less, start, stop),
      cmocka_unit_test_setup_teardown(groups_come_from_the_kernel_few_or_many, start, stop),
      cmocka_unit_test_setup_teardown(the_socket_is_closed_to_others_and_not_taken_from_a_living_server,
                                      start, stop),
      cmocka_unit_test(without_a_server_the_caller_is_told_so),
      cmocka_unit_test(the_socket_is_found_in_a_file_that_is_broken),
      cmocka_unit_test(a_program_that_is_not_there_has_a_status_of_its_own),
      cmocka_unit_test(a_stale_socket_is_replaced_and_a_plain_file_is_not),
  };
  return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
