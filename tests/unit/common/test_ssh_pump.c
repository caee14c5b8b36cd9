/* SPDX-License-Identifier: Apache-2.0 */
/* The pump between a libssh client and a libssh server in one process, over a socket pair; the client reads
 * ahead, as the tunnel does, the server does not, as the bastion. The modules are included whole: one limit
 * can only be reached by calling a callback as a hostile peer would make libssh do, and what a wire holds is
 * seen from within alone. */
#include "common/ssh/ssh_pump.c"
#include "common/ssh/ssh_wire.c"

#include <libssh/server.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { TURNS_MAX = 200000 };

typedef struct ended {
  int count;
  ssh_pump_end_t last;
  ssh_pump_bytes_t bytes;
} ended_t;

typedef struct link {
  ssh_bind bind;
  ssh_session client;
  ssh_session server;
  ssh_pump_t *client_pump;
  ssh_pump_t *server_pump;
  int client_fd;
  uint8_t ahead[SSH_PUMP_READ_AHEAD], server_ahead[SSH_PUMP_READ_AHEAD];
} link_t;

/* A forwarded connection: near is the application's end on the client's side, far the one on the server's. */
typedef struct pipe_ends {
  int near;
  int far;
  ended_t client_end;
  ended_t server_end;
  ssh_pump_channel_t *client_channel;
  ssh_pump_channel_t *server_channel;
} pipe_ends_t;

static void on_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end, const ssh_pump_bytes_t *bytes)
{
  (void)ch;
  ended_t *e = ctx;
  e->count++;
  e->last = end;
  e->bytes = *bytes;
}

static void fill_server(ssh_bind bind, ssh_session server, int fd)
{
  ssh_key key = NULL;
  bool no = false;
  assert_int_equal(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key), SSH_OK);
  ssh_bind_options_set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no);
  assert_int_equal(ssh_bind_options_set(bind, SSH_BIND_OPTIONS_IMPORT_KEY, key), SSH_OK);
  assert_int_equal(ssh_bind_accept_fd(bind, server, fd), SSH_OK);
  ssh_set_auth_methods(server, SSH_AUTH_METHOD_NONE);
  ssh_set_blocking(server, 0);
}

static void fill_client(ssh_session client, int fd, uint64_t rekey_bytes)
{
  bool no = false;
  ssh_options_set(client, SSH_OPTIONS_PROCESS_CONFIG, &no);
  ssh_options_set(client, SSH_OPTIONS_HOST, "localhost");
  ssh_options_set(client, SSH_OPTIONS_USER, "test");
  ssh_options_set(client, SSH_OPTIONS_FD, &fd);
  if (rekey_bytes)
    assert_int_equal(ssh_options_set(client, SSH_OPTIONS_REKEY_DATA, &rekey_bytes), SSH_OK);
  ssh_set_blocking(client, 0);
}

static void answer_login(ssh_session server)
{
  ssh_message m;
  while ((m = ssh_message_get(server))) {
    if (ssh_message_type(m) == SSH_REQUEST_SERVICE)
      ssh_message_service_reply_success(m);
    else if (ssh_message_type(m) == SSH_REQUEST_AUTH)
      ssh_message_auth_reply_success(m, 0);
    ssh_message_free(m);
  }
}

