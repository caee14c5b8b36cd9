/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/ssh_pump.h"

#include <errno.h>
#include <fcntl.h>
#include <libssh/callbacks.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/ssh/byte_queue.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/ssh/ssh_wire.h"

enum {
  /* libssh reads 4 KiB a dispatch; this many before the sockets get their turn. */
  DISPATCHES_A_TURN = 32,
  READS_A_TURN = 1, /* of SSH_PUMP_READ_SIZE, per channel: the others come first */
  LINGER_CHECK_MS = 100,
  PACKET_OVERHEAD_MAX = 64, /* length, padding and authentication */
  REKEY_CHECK_MS = 10,      /* a new key exchange that ends inside a write gives no event to wait for */
};

struct ssh_pump_channel {
  ssh_pump_t *pump;
  ssh_channel ssh;
  struct ssh_channel_callbacks_struct callbacks;
  int fd; /* -1: a line channel, or ended */
  ssh_pump_end_cb on_end;
  ssh_pump_line_cb on_line;
  void *ctx;

  byte_queue_t in;  /* from the channel */
  uint32_t unread;  /* bytes that libssh holds for us: the queue was full */
  bool fetching;    /* libssh writes into the queue's memory: it must not move */
  byte_queue_t out; /* read from the socket, and not taken by the channel yet; or lines */

  bool socket_ended;     /* nothing more to read from the socket */
  bool socket_broke;     /* it failed: what arrives from the channel is dropped */
  bool write_refused;    /* the socket takes nothing more, though it may still give */
  bool eof_sent;         /* toward the channel */
  bool eof_delivered;    /* toward the socket */
  bool peer_closed;      /* CLOSE received */
  bool drop;             /* asked for by the owner */
  bool ended;            /* the owner knows; waits for the peer's CLOSE */
  uint64_t linger_until; /* 0: not lingering */
  ssh_pump_bytes_t bytes;
};

struct ssh_pump {
  ssh_session session;
  ssh_wire_t *wire;
  ssh_event event;
  ssh_pump_channel_t **channels;
  size_t count;
  size_t cap;
  size_t first; /* which channel goes first this turn */
  struct pollfd *polls;
  size_t polls_cap;
  uint8_t *scratch; /* SSH_PUMP_READ_SIZE bytes, while there are channels: what was just read, or the line at
                       hand */
  ssh_pump_hook_t before_sweep;
  void *before_sweep_ctx;
  bool work; /* something was queued outside a channel's step: do not sleep */
  struct ssh_counter_struct
      received;                   /* libssh counts what it reads from the socket, and what it writes there */
  struct ssh_counter_struct made; /* and the packets it makes */
  uint64_t flushed_made;          /* bytes_made and bytes written when libssh last had nothing to send */
  uint64_t flushed_written;
  uint64_t received_by; /* in_bytes at the end of the last turn */
  ssh_pump_bytes_t carried;
  bool abuse; /* set by callbacks, acted on after libssh has returned */
};

/* ---- callbacks: queue and mark, nothing else ---- */

static int on_data(ssh_session session, ssh_channel channel, void *data, uint32_t len, int is_stderr,
                   void *ctx)
{
  (void)session;
  (void)channel;
  ssh_pump_channel_t *ch = ctx;
  if (is_stderr || ch->ended || ch->drop || ch->socket_broke || ch->write_refused)
    return (int)len; /* nobody wants these bytes; taken, so that they do not pile up */
  if (ch->fd < 0)
    ch->pump->work = true;
  /* len counts everything that libssh holds. Once it holds a rest, only an empty queue takes all of it. */
  bool take = ch->unread > 0 ? ch->in.len == 0 : ch->in.len < SSH_PUMP_QUEUE_MAX;
  if (take && !ch->fetching && byte_queue_add(&ch->in, data, len) == SMPL_OK) {
    ch->unread = 0;
    return (int)len;
  }
  ch->unread = len;
  if (len > SSH_PUMP_UNREAD_MAX)
    ch->pump->abuse = true; /* disconnecting here would crash libssh */
  return 0;
}

static void on_close(ssh_session session, ssh_channel channel, void *ctx)
{
  (void)session;
  (void)channel;
  ssh_pump_channel_t *ch = ctx;
  ch->peer_closed = true;
  ch->pump->work = true;
}

