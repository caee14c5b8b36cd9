/* SPDX-License-Identifier: Apache-2.0 */
/* The relay between libssh and the user's agent, before agents that hang. agent.c is included whole, with
 * time limits that a test can wait for; the real ones are checked to be what the README says. */
#include "tunnel/session/agent.h"

#include <assert.h>

static_assert(AGENT_LIST_MS == 2000 && AGENT_SIGN_MS == 60000, "the README has these");
#define AGENT_LIST_MS 200
#define AGENT_SIGN_MS 300
#include "tunnel/session/agent.c"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/ssh/base64.h"
#include "host_kit.h"

enum { PATIENCE_MS = 120000 };

typedef struct fake {
  char folder[64];
  char path[96];
  int listener;
  pthread_t thread;
  bool lists;        /* else it never answers */
  bool refuses;      /* to sign; else: */
  bool babbles;      /* what it calls a signature is none; else: */
  unsigned signs;    /* how many signatures it gives before it hangs */
  atomic_uint asked; /* for signatures */
  const uint8_t *keys;
  size_t keys_len;
  uint8_t bound[4096]; /* the extension that it was told, and how often */
  size_t bound_len;
  unsigned binds;
} fake_t;

/* One key of a kind that libssh does not know: it is shown all the same. */
static const uint8_t keys[] = {MESSAGE_KEYS, 0, 0, 0, 1, 0, 0, 0, 5, 0, 0, 0, 1, 'k', 0, 0, 0, 1, 'c'};

static void serve_one(fake_t *f, int fd, const uint8_t *body, size_t len)
{
  static const uint8_t signature[] = {MESSAGE_SIGNED, 0, 0, 0, 10, 0, 0, 0, 1, 'k', 0, 0, 0, 1, 's'};
  static const uint8_t failure = MESSAGE_FAILURE;
  if (body[0] == MESSAGE_LIST && f->lists)
    send_message(fd, f->keys ? f->keys : keys, f->keys ? f->keys_len : sizeof keys);
  else if (body[0] == MESSAGE_SIGN && f->refuses)
    send_message(fd, &failure, 1);
  else if (body[0] == MESSAGE_SIGN && f->asked++ < f->signs)
    send_message(fd, signature, f->babbles ? sizeof signature - 1 : sizeof signature);
  if (body[0] != MESSAGE_EXTENSION)
    return;
  assert_true(len <= sizeof f->bound);
  memcpy(f->bound, body, len);
  f->bound_len = len;
  f->binds++;
  send_message(fd, &failure, 1); /* as one that does not know it */
}

static void *serve(void *arg)
{
  fake_t *f = arg;
  uint8_t *body = malloc(AGENT_MESSAGE_MAX);
  int fd = accept(f->listener, NULL, NULL);
  size_t len;
  while ((len = receive_message(fd, body)) > 0)
    serve_one(f, fd, body, len);
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

static permit_t permit;
static host_t host; /* its session is "number" */

/* How the agent is asked for: afresh, nothing has been signed. */
static agent_for_t whom_of(const fake_t *f, int session)
{
  if (!host.key)
    host_make(&host, "number");
  permit = (permit_t){.user = "dev", .host_key = host.blob, .proof = host.proof};
  return (agent_for_t){.path = f->path, .session = session, .permit = &permit};
}

/* A login of this user, with this key, to this session, as it is to be signed with the key "k". */
static size_t put_request(uint8_t *out, size_t cap, const char *session, const char *user, const char *key)
{
  const uint8_t shown[] = {0, 0, 0, 1, 'k'}, signed_by[] = {0, 0, 0, 1, (uint8_t)key[0]}; /* blobs */
  uint8_t data[256];
  size_t len;
  assert_int_equal(signedreq_build((cursor_t){(const uint8_t *)session, strlen(session)}, user, "kind",
                                   (cursor_t){signed_by, sizeof signed_by}, data, sizeof data, &len),
                   0);
  cursor_out_t w = cursor_into(out, cap);
  cursor_put_u8(&w, MESSAGE_SIGN);
  cursor_put_string(&w, shown, sizeof shown);
  cursor_put_string(&w, data, len);
  cursor_put_u32(&w, 0); /* flags */
  assert_false(w.full);
  return w.len;
}

static void send_request(int fd)
{
  uint8_t request[512];
  assert_true(send_message(fd, request, put_request(request, sizeof request, "number", "dev", "k")));
}

static uint8_t answer_of(int fd)
{
  uint8_t body[64];
  struct pollfd p = {fd, POLLIN, 0};
  assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
  assert_true(receive_message(fd, body) > 0);
  return body[0];
}

/* What libssh would be answered. */
static uint8_t ask(int fd, uint8_t question)
{
  if (question == MESSAGE_SIGN)
    send_request(fd);
  else
    assert_true(send_message(fd, &question, 1));
  return answer_of(fd);
}

static void test_an_agent_that_never_lists_is_given_up(void **state)
{
  (void)state;
  fake_t f = {0};
  const char *why;
  bool gone;
  start(&f);
  uint64_t began = clock_mono_ms();
  agent_for_t whom = whom_of(&f, -1);
  assert_null(agent_open(&whom, &why, &gone));
  assert_true(clock_mono_ms() - began >= AGENT_LIST_MS - 10);
  assert_true(gone);
  assert_string_equal(why, "the agent does not answer");
  stop(&f);
}

/* What is said of an agent that answers the question for its keys like this. */
static void list(const uint8_t *answer, size_t len, const char *expected)
{
  fake_t f = {.lists = true, .keys = answer, .keys_len = len};
  const char *why;
  bool gone;
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  assert_null(agent_open(&whom, &why, &gone));
  assert_true(gone);
  assert_non_null(strstr(why, expected));
  stop(&f);
}

static void test_a_list_beyond_the_limit_and_one_that_is_none_are_named_as_that(void **state)
{
  (void)state;
  static uint8_t much[AGENT_MESSAGE_MAX + 1] = {MESSAGE_KEYS};
  static const uint8_t locked[] = {MESSAGE_FAILURE};
  list(much, sizeof much, "more than 256 KiB");
  list(locked, sizeof locked, "something else than its keys");
}

static void test_an_agent_that_never_signs_is_given_up_and_not_asked_again(void **state)
{
  (void)state;
  fake_t f = {.lists = true, .signs = 1};
  const char *why;
  bool gone;
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  assert_int_equal(ask(fd, MESSAGE_LIST), MESSAGE_KEYS);
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_SIGNED);
  assert_int_equal(agent_said(a), AGENT_SIGNED);
  uint64_t began = clock_mono_ms();
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_FAILURE);
  assert_true(clock_mono_ms() - began >= AGENT_SIGN_MS - 10);
  assert_int_equal(agent_said(a), AGENT_SILENT);
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
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  send_request(fd);
  while (f.asked == 0)
    poll(NULL, 0, 1);
  agent_close(a);
  close(fd);
  stop(&f);
}