static link_t *connect_link(uint64_t rekey_bytes)
{
  link_t *l = calloc(1, sizeof *l);
  int fds[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  assert_int_equal(ssh_pump_prepare_socket(fds[0], 0), SMPL_OK);
  assert_int_equal(ssh_pump_prepare_socket(fds[1], 0), SMPL_OK);
  ssh_init();
  l->bind = ssh_bind_new();
  l->server = ssh_new();
  l->client = ssh_new();
  l->client_fd = fds[1];
  fill_server(l->bind, l->server, fds[0]);
  fill_client(l->client, fds[1], rekey_bytes);
  int c = SSH_AGAIN;
  int s = SSH_AGAIN;
  for (int i = 0; i < TURNS_MAX && (c == SSH_AGAIN || s == SSH_AGAIN); i++) {
    if (c == SSH_AGAIN)
      c = ssh_pump_connect(l->client);
    if (s == SSH_AGAIN)
      s = ssh_handle_key_exchange(l->server);
  }
  assert_int_equal(c, SSH_OK);
  assert_int_equal(s, SSH_OK);
  assert_int_equal(ssh_pump_prepare_socket(fds[1], 0), SMPL_OK); /* libssh has undone it */
  int rc = SSH_AUTH_AGAIN;
  for (int i = 0; i < TURNS_MAX && rc == SSH_AUTH_AGAIN; i++) {
    rc = ssh_userauth_none(l->client, NULL);
    answer_login(l->server);
  }
  assert_int_equal(rc, SSH_AUTH_SUCCESS);
  assert_int_equal(ssh_pump_new(l->client, &l->client_pump), SMPL_OK);
  ssh_pump_read_ahead(l->client_pump, l->ahead);
  assert_int_equal(ssh_pump_new(l->server, &l->server_pump), SMPL_OK);
  ssh_pump_read_ahead(l->server_pump, l->server_ahead);
  return l;
}

static void disconnect_link(link_t *l)
{
  ssh_pump_free(l->client_pump);
  ssh_pump_free(l->server_pump);
  ssh_disconnect(l->client);
  ssh_free(l->client);
  ssh_disconnect(l->server);
  ssh_free(l->server);
  ssh_bind_free(l->bind);
  free(l);
}

static void turn(link_t *l)
{
  assert_int_equal(ssh_pump_turn(l->client_pump, NULL, 0, 0), SMPL_OK);
  assert_int_equal(ssh_pump_turn(l->server_pump, NULL, 0, 0), SMPL_OK);
}

static void turns(link_t *l, int count)
{
  for (int i = 0; i < count; i++)
    turn(l);
}

static ssh_channel accept_channel(ssh_session server)
{
  ssh_message m;
  ssh_channel channel = NULL;
  while ((m = ssh_message_get(server))) {
    if (ssh_message_type(m) == SSH_REQUEST_CHANNEL_OPEN)
      channel = ssh_message_channel_request_open_reply_accept(m);
    ssh_message_free(m);
  }
  return channel;
}

static void open_channels(link_t *l, ssh_channel *client, ssh_channel *server)
{
  *client = ssh_channel_new(l->client);
  *server = NULL;
  int rc = SSH_AGAIN;
  for (int i = 0; i < TURNS_MAX && (rc == SSH_AGAIN || !*server); i++) {
    if (rc == SSH_AGAIN)
      rc = ssh_channel_open_forward(*client, "target", 80, "127.0.0.1", 1);
    if (!*server)
      *server = accept_channel(l->server);
    turn(l);
  }
  assert_int_equal(rc, SSH_OK);
  assert_non_null(*server);
}

static pipe_ends_t *open_pipe(link_t *l)
{
  pipe_ends_t *p = calloc(1, sizeof *p);
  ssh_channel client;
  ssh_channel server;
  int a[2];
  int b[2];
  open_channels(l, &client, &server);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
  assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
  p->near = a[0];
  p->far = b[0];
  assert_int_equal(ssh_pump_add(l->client_pump, client, a[1], on_end, &p->client_end, &p->client_channel),
                   SMPL_OK);
  assert_int_equal(ssh_pump_add(l->server_pump, server, b[1], on_end, &p->server_end, &p->server_channel),
                   SMPL_OK);
  return p;
}

static void free_pipe(pipe_ends_t *p)
{
  close(p->near);
  close(p->far);
  free(p);
}

/* The byte that stands at a place of the test stream. */
static uint8_t byte_at(size_t i)
{
  return (uint8_t)((i * 2654435761u) >> 13);
}

/* Sends what fits of the stream's first total bytes; returns how far it has come. */
static size_t feed(int fd, size_t at, size_t total)
{
  uint8_t block[16384];
  while (at < total) {
    size_t n = total - at < sizeof block ? total - at : sizeof block;
    for (size_t i = 0; i < n; i++)
      block[i] = byte_at(at + i);
    ssize_t sent = send(fd, block, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent <= 0)
      break;
    at += (size_t)sent;
  }
  return at;
}

/* Takes what is there and checks it; *end once the end is seen. */
static size_t eat(int fd, size_t at, bool *end)
{
  uint8_t block[16384];
  for (;;) {
    ssize_t n = recv(fd, block, sizeof block, MSG_DONTWAIT);
    if (n == 0)
      *end = true;
    if (n <= 0)
      return at;
    for (ssize_t i = 0; i < n; i++) {
      if (block[i] != byte_at(at + (size_t)i))
        fail_msg("byte %zu is wrong", at + (size_t)i);
    }
    at += (size_t)n;
  }
}

static void transfer(link_t *l, int from, int to, size_t total)
{
  size_t sent = 0;
  size_t got = 0;
  bool end = false;
  for (int i = 0; i < TURNS_MAX && got < total; i++) {
    sent = feed(from, sent, total);
    turn(l);
    got = eat(to, got, &end);
  }
  assert_int_equal(got, total);
}

/* Though the reader's side has not been heard since the channel was opened. */
static void test_a_channel_begins_with_its_whole_window(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  turn(l);
  turn(l);
  assert_true(ssh_channel_window_size(p->client_channel->ssh) >= SSH_PUMP_FIRST_WINDOW);
  assert_true(ssh_channel_window_size(p->server_channel->ssh) >= 1 << 20);
  transfer(l, p->near, p->far, 100000);
  disconnect_link(l);
  free_pipe(p);
}

static void test_bytes_arrive_in_both_directions(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  transfer(l, p->near, p->far, 3000001);
  transfer(l, p->far, p->near, 2000003);
  assert_int_equal(p->client_channel->bytes.out, 3000001);
  assert_int_equal(p->client_channel->bytes.in, 2000003);
  assert_int_equal(p->server_channel->bytes.in, 3000001);
  disconnect_link(l);
  assert_int_equal(p->client_end.last, SSH_PUMP_END_SESSION);
  assert_int_equal(p->client_end.count, 1);
  free_pipe(p);
}

static void test_an_end_of_one_direction_leaves_the_other(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  for (int way = 0; way < 2; way++) {
    pipe_ends_t *p = open_pipe(l);
    int first = way ? p->near : p->far;
    int second = way ? p->far : p->near;
    bool end = false;
    size_t got = 0;
    feed(first, 0, 100000);
    shutdown(first, SHUT_WR);
    for (int i = 0; i < TURNS_MAX && !end; i++) {
      turn(l);
      got = eat(second, got, &end);
    }
    assert_true(end);
    assert_int_equal(got, 100000);
    assert_int_equal(p->client_end.count + p->server_end.count, 0);
    transfer(l, second, first, 200000);
    shutdown(second, SHUT_WR);
    turns(l, 50);
    assert_int_equal(p->client_end.count, 1);
    assert_int_equal(p->server_end.count, 1);
    assert_int_equal(p->client_end.last, SSH_PUMP_END_FINISHED);
    assert_int_equal(p->server_end.last, SSH_PUMP_END_FINISHED);
    assert_int_equal(ssh_pump_count(l->client_pump) + ssh_pump_count(l->server_pump), 0);
    free_pipe(p);
  }
  disconnect_link(l);
}

static void test_an_end_comes_after_the_bytes_before_it_however_slow_the_reader(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  size_t sent = 0;
  for (int i = 0; i < 2000; i++) {
    sent = feed(p->near, sent, 1 << 20);
    turn(l);
  }
  shutdown(p->near, SHUT_WR);
  turns(l, 200);
  bool end = false;
  size_t got = 0;
  for (int i = 0; i < TURNS_MAX && !end; i++) {
    uint8_t byte;
    if (got < 1000 && recv(p->far, &byte, 1, MSG_DONTWAIT) == 1) {
      assert_int_equal(byte, byte_at(got));
      got++;
    } else {
      got = eat(p->far, got, &end);
    }
    turn(l);
  }
  assert_true(end);
  assert_int_equal(got, sent);
  disconnect_link(l);
  free_pipe(p);
}

static void test_a_stalled_reader_costs_a_bounded_amount(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  size_t sent = 0;
  size_t before = 1;
  while (sent != before) {
    before = sent;
    for (int i = 0; i < 500; i++) {
      sent = feed(p->near, sent, 64u << 20);
      turn(l);
    }
  }
  assert_true(sent < SSH_PUMP_CHANNEL_MEMORY);
  ssh_pump_channel_t *ch = p->server_channel;
  assert_true(ch->in.len >= SSH_PUMP_QUEUE_MAX);
  assert_true(ch->in.cap <= 2 * SSH_PUMP_QUEUE_MAX);
  assert_true(ch->unread <= SSH_PUMP_UNREAD_MAX);
  /* And slowly drained, over and over, it stays so. */
  bool end = false;
  size_t got = 0;
  for (int i = 0; i < 20000 && got < (24u << 20); i++) {
    uint8_t block[4096];
    ssize_t n = recv(p->far, block, sizeof block, MSG_DONTWAIT);
    got += n > 0 ? (size_t)n : 0;
    sent = feed(p->near, sent, 64u << 20);
    turn(l);
    assert_true(ch->unread <= SSH_PUMP_UNREAD_MAX);
    assert_true(ch->in.len <= SSH_PUMP_UNREAD_MAX);
  }
  assert_false(end);
  disconnect_link(l);
  free_pipe(p);
}

static void test_sixty_four_channels_of_which_one_stalls(void **state)
{
  (void)state;
  enum { CHANNELS = 64, EACH = 300000 };
  link_t *l = connect_link(0);
  pipe_ends_t *p[CHANNELS];
  size_t sent[CHANNELS] = {0};
  size_t got[CHANNELS] = {0};
  for (int i = 0; i < CHANNELS; i++)
    p[i] = open_pipe(l);
  bool all = false;
  bool end = false;
  size_t stalled = 0;
  for (int n = 0; n < TURNS_MAX && !all; n++) {
    all = true;
    stalled = feed(p[0]->near, stalled, 64u << 20); /* nobody reads p[0]->far */
    for (int i = 1; i < CHANNELS; i++) {
      sent[i] = feed(p[i]->near, sent[i], EACH);
      got[i] = eat(p[i]->far, got[i], &end);
      all = all && got[i] == EACH;
    }
    turn(l);
  }
  assert_true(all);
  assert_int_equal(ssh_pump_live(l->server_pump), CHANNELS);
  disconnect_link(l);
  for (int i = 0; i < CHANNELS; i++) {
    assert_int_equal(p[i]->server_end.count, 1);
    free_pipe(p[i]);
  }
}

static void test_new_key_exchanges_lose_nothing(void **state)
{
  (void)state;
  link_t *l = connect_link(256 << 10);
  pipe_ends_t *p = open_pipe(l);
  size_t total = 6000007;
  size_t sent[2] = {0};
  size_t got[2] = {0};
  bool end = false;
  for (int i = 0; i < TURNS_MAX && (got[0] < total || got[1] < total); i++) {
    sent[0] = feed(p->near, sent[0], total);
    sent[1] = feed(p->far, sent[1], total);
    turn(l);
    got[0] = eat(p->far, got[0], &end);
    got[1] = eat(p->near, got[1], &end);
  }
  assert_int_equal(got[0], total);
  assert_int_equal(got[1], total);
  disconnect_link(l);
  free_pipe(p);
}

static void test_a_socket_that_breaks_ends_its_channel_alone(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  pipe_ends_t *other = open_pipe(l);
  close(p->far);
  p->far = -1;
  feed(p->near, 0, 100000);
  turns(l, 100);
  assert_int_equal(p->server_end.count, 1);
  assert_int_equal(p->server_end.last, SSH_PUMP_END_SOCKET_BROKE);
  assert_int_equal(p->client_end.count, 1);
  transfer(l, other->near, other->far, 50000);
  assert_int_equal(ssh_pump_count(l->server_pump), 1);
  disconnect_link(l);
  free_pipe(p);
  free_pipe(other);
}

static void test_a_dropped_channel_is_told_once_and_closed_for_the_peer(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  ssh_pump_drop(p->server_channel);
  turns(l, 20);
  assert_int_equal(p->server_end.count, 1);
  assert_int_equal(p->server_end.last, SSH_PUMP_END_DROPPED);
  assert_int_equal(p->client_end.count, 1);
  assert_int_equal(p->client_end.last, SSH_PUMP_END_PEER_CLOSED);
  assert_int_equal(ssh_pump_count(l->server_pump) + ssh_pump_count(l->client_pump), 0);
  disconnect_link(l);
  free_pipe(p);
}

static void test_a_peer_that_ignores_windows_ends_the_session(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  ssh_pump_channel_t *ch = p->server_channel;
  static uint8_t bytes[SSH_PUMP_UNREAD_MAX + 1];
  ch->in.len = 0;
  assert_int_equal(on_data(NULL, NULL, bytes, SSH_PUMP_QUEUE_MAX, 0, ch), SSH_PUMP_QUEUE_MAX);
  assert_int_equal(on_data(NULL, NULL, bytes, SSH_PUMP_UNREAD_MAX, 0, ch), 0);
  assert_false(l->server_pump->abuse);
  assert_int_equal(on_data(NULL, NULL, bytes, SSH_PUMP_UNREAD_MAX + 1, 0, ch), 0);
  assert_int_equal(ssh_pump_turn(l->server_pump, NULL, 0, 0), SMPL_EPROTO);
  disconnect_link(l);
  free_pipe(p);
}

/* ---- lines ---- */

typedef struct lines {
  int count;
  size_t last;
  char text[64];
  int ends;
  ended_t ended;
} lines_t;

static void on_line(void *ctx, ssh_pump_channel_t *ch, const char *line, size_t len)
{
  lines_t *s = ctx;
  (void)ch;
  if (!line) {
    s->ends++;
    return;
  }
  s->count++;
  s->last = len;
  snprintf(s->text, sizeof s->text, "%s", line);
}

static void on_lines_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end, const ssh_pump_bytes_t *bytes)
{
  on_end(&((lines_t *)ctx)->ended, ch, end, bytes);
}

