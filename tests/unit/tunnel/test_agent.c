/* The relay between libssh and the user's agent, before agents that hang. agent.c is included whole, with time limits that a
 * test can wait for; the real ones are checked to be what the README says. */
#include "tunnel/agent.h"

#include <assert.h>

static_assert(AGENT_LIST_MS == 2000 && AGENT_SIGN_MS == 60000, "the README has these");
#define AGENT_LIST_MS 200
#define AGENT_SIGN_MS 300
#include "tunnel/agent.c"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/clock.h"

enum { MESSAGE_SIGN = 13, MESSAGE_SIGNED = 14, PATIENCE_MS = 120000 };

typedef struct fake {
  char folder[64];
  char path[96];
  int listener;
  pthread_t thread;
  bool lists;        /* else it never answers */
  unsigned signs;    /* how many signatures it gives before it hangs */
  atomic_uint asked; /* for signatures */
} fake_t;

/* One key of a kind that libssh does not know: it is shown all the same. */
static const uint8_t keys[] = {MESSAGE_KEYS, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1, 'k', 0, 0, 0, 1, 'c'};

static void *serve(void *arg)
{
  fake_t *f = arg;
  uint8_t *body = malloc(AGENT_MESSAGE_MAX);
  int fd = accept(f->listener, NULL, NULL);
  while (receive_message(fd, body) > 0) {
    const uint8_t signature = MESSAGE_SIGNED;
    if (body[0] == MESSAGE_LIST && f->lists)
      send_message(fd, keys, sizeof keys);
    else if (body[0] == MESSAGE_SIGN && f->asked++ < f->signs)
      send_message(fd, &signature, 1);
  }
  close(fd);
  free(body);
  return NULL;
}

static void start(fake_t *f)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  snprintf(f->folder, sizeof f->folder, "/tmp/smpl-agent.XXXXXX");
  assert_non_null(mkdtemp(f->folder));
  snprintf(f->path, sizeof f->path, "%s/socket", f->folder);
  memcpy(sa.sun_path, f->path, strlen(f->path) + 1);
  f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(f->listener, (struct sockaddr *)&sa, sizeof sa), 0);
  assert_int_equal(listen(f->listener, 1), 0);
  assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
}

/* After the agent has been let go. */
static void stop(fake_t *f)
{
  pthread_join(f->thread, NULL);
  close(f->listener);
  unlink(f->path);
  rmdir(f->folder);
}

/* What libssh would be answered to a question of one byte. */
static uint8_t ask(int fd, uint8_t question)
{
  uint8_t body[64];
  struct pollfd p = {fd, POLLIN, 0};
  assert_true(send_message(fd, &question, 1));
  assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
  assert_true(receive_message(fd, body) > 0);
  return body[0];
}

static void test_an_agent_that_never_lists_is_given_up(void **state)
{
  (void)state;
  fake_t f = {0};
  const char *why;
  bool gone;
  start(&f);
  uint64_t began = clock_mono_ms();
  assert_null(agent_open(f.path, NULL, 0, &why, &gone));
  assert_true(clock_mono_ms() - began >= AGENT_LIST_MS - 10);
  assert_true(gone);
  assert_string_equal(why, "the agent does not answer");
  stop(&f);
}

static void test_an_agent_that_never_signs_is_given_up_and_not_asked_again(void **state)
{
  (void)state;
  fake_t f = {.lists = true, .signs = 1};
  const char *why;
  bool gone;
  start(&f);
  agent_t *a = agent_open(f.path, NULL, 0, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  assert_int_equal(ask(fd, MESSAGE_LIST), MESSAGE_KEYS);
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_SIGNED);
  assert_false(agent_failed(a));
  uint64_t began = clock_mono_ms();
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_FAILURE);
  assert_true(clock_mono_ms() - began >= AGENT_SIGN_MS - 10);
  assert_true(agent_failed(a));
  /* What it says now would be the answer to the question before. */
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_FAILURE);
  assert_int_equal(f.asked, 2);
  close(fd);
  agent_close(a);
  stop(&f);
}

/* Ctrl-C while a token waits for its touch. */
static void test_an_agent_that_is_waited_for_can_be_let_go(void **state)
{
  (void)state;
  fake_t f = {.lists = true};
  const char *why;
  bool gone;
  const uint8_t question = MESSAGE_SIGN;
  start(&f);
  agent_t *a = agent_open(f.path, NULL, 0, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  assert_true(send_message(fd, &question, 1));
  while (f.asked == 0)
    poll(NULL, 0, 1);
  agent_close(a);
  close(fd);
  stop(&f);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_an_agent_that_never_lists_is_given_up),
      cmocka_unit_test(test_an_agent_that_never_signs_is_given_up_and_not_asked_again),
      cmocka_unit_test(test_an_agent_that_is_waited_for_can_be_let_go),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