static void test_a_refusal_is_the_agents_own(void **state)
{
  (void)state;
  fake_t f = {.lists = true, .refuses = true};
  const char *why;
  bool gone;
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  assert_int_equal(agent_said(a), AGENT_NOTHING);
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_FAILURE);
  assert_int_equal(agent_said(a), AGENT_REFUSED);
  agent_show(a, 0); /* the next key is another question */
  assert_int_equal(agent_said(a), AGENT_NOTHING);
  close(fd);
  agent_close(a);
  stop(&f);
}

/* libssh would call it a lack of memory, and the login would end there. */
static void test_an_answer_that_is_no_signature_is_a_refusal(void **state)
{
  (void)state;
  fake_t f = {.lists = true, .babbles = true, .signs = 1};
  const char *why;
  bool gone;
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_FAILURE);
  assert_int_equal(agent_said(a), AGENT_REFUSED);
  close(fd);
  agent_close(a);
  stop(&f);
}

/* The server's time for a login is over while a token waits for its touch. */
static void test_a_server_that_hangs_up_ends_the_wait_for_a_signature(void **state)
{
  (void)state;
  fake_t f = {.lists = true};
  const char *why;
  bool gone;
  int session[2];
  start(&f);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, session), 0);
  agent_for_t whom = whom_of(&f, session[0]);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  close(session[1]);
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_FAILURE);
  assert_int_equal(agent_said(a), AGENT_SESSION_ENDED);
  close(fd);
  agent_close(a);
  close(session[0]);
  stop(&f);
}

/* ---- the server is told ---- */

static void test_the_agent_is_told_of_the_server_once_and_before_it_signs(void **state)
{
  (void)state;
  fake_t f = {.lists = true, .signs = 2};
  const char *why;
  bool gone;
  uint8_t body[64];
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  uint8_t expected[1024];
  cursor_out_t w = cursor_into(expected, sizeof expected);
  cursor_put_u8(&w, MESSAGE_EXTENSION);
  cursor_put_text(&w, "session-bind@openssh.com");
  cursor_put_string(&w, host.blob.data, host.blob.len);
  cursor_put_text(&w, "number");
  cursor_put_string(&w, host.proof.data, host.proof.len);
  cursor_put_u8(&w, 0);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  for (int i = 0; i < 2; i++) {
    send_request(fd);
    assert_int_equal(receive_message(fd, body), 15);
    assert_int_equal(body[0], MESSAGE_SIGNED);
  }
  close(fd);
  agent_close(a);
  stop(&f);
  assert_int_equal(f.binds, 1);
  assert_int_equal(f.bound_len, w.len);
  assert_memory_equal(f.bound, expected, w.len);
}