static void open_lines(link_t *l, lines_t *client, lines_t *server, ssh_pump_channel_t **c,
                       ssh_pump_channel_t **s)
{
  ssh_channel a;
  ssh_channel b;
  open_channels(l, &a, &b);
  assert_int_equal(ssh_pump_add_lines(l->client_pump, a, on_line, on_lines_end, client, c), SMPL_OK);
  assert_int_equal(ssh_pump_add_lines(l->server_pump, b, on_line, on_lines_end, server, s), SMPL_OK);
}

static void test_lines_go_both_ways_and_an_end_waits_for_the_answer(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  lines_t client = {0};
  lines_t server = {0};
  ssh_pump_channel_t *c;
  ssh_pump_channel_t *s;
  open_lines(l, &client, &server, &c, &s);
  ssh_pump_send_line(c, "one", 3);
  ssh_pump_send_line(c, "two\r", 4);
  turns(l, 20);
  assert_int_equal(server.count, 2);
  assert_string_equal(server.text, "two");
  ssh_pump_finish_lines(c);
  turns(l, 20);
  assert_int_equal(server.ends, 1);
  assert_int_equal(server.ended.count, 0);
  ssh_pump_send_line(s, "answer", 6);
  ssh_pump_finish_lines(s);
  turns(l, 20);
  assert_string_equal(client.text, "answer");
  assert_int_equal(client.ended.last, SSH_PUMP_END_FINISHED);
  assert_int_equal(server.ended.last, SSH_PUMP_END_FINISHED);
  disconnect_link(l);
}