static void on_eof(ssh_session session, ssh_channel channel, void *ctx)
{
  (void)session;
  (void)channel;
  ssh_pump_channel_t *ch = ctx;
  ch->pump->work = true; /* libssh also reads inside its writes: this may come after the channel's turn */
}

/* ---- life ---- */

int ssh_pump_prepare_socket(int fd, unsigned user_timeout_ms)
{
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    return SMPL_ESYS;
  int one = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0)
    return errno == EOPNOTSUPP || errno == ENOPROTOOPT || errno == EINVAL ? SMPL_OK : SMPL_ESYS;
#ifdef TCP_USER_TIMEOUT
  if (user_timeout_ms > 0 &&
      setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms) < 0)
    return SMPL_ESYS;
#else
  (void)user_timeout_ms;
#endif
  return SMPL_OK;
}

/* Told that no socket was given, libssh treats the one that it holds as one of its own making. */
int ssh_pump_connect(ssh_session session)
{
  int rc = ssh_connect(session);
  if (rc != SSH_ERROR)
    ssh_options_set(session, SSH_OPTIONS_FD, NULL);
  return rc;
}

int ssh_pump_new(ssh_session session, ssh_pump_t **out)
{
  *out = NULL;
  ssh_pump_t *pump = calloc(1, sizeof *pump);
  if (pump == NULL)
    return SMPL_ENOMEM;
  pump->session = session;
  pump->event = ssh_event_new();
  if (pump->event == NULL) {
    free(pump);
    return SMPL_ENOMEM;
  }
  int err = ssh_event_add_session(pump->event, session) == SSH_OK ? SMPL_OK : SMPL_ECLOSED;
  if (!err && (err = ssh_wire_new(session, &pump->wire)))
    ssh_event_remove_session(pump->event, session);
  if (err) {
    ssh_event_free(pump->event);
    free(pump);
    return err;
  }
  ssh_set_counters(session, &pump->received, &pump->made);
  *out = pump;
  return SMPL_OK;
}

void ssh_pump_read_ahead(ssh_pump_t *pump, void *memory)
{
  ssh_wire_read_ahead(pump->wire, memory, SSH_PUMP_READ_AHEAD);
}

void ssh_pump_before_sweep(ssh_pump_t *pump, ssh_pump_hook_t hook, void *ctx)
{
  pump->before_sweep = hook;
  pump->before_sweep_ctx = ctx;
}

static void tell_end(ssh_pump_channel_t *ch, ssh_pump_end_t end)
{
  if (ch->ended)
    return;
  ch->ended = true;
  if (ch->fd >= 0)
    close(ch->fd);
  ch->fd = -1;
  byte_queue_free(&ch->in);
  byte_queue_free(&ch->out);
  if (ch->on_end != NULL)
    ch->on_end(ch->ctx, ch, end, &ch->bytes);
}

/* After the session's end libssh frees its channels with the session. */
static void release_channel(ssh_pump_channel_t *ch, bool session_alive)
{
  ssh_remove_channel_callbacks(ch->ssh, &ch->callbacks);
  if (session_alive)
    ssh_channel_free(ch->ssh);
  byte_queue_free(&ch->in);
  byte_queue_free(&ch->out);
  free(ch);
}

static int send_queued(ssh_pump_channel_t *ch);

void ssh_pump_free(ssh_pump_t *pump)
{
  if (pump == NULL)
    return;
  for (size_t i = 0; i < pump->count; i++) {
    ssh_pump_channel_t *ch = pump->channels[i];
    if (!ch->ended && ch->fd >= 0)
      send_queued(ch); /* what arrived before the end, as far as the socket takes it */
    tell_end(ch, SSH_PUMP_END_SESSION);
    release_channel(ch, false);
  }
  ssh_set_counters(pump->session, NULL, NULL);
  ssh_event_remove_session(pump->event, pump->session);
  ssh_event_free(pump->event);
  ssh_wire_free(pump->wire);
  free(pump->channels);
  free(pump->polls);
  free(pump->scratch);
  free(pump);
}

/* libssh 0.10 opens a channel with a window of 64 KB, or 32 KB where it accepts one, and widens it when the
 * first bytes have come: a round trip late. Asked to read more than the window holds, it widens it now. From
 * 0.11 on there is nothing to be done: one that is opened has all of its window, one that is accepted has
 * SSH_PUMP_FIRST_WINDOW. */