/* ---- what may be signed ---- */

static void test_nothing_but_a_login_of_this_user_to_this_session_is_signed(void **state)
{
  (void)state;
  static const struct {
    const char *session, *user, *key;
  } others[] = {{"number", "root", "k"}, {"number", "dev", "l"}, {"another", "dev", "k"}, {"", "dev", "k"}};
  static const uint8_t free_text[] = {MESSAGE_SIGN, 0,   0,   0, 5, 0, 0, 0, 1, 'k', 0, 0, 0, 3,
                                      'a',          'n', 'y', 0, 0, 0, 0};
  fake_t f = {.lists = true, .signs = 100};
  const char *why;
  bool gone;
  uint8_t request[512];
  start(&f);
  agent_for_t whom = whom_of(&f, -1);
  agent_t *a = agent_open(&whom, &why, &gone);
  assert_non_null(a);
  int fd = agent_take_fd(a);
  assert_int_equal(ask(fd, MESSAGE_SIGN), MESSAGE_SIGNED);
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    size_t len = put_request(request, sizeof request, others[i].session, others[i].user, others[i].key);
    assert_true(send_message(fd, request, len));
    assert_int_equal(answer_of(fd), MESSAGE_FAILURE);
    assert_int_equal(agent_said(a), AGENT_REFUSED);
  }
  assert_true(send_message(fd, free_text, sizeof free_text));
  assert_int_equal(answer_of(fd), MESSAGE_FAILURE);
  size_t len = put_request(request, sizeof request, "number", "dev", "k");
  request[9] = 'm'; /* of another key than the one that is shown */
  assert_true(send_message(fd, request, len));
  assert_int_equal(answer_of(fd), MESSAGE_FAILURE);
  assert_int_equal(f.asked, 1);
  close(fd);
  agent_close(a);
  stop(&f);
}

/* ---- which keys ---- */

static size_t put_key(uint8_t *out, ssh_key key)
{
  char *text = NULL;
  size_t len = 0;
  assert_int_equal(ssh_pki_export_pubkey_base64(key, &text), SSH_OK);
  uint8_t *blob = base64_decode_new(text, strlen(text), 4096, &len);
  size_t used = put_string(out, (cursor_t){blob, len});
  put_u32(out + used, 0); /* no comment */
  free(blob);
  ssh_string_free_char(text);
  return used + 4;
}

static void test_keys_of_the_identity_files_come_first_or_alone(void **state)
{
  (void)state;
  enum { KEYS = 3 };
  ssh_key made[KEYS];
  uint8_t list[1024] = {MESSAGE_KEYS, 0, 0, 0, KEYS};
  size_t len = 5;
  for (int i = 0; i < KEYS; i++) {
    assert_int_equal(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &made[i]), SSH_OK);
    len += put_key(list + len, made[i]);
  }
  for (int only = 0; only < 2; only++) {
    fake_t f = {.lists = true, .keys = list, .keys_len = len};
    agent_for_t whom = {.path = f.path, .session = -1, .mine = &made[2], .mine_count = 1, .only_mine = only};
    const char *why;
    bool gone;
    start(&f);
    agent_t *a = agent_open(&whom, &why, &gone);
    assert_non_null(a);
    assert_int_equal(agent_count(a), only ? 1 : KEYS);
    assert_int_equal(ssh_key_cmp(a->keys[0].key, made[2], SSH_KEY_CMP_PUBLIC), 0);
    for (int i = 1; i < KEYS && !only; i++)
      assert_int_equal(ssh_key_cmp(a->keys[i].key, made[i - 1], SSH_KEY_CMP_PUBLIC), 0);
    assert_true(agent_has(a, made[2]));
    assert_int_equal(agent_has(a, made[0]), !only);
    agent_close(a);
    stop(&f);
  }
  for (int i = 0; i < KEYS; i++)
    ssh_key_free(made[i]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_an_agent_that_never_lists_is_given_up),
      cmocka_unit_test(test_a_list_beyond_the_limit_and_one_that_is_none_are_named_as_that),
      cmocka_unit_test(test_an_agent_that_never_signs_is_given_up_and_not_asked_again),
      cmocka_unit_test(test_an_agent_that_is_waited_for_can_be_let_go),
      cmocka_unit_test(test_a_refusal_is_the_agents_own),
      cmocka_unit_test(test_an_answer_that_is_no_signature_is_a_refusal),
      cmocka_unit_test(test_a_server_that_hangs_up_ends_the_wait_for_a_signature),
      cmocka_unit_test(test_the_agent_is_told_of_the_server_once_and_before_it_signs),
      cmocka_unit_test(test_nothing_but_a_login_of_this_user_to_this_session_is_signed),
      cmocka_unit_test(test_keys_of_the_identity_files_come_first_or_alone),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