static void test_a_line_may_be_so_long_and_no_longer(void **state)
{
  (void)state;
  static char line[SSH_PUMP_LINE_MAX + 2];
  memset(line, 'x', sizeof line - 1);
  link_t *l = connect_link(0);
  lines_t client = {0};
  lines_t server = {0};
  ssh_pump_channel_t *c;
  ssh_pump_channel_t *s;
  open_lines(l, &client, &server, &c, &s);
  assert_int_equal(ssh_pump_send_line(c, line, SSH_PUMP_LINE_MAX), SMPL_OK);
  turns(l, 20);
  assert_int_equal(server.count, 1);
  assert_int_equal(server.last, SSH_PUMP_LINE_MAX);
  assert_int_equal(ssh_pump_send_line(c, line, SSH_PUMP_LINE_MAX + 1), SMPL_ELIMIT);
  /* A peer that does not keep to it. */
  assert_int_equal(byte_queue_add(&c->out, line, SSH_PUMP_LINE_MAX + 1), SMPL_OK);
  turns(l, 20);
  assert_int_equal(server.count, 1);
  assert_int_equal(server.ended.last, SSH_PUMP_END_DROPPED);
  disconnect_link(l);
}

typedef struct reading_owner {
  link_t *link;
  ssh_channel peer;
  unsigned lines;
} reading_owner_t;