static void widen(ssh_pump_channel_t *ch)
{
  ssh_pump_t *pump = ch->pump;
  if (!SSH_PUMP_READING_WIDENS || ch->fd < 0 || !ssh_is_connected(pump->session) ||
      ssh_channel_is_closed(ch->ssh))
    return;
  int got = ssh_channel_read_timeout(ch->ssh, pump->scratch, SSH_PUMP_READ_SIZE, 0, 0);
  if (got > 0 && byte_queue_add(&ch->in, pump->scratch, (size_t)got) != SMPL_OK)
    ch->drop = true;
}

static int add(ssh_pump_t *pump, ssh_pump_channel_t seed, ssh_pump_channel_t **out)
{
  if (out != NULL)
    *out = NULL;
  if (pump->count >= SSH_PUMP_CHANNELS_MAX)
    return SMPL_ELIMIT;
  if (pump->count == pump->cap) {
    size_t cap = pump->cap ? pump->cap * 2 : 8;
    ssh_pump_channel_t **channels = realloc(pump->channels, cap * sizeof(ssh_pump_channel_t *));
    if (channels == NULL)
      return SMPL_ENOMEM;
    pump->channels = channels;
    pump->cap = cap;
  }
  if (pump->scratch == NULL)
    pump->scratch = malloc(SSH_PUMP_READ_SIZE);
  ssh_pump_channel_t *ch = malloc(sizeof *ch);
  if (ch == NULL || pump->scratch == NULL) {
    free(ch);
    return SMPL_ENOMEM;
  }
  *ch = seed;
  ch->pump = pump;
  widen(ch);
  ch->callbacks.userdata = ch;
  ch->callbacks.channel_data_function = on_data;
  ch->callbacks.channel_eof_function = on_eof;
  ch->callbacks.channel_close_function = on_close;
  ssh_callbacks_init(&ch->callbacks);
  if (ssh_set_channel_callbacks(ch->ssh, &ch->callbacks) != SSH_OK) {
    byte_queue_free(&ch->in);
    free(ch);
    return SMPL_ENOMEM;
  }
  /* Before the callbacks stood, data may have arrived, and even the end. */
  int held = ssh_is_connected(pump->session) ? ssh_channel_poll(ch->ssh, 0) : 0;
  if (held > 0 && ch->in.len == 0)
    ch->unread = (uint32_t)held;
  if (ssh_channel_is_closed(ch->ssh))
    ch->peer_closed = true;
  pump->channels[pump->count++] = ch;
  pump->work = true;
  if (out != NULL)
    *out = ch;
  return SMPL_OK;
}

int ssh_pump_add(ssh_pump_t *pump, ssh_channel channel, int fd, ssh_pump_end_cb on_end, void *ctx,
                 ssh_pump_channel_t **out)
{
  return add(pump, (ssh_pump_channel_t){.ssh = channel, .fd = fd, .on_end = on_end, .ctx = ctx}, out);
}

int ssh_pump_add_lines(ssh_pump_t *pump, ssh_channel channel, ssh_pump_line_cb on_line,
                       ssh_pump_end_cb on_end, void *ctx, ssh_pump_channel_t **out)
{
  return add(pump,
             (ssh_pump_channel_t){.ssh = channel, .fd = -1, .on_line = on_line, .on_end = on_end, .ctx = ctx},
             out);
}

int ssh_pump_send_line(ssh_pump_channel_t *ch, const char *line, size_t len)
{
  if (ch->ended || ch->drop || ch->peer_closed || ch->socket_ended)
    return SMPL_ECLOSED;
  if (len > SSH_PUMP_LINE_MAX || ch->out.len + len + 1 > SSH_PUMP_LINES_QUEUE_MAX)
    return SMPL_ELIMIT;
  int err = byte_queue_reserve(&ch->out, len + 1);
  if (err)
    return err;
  byte_queue_add(&ch->out, line, len);
  byte_queue_add(&ch->out, "\n", 1);
  ch->pump->work = true;
  return SMPL_OK;
}

void ssh_pump_drop(ssh_pump_channel_t *ch)
{
  ch->drop = true;
  ch->pump->work = true;
}