/* An owner that lets libssh read in the middle of a line, as one does that answers the peer's requests first.
 */
static void on_line_that_reads(void *ctx, ssh_pump_channel_t *ch, const char *line, size_t len)
{
  reading_owner_t *o = ctx;
  if (!line || len > 10)
    return;
  if (++o->lines == 2) {
    static char more[4086]; /* the queue has room for it only once it has moved what it holds */
    memset(more, 'x', sizeof more);
    assert_int_equal(ssh_channel_write(o->peer, more, sizeof more), (int)sizeof more);
    for (int i = 0; i < 100; i++) {
      struct pollfd p = {ssh_get_fd(o->link->server), POLLIN, 0};
      ssh_pump_flush(o->link->client_pump, 10);
      ssh_wire_wait(ch->pump->wire, &p, 1, 0);
      ssh_event_dopoll(ch->pump->event, 0);
    }
    assert_true(ch->in.len >= sizeof more);
  }
  assert_int_equal(len, strlen(line));
  assert_string_equal(line, o->lines == 1 ? "first" : "second");
}

static void test_a_line_stands_while_its_owner_lets_more_bytes_arrive(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  reading_owner_t owner = {.link = l};
  ssh_channel server;
  ssh_pump_channel_t *s;
  open_channels(l, &owner.peer, &server);
  assert_int_equal(ssh_pump_add_lines(l->server_pump, server, on_line_that_reads, NULL, &owner, &s), SMPL_OK);
  assert_int_equal(ssh_channel_write(owner.peer, "first\nsecond\r\n", 14), 14);
  for (int i = 0; i < TURNS_MAX && owner.lines < 2; i++)
    turn(l);
  assert_int_equal(owner.lines, 2);
  disconnect_link(l);
}