void ssh_pump_finish_lines(ssh_pump_channel_t *ch)
{
  ch->socket_ended = true;
  ch->pump->work = true;
}

size_t ssh_pump_count(const ssh_pump_t *pump)
{
  return pump->count;
}

uint64_t ssh_pump_received(const ssh_pump_t *pump)
{
  return pump->received.in_bytes;
}

ssh_pump_bytes_t ssh_pump_carried(const ssh_pump_t *pump)
{
  return pump->carried;
}

size_t ssh_pump_live(const ssh_pump_t *pump)
{
  size_t live = 0;
  for (size_t i = 0; i < pump->count; i++)
    live += !pump->channels[i]->ended;
  return live;
}

void ssh_pump_each(ssh_pump_t *pump, ssh_pump_each_cb cb, void *ctx)
{
  for (size_t i = 0; i < pump->count; i++) {
    if (!pump->channels[i]->ended)
      cb(ctx, pump->channels[i], &pump->channels[i]->bytes);
  }
}

void *ssh_pump_context(const ssh_pump_channel_t *ch)
{
  return ch->ctx;
}

/* ---- from the channel ---- */

/* Fetches all that libssh held back. In one go: every read of libssh's grants the peer a whole window again,
 * so that fetching bit by bit would let the rest grow without end. */
static int fetch_unread(ssh_pump_channel_t *ch)
{
  while (ch->unread > 0) {
    uint32_t want = ch->unread;
    int err = byte_queue_reserve(&ch->in, want);
    if (err)
      return err;
    ch->fetching = true;
    int got = ssh_channel_read_nonblocking(ch->ssh, ch->in.data + ch->in.at + ch->in.len, want, 0);
    ch->fetching = false;
    if (got <= 0) {
      ch->unread = 0;
      return SMPL_OK;
    }
    ch->in.len += (size_t)got;
    /* Reading may have dispatched packets, and on_data then counted anew; it never lowers what is still
     * there. */
    ch->unread = (uint32_t)got >= ch->unread ? 0 : ch->unread - (uint32_t)got;
  }
  return SMPL_OK;
}

/* Writes queued bytes to the socket. */
static int send_queued(ssh_pump_channel_t *ch)
{
  while (ch->in.len > 0) {
    ssize_t n = send(ch->fd, ch->in.data + ch->in.at, ch->in.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      return SMPL_EAGAIN;
    if (n < 0) {
      /* The other end reads no more; it may still have sent something worth reading. */
      ch->write_refused = true;
      byte_queue_free(&ch->in);
      return SMPL_ECLOSED;
    }
    ch->bytes.in += (uint64_t)n;
    ch->pump->carried.in += (uint64_t)n;
    byte_queue_take(&ch->in, (size_t)n);
  }
  return SMPL_OK;
}

static void drop_incoming(ssh_pump_channel_t *ch)
{
  byte_queue_free(&ch->in);
  if (ch->unread > 0 && fetch_unread(ch) == SMPL_OK)
    byte_queue_free(&ch->in);
}

static void deliver_lines(ssh_pump_channel_t *ch)
{
  while (ch->in.len > 0 && !ch->drop) {
    char *start = (char *)ch->in.data + ch->in.at;
    char *end = memchr(start, '\n', ch->in.len);
    size_t len = end != NULL ? (size_t)(end - start) : ch->in.len;
    if (len > SSH_PUMP_LINE_MAX) {
      ch->drop = true;
      return;
    }
    if (end == NULL)
      return;
    /* Out of the queue before the owner sees it: what the owner calls may let libssh read, and on_data then
     * moves the queue. */
    char *line = (char *)ch->pump->scratch;
    memcpy(line, start, len);
    byte_queue_take(&ch->in, len + 1);
    ch->bytes.in += len + 1;
    if (len > 0 && line[len - 1] == '\r')
      len--;
    line[len] = '\0';
    if (len > 0)
      ch->on_line(ch->ctx, ch, line, len);
  }
}

static int move_in(ssh_pump_channel_t *ch)
{
  if (ch->socket_broke || ch->write_refused) {
    drop_incoming(ch);
    return SMPL_OK;
  }
  for (;;) {
    if (ch->fd >= 0)
      send_queued(ch);
    else
      deliver_lines(ch);
    if (ch->unread == 0 || ch->in.len > (ch->fd >= 0 ? 0 : SSH_PUMP_LINE_MAX))
      break;
    int err = fetch_unread(ch);
    if (err)
      return err;
  }
  bool all = ch->in.len == 0 || ch->fd < 0; /* the rest of an unfinished line is nobody's */
  if (!ch->eof_delivered && all && ch->unread == 0 && ssh_channel_is_eof(ch->ssh)) {
    ch->eof_delivered = true;
    if (ch->fd >= 0)
      shutdown(ch->fd, SHUT_WR);
    else
      ch->on_line(ch->ctx, ch, NULL, 0);
  }
  return SMPL_OK;
}

/* ---- toward the channel ---- */

static bool session_busy(const ssh_pump_t *pump)
{
  return (ssh_get_status(pump->session) & SSH_WRITE_PENDING) || ssh_wire_stuck(pump->wire);
}

/* How many bytes the channel takes now without buffering more than one read. */
static size_t room(const ssh_pump_channel_t *ch)
{
  if (ch->ended || ch->drop || ch->peer_closed || ch->eof_sent || session_busy(ch->pump))
    return 0;
  return ssh_channel_window_size(ch->ssh);
}

/* Writes at most len bytes, returns how many were taken: none while the keys are exchanged anew. */
static size_t write_channel(ssh_pump_channel_t *ch, const uint8_t *data, size_t len)
{
  size_t most = room(ch);
  if (len > most)
    len = most;
  if (len == 0)
    return 0;
  int n = ssh_channel_write(ch->ssh, data, (uint32_t)len);
  if (n < 0) {
    if (ssh_channel_is_closed(ch->ssh))
      ch->peer_closed = true;
    return 0;
  }
  ch->bytes.out += (uint64_t)n;
  if (ch->fd >= 0)
    ch->pump->carried.out += (uint64_t)n;
  return (size_t)n;
}

static void read_socket(ssh_pump_channel_t *ch)
{
  ssh_pump_t *pump = ch->pump;
  for (int i = 0; i < READS_A_TURN; i++) {
    size_t most = room(ch);
    if (most == 0 || ch->out.len > 0)
      return;
    if (most > SSH_PUMP_READ_SIZE)
      most = SSH_PUMP_READ_SIZE;
    ssize_t n = recv(ch->fd, pump->scratch, most, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
      return;
    if (n <= 0) {
      ch->socket_ended = true;
      ch->socket_broke = n < 0;
      return;
    }
    size_t taken = write_channel(ch, pump->scratch, (size_t)n);
    if (taken < (size_t)n && byte_queue_add(&ch->out, pump->scratch + taken, (size_t)n - taken) != SMPL_OK)
      ch->drop = true; /* bytes are lost: the channel must not go on as if they were not */
  }
}

static void move_out(ssh_pump_channel_t *ch, short revents)
{
  if (ch->out.len > 0) {
    size_t taken = write_channel(ch, ch->out.data + ch->out.at, ch->out.len);
    if (taken > 0)
      byte_queue_take(&ch->out, taken);
  }
  if (ch->fd >= 0 && !ch->socket_ended && (revents & (POLLIN | POLLHUP | POLLERR)))
    read_socket(ch);
  if (ch->socket_ended && ch->out.len == 0 && !ch->eof_sent && !ch->peer_closed && !ch->drop) {
    if (ssh_channel_send_eof(ch->ssh) == SSH_OK)
      ch->eof_sent = true;
  }
}

/* ---- ends ---- */

static bool lingered(ssh_pump_channel_t *ch)
{
  uint64_t now = clock_mono_ms();
  if (ch->linger_until == 0)
    ch->linger_until = now + SSH_PUMP_LINGER_MS;
  return now >= ch->linger_until;
}

/* True when the channel is over, and why. */
static bool is_over(ssh_pump_channel_t *ch, ssh_pump_end_t *end)
{
  if (ch->drop) {
    *end = SSH_PUMP_END_DROPPED;
    return true;
  }
  if (ch->peer_closed) {
    *end = ch->eof_sent ? SSH_PUMP_END_FINISHED : SSH_PUMP_END_PEER_CLOSED;
    bool delivered = ch->fd < 0 || (ch->in.len == 0 && ch->unread == 0);
    return delivered || lingered(ch);
  }
  if (ch->socket_broke && (ch->eof_sent || lingered(ch))) {
    *end = SSH_PUMP_END_SOCKET_BROKE;
    return true;
  }
  if (ch->write_refused && ch->eof_sent) {
    *end = SSH_PUMP_END_SOCKET_BROKE;
    return true;
  }
  *end = SSH_PUMP_END_FINISHED;
  return ch->eof_sent && ch->eof_delivered;
}

static int step_channel(ssh_pump_channel_t *ch, short revents)
{
  if (ch->ended)
    return SMPL_OK;
  if (ssh_channel_is_closed(ch->ssh))
    ch->peer_closed = true; /* a CLOSE that came before our callbacks stood */
  if (!ch->drop) {
    int err = move_in(ch);
    if (err)
      return err;
    move_out(ch, revents);
  }
  ssh_pump_end_t end;
  if (is_over(ch, &end)) {
    tell_end(ch, end);
    if (ssh_is_connected(ch->pump->session))
      ssh_channel_close(ch->ssh);
  }
  return SMPL_OK;
}

/* Frees the channels that both sides have closed. */
static void sweep(ssh_pump_t *pump)
{
  if (pump->before_sweep != NULL)
    pump->before_sweep(pump->before_sweep_ctx);
  size_t kept = 0;
  for (size_t i = 0; i < pump->count; i++) {
    ssh_pump_channel_t *ch = pump->channels[i];
    if (ch->ended && ch->peer_closed)
      release_channel(ch, true);
    else
      pump->channels[kept++] = ch;
  }
  pump->count = kept;
  if (kept == 0) {
    free(pump->scratch);
    pump->scratch = NULL;
  }
}

/* ---- the turn ---- */

static short channel_events(const ssh_pump_channel_t *ch)
{
  short events = 0;
  if (ch->fd < 0 || ch->ended)
    return 0;
  if (ch->in.len > 0)
    events |= POLLOUT;
  if (!ch->socket_ended && ch->out.len == 0 && room(ch) > 0)
    events |= POLLIN;
  return events;
}

static int poll_size(ssh_pump_t *pump, size_t need)
{
  if (need <= pump->polls_cap)
    return SMPL_OK;
  size_t cap = need + 16;
  struct pollfd *polls = realloc(pump->polls, cap * sizeof *polls);
  if (polls == NULL)
    return SMPL_ENOMEM;
  pump->polls = polls;
  pump->polls_cap = cap;
  return SMPL_OK;
}

static void wait_at_most(int *timeout_ms, int ms)
{
  if (*timeout_ms < 0 || *timeout_ms > ms)
    *timeout_ms = ms;
}

/* The session first, then the caller's, then the channels in their order. */
static int fill_polls(ssh_pump_t *pump, const struct pollfd *extra, size_t extra_count, int *timeout_ms)
{
  int err = poll_size(pump, 1 + extra_count + pump->count);
  if (err)
    return err;
  pump->polls[0] =
      (struct pollfd){ssh_get_fd(pump->session), (short)(POLLIN | (session_busy(pump) ? POLLOUT : 0)), 0};
  if (extra_count > 0)
    memcpy(pump->polls + 1, extra, extra_count * sizeof *extra);
  for (size_t i = 0; i < pump->count; i++) {
    const ssh_pump_channel_t *ch = pump->channels[i];
    short events = channel_events(ch);
    pump->polls[1 + extra_count + i] = (struct pollfd){events ? ch->fd : -1, events, 0};
    if (!ch->ended && ch->linger_until > 0)
      wait_at_most(timeout_ms, LINGER_CHECK_MS);
    if (ch->out.len > 0 && room(ch) > 0)
      wait_at_most(timeout_ms, REKEY_CHECK_MS);
  }
  /* What the owner called since the last turn may have made libssh read: no event will tell of that again. */
  if (pump->work || pump->received.in_bytes != pump->received_by)
    *timeout_ms = 0;
  pump->work = false;
  return SMPL_OK;
}

/* At most; what a packet has beside its payload depends on the cipher. */
static uint64_t bytes_made(const ssh_pump_t *pump)
{
  return pump->made.out_bytes + pump->made.out_packets * PACKET_OVERHEAD_MAX;
}

/* libssh answers what the peer asks at once, and keeps what the socket does not take without a limit. A peer
 * that asks and reads no answer would fill the memory. */
static bool unsent_too_much(ssh_pump_t *pump)
{
  if (!session_busy(pump)) {
    pump->flushed_made = bytes_made(pump);
    pump->flushed_written = pump->received.out_bytes;
    return false;
  }
  uint64_t made = bytes_made(pump) - pump->flushed_made;
  uint64_t written = pump->received.out_bytes - pump->flushed_written;
  return made > written && made - written > SSH_PUMP_UNSENT_MAX;
}

/* From 0.11 on libssh itself drops what a window has no room for, and goes on: nothing but its last error
 * tells. */
static bool window_ignored(ssh_session session)
{
  return strcmp(ssh_get_error(session), "Window exceeded") == 0;
}

/* Lets libssh read and write. SMPL_ECLOSED when the session is over. */
static int dispatch(ssh_pump_t *pump)
{
  for (int i = 0; i < DISPATCHES_A_TURN && !pump->abuse; i++) {
    int rc = ssh_event_dopoll(pump->event, 0);
    if (rc == SSH_ERROR || !ssh_is_connected(pump->session))
      return SMPL_ECLOSED;
    pump->abuse |= window_ignored(pump->session);
    if (rc == SSH_AGAIN)
      break;
  }
  return ssh_get_status(pump->session) & (SSH_CLOSED | SSH_CLOSED_ERROR) ? SMPL_ECLOSED : SMPL_OK;
}

int ssh_pump_turn(ssh_pump_t *pump, struct pollfd *extra, size_t extra_count, int timeout_ms)
{
  if (extra_count > SSH_PUMP_CHANNELS_MAX)
    return SMPL_ELIMIT;
  if (!ssh_is_connected(pump->session))
    return SMPL_ECLOSED;
  int err = fill_polls(pump, extra, extra_count, &timeout_ms);
  if (err)
    return err;
  size_t count = pump->count; /* callbacks may add channels: those have no poll entry yet */
  int ready = ssh_wire_wait(pump->wire, pump->polls, 1 + extra_count + count, timeout_ms);
  if (ready < 0 && errno != EINTR)
    return SMPL_ESYS;
  if (ready < 0)
    memset(pump->polls, 0, (1 + extra_count + count) * sizeof *pump->polls);
  for (size_t i = 0; i < extra_count; i++)
    extra[i].revents = pump->polls[1 + i].revents;
  if (pump->polls[0].revents)
    err = dispatch(pump);
  if (err == SMPL_OK && unsent_too_much(pump))
    pump->abuse = true;
  for (size_t i = 0; i < count && err == SMPL_OK && !pump->abuse; i++) {
    size_t at = (pump->first + i) % count;
    err = step_channel(pump->channels[at], pump->polls[1 + extra_count + at].revents);
  }
  pump->first++;
  pump->received_by = pump->received.in_bytes;
  if (pump->abuse)
    return SMPL_EPROTO;
  if (err == SMPL_OK && !ssh_is_connected(pump->session))
    err = SMPL_ECLOSED;
  if (err == SMPL_OK)
    sweep(pump);
  ssh_wire_flush(pump->wire);
  return err;
}

void ssh_pump_flush(ssh_pump_t *pump, int timeout_ms)
{
  uint64_t until = clock_mono_ms() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0);
  for (;;) {
    ssh_wire_flush(pump->wire);
    /* The flag that libssh waits for POLLOUT stays up after its last send: only then does the next packet go
     * out at once, and ssh_disconnect closes without waiting. */
    bool waits = ssh_get_poll_flags(pump->session) & SSH_WRITE_PENDING;
    if (!ssh_is_connected(pump->session) || (!waits && !ssh_wire_stuck(pump->wire)))
      return;
    uint64_t now = clock_mono_ms();
    struct pollfd p = {ssh_get_fd(pump->session), POLLOUT, 0};
    if (now >= until || ssh_wire_wait(pump->wire, &p, 1, (int)(until - now)) <= 0)
      return;
    if (waits && ssh_event_dopoll(pump->event, 0) == SSH_ERROR)
      return;
  }
}