static ssize_t arrived(link_t *l)
{
  static uint8_t block[1 << 16];
  return recvfrom(ssh_get_fd(l->server), block, sizeof block, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
}

static void test_packets_of_a_turn_leave_together(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  ssh_channel client[2];
  ssh_channel server[2];
  size_t gathered = 0;
  open_channels(l, &client[0], &server[0]);
  open_channels(l, &client[1], &server[1]);
  turns(l, 10);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(ssh_channel_write(client[i], "hello", 5), 5);
    assert_true(l->client_pump->wire->gathered > gathered);
    gathered = l->client_pump->wire->gathered;
    assert_int_equal(arrived(l), -1);
  }
  assert_int_equal(ssh_pump_turn(l->client_pump, NULL, 0, 0), SMPL_OK);
  assert_int_equal(l->client_pump->wire->gathered, 0);
  assert_int_equal(arrived(l), gathered);
  disconnect_link(l);
}

/* The client's socket takes no more, and the server stands still. */
static size_t fill_wire(link_t *l, pipe_ends_t *p)
{
  int small = 4096;
  size_t sent = 0;
  assert_int_equal(setsockopt(l->client_fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  for (int i = 0; i < 1000; i++) {
    sent = feed(p->near, sent, 1 << 20);
    assert_int_equal(ssh_pump_turn(l->client_pump, NULL, 0, 0), SMPL_OK);
    assert_true(l->client_pump->wire->gathered <= SSH_WIRE_GATHER_MAX);
  }
  assert_true(ssh_wire_stuck(l->client_pump->wire));
  assert_int_equal(room(p->client_channel), 0);
  return sent;
}

static void test_a_socket_that_takes_no_more_holds_up_and_loses_nothing(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  size_t sent = fill_wire(l, p);
  size_t got = 0;
  bool end = false;
  for (int i = 0; i < TURNS_MAX && got < 1 << 20; i++) {
    sent = feed(p->near, sent, 1 << 20);
    turn(l);
    got = eat(p->far, got, &end);
  }
  assert_int_equal(got, 1 << 20);
  assert_false(ssh_wire_stuck(l->client_pump->wire));
  disconnect_link(l);
  free_pipe(p);
}

static void test_nothing_is_sent_behind_a_gap(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  pipe_ends_t *p = open_pipe(l);
  fill_wire(l, p);
  ssh_pump_free(l->client_pump);
  l->client_pump = NULL;
  assert_int_equal(send(l->client_fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT), -1);
  assert_int_equal(errno, EPIPE);
  disconnect_link(l);
  free_pipe(p);
}

static void test_a_socket_that_libssh_has_closed_is_nobodys(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  int fd = ssh_get_fd(l->client);
  assert_ptr_equal(find(fd), l->client_pump->wire);
  ssh_pump_free(l->server_pump);
  l->server_pump = NULL;
  ssh_disconnect(l->server);
  int err = SMPL_OK;
  for (int i = 0; i < 100 && !err; i++)
    err = ssh_pump_turn(l->client_pump, NULL, 0, 10);
  assert_int_equal(err, SMPL_ECLOSED);
  assert_null(find(fd));
  assert_int_equal(fcntl(fd, F_GETFD), -1);
  disconnect_link(l);
}

static void test_a_session_that_ends_closes_its_socket(void **state)
{
  (void)state;
  link_t *l = connect_link(0);
  ssh_pump_free(l->client_pump);
  l->client_pump = NULL;
  ssh_disconnect(l->client);
  assert_int_equal(fcntl(l->client_fd, F_GETFD), -1);
  disconnect_link(l);
}

static void test_lines_that_nobody_takes_are_refused_at_the_limit(void **state)
{
  (void)state;
  static char line[1024];
  memset(line, 'x', sizeof line - 1);
  link_t *l = connect_link(0);
  lines_t client = {0};
  lines_t server = {0};
  ssh_pump_channel_t *c;
  ssh_pump_channel_t *s;
  open_lines(l, &client, &server, &c, &s);
  int taken = 0;
  while (ssh_pump_send_line(c, line, sizeof line - 1) == SMPL_OK)
    taken++;
  assert_int_equal(taken, SSH_PUMP_LINES_QUEUE_MAX / (int)sizeof line);
  turns(l, 200);
  assert_int_equal(server.count, taken);
  disconnect_link(l);
}

/* libssh writes once more though the room is gone that it was told of: it reads in between. */
static void a_write_that_finds_no_room_is_no_failure(void **state)
{
  static uint8_t bytes[64 << 10];
  (void)state;
  link_t *l = connect_link(0);
  struct pollfd p = {ssh_get_fd(l->client), POLLOUT, 0};
  while (poll(&p, 1, 0) == 1 && (p.revents & POLLOUT))
    assert_true(send(p.fd, bytes, sizeof bytes, 0) > 0);
  ssize_t n = send(p.fd, bytes, sizeof bytes, 0);
  assert_in_range(n, 1, SSH_WIRE_RESERVE);
  assert_int_equal(poll(&p, 1, 0), 0);
  disconnect_link(l);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_channel_begins_with_its_whole_window),
      cmocka_unit_test(a_write_that_finds_no_room_is_no_failure),
      cmocka_unit_test(test_bytes_arrive_in_both_directions),
      cmocka_unit_test(test_an_end_of_one_direction_leaves_the_other),
      cmocka_unit_test(test_an_end_comes_after_the_bytes_before_it_however_slow_the_reader),
      cmocka_unit_test(test_a_stalled_reader_costs_a_bounded_amount),
      cmocka_unit_test(test_sixty_four_channels_of_which_one_stalls),
      cmocka_unit_test(test_new_key_exchanges_lose_nothing),
      cmocka_unit_test(test_a_socket_that_breaks_ends_its_channel_alone),
      cmocka_unit_test(test_a_dropped_channel_is_told_once_and_closed_for_the_peer),
      cmocka_unit_test(test_a_peer_that_ignores_windows_ends_the_session),
      cmocka_unit_test(test_lines_go_both_ways_and_an_end_waits_for_the_answer),
      cmocka_unit_test(test_a_line_may_be_so_long_and_no_longer),
      cmocka_unit_test(test_a_line_stands_while_its_owner_lets_more_bytes_arrive),
      cmocka_unit_test(test_packets_of_a_turn_leave_together),
      cmocka_unit_test(test_a_socket_that_takes_no_more_holds_up_and_loses_nothing),
      cmocka_unit_test(test_nothing_is_sent_behind_a_gap),
      cmocka_unit_test(test_a_socket_that_libssh_has_closed_is_nobodys),
      cmocka_unit_test(test_a_session_that_ends_closes_its_socket),
      cmocka_unit_test(test_lines_that_nobody_takes_are_refused_at_the_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
