#include "tunnel/tunnel.h"

#include <errno.h>
#include <libssh/callbacks.h>
#include <libssh/server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/reason.h"
#include "common/ssh_pump.h"
#include "common/text.h"
#include "tunnel/ask.h"
#include "tunnel/interrupt.h"
#include "tunnel/listen.h"
#include "tunnel/session.h"
#include "tunnel/system.h"

enum { STEP_MS = 100 }; /* how often time limits are looked at while something is waited for */

/* A forward at work. */
typedef struct route {
  const forward_t *forward;
  listen_sockets_t sockets;
  uint16_t port;                     /* the target's */
  char name[FORWARD_TARGET_MAX];     /* the target's final one, for people */
  char host[FORWARD_TARGET_MAX + 1]; /* what the bastion is asked to connect to */
  uint64_t told_at;                  /* when a refusal was last said */
  char told[256];                    /* which */
} route_t;

/* A channel that the bastion has not answered for. fd -1: the check before ready. */
typedef struct opening {
  struct opening *next;
  route_t *route;
  ssh_channel channel;
  int fd;
  uint64_t until;
} opening_t;

typedef struct tunnel {
  const options_t *options;
  const say_t *say;
  route_t routes[FORWARDS_MAX];
  size_t route_count;
  ssh_session session;
  int fd;
  ssh_pump_t *pump;
  ask_t *ask;
  opening_t *openings;
  uint64_t accept_at; /* not before: descriptors had run out */
  size_t connections; /* those being opened included */
  size_t asking;      /* questions and checks that stand between us and ready */
  bool ready;
  bool stopped; /* by a signal */
  bool over;    /* the session is gone */
  uint64_t seen_bytes;
  uint64_t seen_at;
  uint64_t asked_alive_at;
  exit_code_t code;
  char reason[64];
  char last_event[DIAG_TEXT_MAX / 2]; /* the bastion's announcement of the end */
  diag_t diag;
} tunnel_t;

static void fail(tunnel_t *t, exit_code_t code, const char *reason, const char *text)
{
  if (t->code)
    return;
  t->code = code;
  if (reason)
    text_copy(t->reason, sizeof t->reason, reason);
  diag_fail(&t->diag, SMPL_ECLOSED, "%s", text);
}

/* ---- refusals ---- */

/* Whether it is the policy that says no, or the target that cannot be reached. */
static exit_code_t code_of(reason_t reason)
{
  switch (reason) {
  case REASON_UNKNOWN_NAME:
  case REASON_NO_ADDRESS:
  case REASON_RESOLVER_FAILED:
  case REASON_CONNECTION_REFUSED:
  case REASON_CONNECT_TIMEOUT:
  case REASON_TARGET_UNREACHABLE:
  case REASON_NO_SERVICE_PORT:
    return EXIT_UNREACHABLE;
  default:
    return EXIT_REFUSED;
  }
}

/* Before ready a refusal ends the program; afterwards it is said, but not again and again. */
static void refused(tunnel_t *t, route_t *route, exit_code_t code, const char *reason, const char *text)
{
  uint64_t now = clock_mono_ms();
  if (!t->ready) {
    char line[DIAG_TEXT_MAX];
    if (strstr(text, route->forward->target)) /* the bastion's own words name the target */
      snprintf(line, sizeof line, "%s", text);
    else if (route->port)
      snprintf(line, sizeof line, "%s:%u: %s", route->name, route->port, text);
    else
      snprintf(line, sizeof line, "%s: %s", route->name, text);
    fail(t, code, reason, line);
    return;
  }
  if (strncmp(route->told, text, sizeof route->told - 1) == 0 && now - route->told_at < TUNNEL_REPEAT_MS)
    return;
  snprintf(route->told, sizeof route->told, "%s", text);
  route->told_at = now;
  say_refused(t->say, route->name, route->port, reason, text);
}

typedef struct refusal {
  tunnel_t *tunnel;
  route_t *route;
  exit_code_t code; /* as the SSH server's own answer has it */
  char text[256];
} refusal_t;

static void on_why(void *ctx, const json_t *reply)
{
  refusal_t *r = ctx;
  const json_t *last = json_object_get(reply, "last"); /* why this very target was refused a moment ago */
  const json_t *from = json_is_object(last) ? last : reply;
  const char *name = json_string_value(json_object_get(from, "reason"));
  const char *text = json_string_value(json_object_get(from, "text"));
  reason_t reason = name ? reason_from_name(name) : REASON_NONE;
  if (!r->tunnel->ready)
    r->tunnel->asking--;
  /* Granted, not refused by the broker, and yet not let in: the one refusal that the session makes itself. */
  if (reason == REASON_NONE && json_is_true(json_object_get(reply, "allowed"))) {
    reason = REASON_TOO_MANY_CHANNELS;
    text = NULL;
  }
  if (reason != REASON_NONE)
    refused(r->tunnel, r->route, code_of(reason), reason_name(reason), text ? text : reason_text(reason));
  else
    refused(r->tunnel, r->route, r->code, NULL, r->text);
  free(r);
}

/* libssh has put the server's answer into one text: "... error (CODE) TEXT". RFC 4254 §5.1: 1 is prohibited,
 * 2 connect failed. */
static void read_refusal(ssh_session session, refusal_t *r)
{
  const char *error = ssh_get_error(session);
  const char *code = strstr(error, "error (");
  const char *text = code ? strchr(code, ')') : NULL;
  r->code = code && code[7] == '1' ? EXIT_REFUSED : EXIT_UNREACHABLE;
  while (text && (*text == ')' || *text == ' '))
    text++;
  if (text && *text)
    snprintf(r->text, sizeof r->text, "%s%s", r->code == EXIT_REFUSED ? "the server does not allow it: " : "",
             text);
  else
    snprintf(r->text, sizeof r->text, "%s",
             r->code == EXIT_REFUSED ? "the server does not allow it" : "the target cannot be reached");
}

static void ask_why(tunnel_t *t, route_t *route)
{
  refusal_t *r = calloc(1, sizeof *r);
  if (!r)
    return;
  r->tunnel = t;
  r->route = route;
  read_refusal(t->session, r);
  if (!t->ready)
    t->asking++;
  json_t *body = json_pack("{s:s, s:s, s:i}", "cmd", "why", "target", route->host, "port", (int)route->port);
  if (ask_question(t->ask, body, on_why, r) != SMPL_OK)
    on_why(r, NULL);
}

/* ---- connections ---- */

/* Whoever connected learns at once that it leads nowhere. */
static void reset(int fd)
{
  struct linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
}

static void on_connection_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end,
                              const ssh_pump_bytes_t *bytes)
{
  (void)ch;
  (void)end;
  (void)bytes;
  tunnel_t *t = ctx;
  t->connections--;
}

static void start_opening(tunnel_t *t, route_t *route, int fd)
{
  opening_t *o = calloc(1, sizeof *o);
  ssh_channel channel = o ? ssh_channel_new(t->session) : NULL;
  if (!channel) {
    free(o);
    if (fd >= 0)
      reset(fd);
    return;
  }
  *o = (opening_t){t->openings, route, channel, fd, clock_mono_ms() + TUNNEL_OPEN_MS};
  t->openings = o;
  t->connections++;
}

/* SSH_AGAIN while the bastion has not answered. */
static int open_channel(const opening_t *o)
{
  struct sockaddr_storage sa;
  socklen_t len = sizeof sa;
  endpoint_t from = {0};
  char text[IP_TEXT_MAX] = "127.0.0.1";
  if (o->fd >= 0 && getpeername(o->fd, (struct sockaddr *)&sa, &len) == 0 &&
      endpoint_from_sockaddr((struct sockaddr *)&sa, &from) == SMPL_OK)
    ip_format(&from.ip, text);
  return ssh_channel_open_forward(o->channel, o->route->host, o->route->port, text, from.port);
}

static void opened(tunnel_t *t, opening_t *o)
{
  if (o->fd >= 0 && ssh_pump_add(t->pump, o->channel, o->fd, on_connection_end, t, NULL) == SMPL_OK)
    return;
  t->connections--;
  if (o->fd >= 0)
    reset(o->fd);
  else
    t->asking--; /* the check before ready: it can be reached */
  ssh_channel_close(o->channel);
  ssh_channel_free(o->channel);
}

static void not_opened(tunnel_t *t, opening_t *o, bool in_time)
{
  t->connections--;
  if (o->fd >= 0)
    reset(o->fd);
  else
    t->asking--;
  if (!ssh_is_connected(t->session))
    return;
  if (in_time)
    ask_why(t, o->route);
  else
    refused(t, o->route, EXIT_UNREACHABLE, reason_name(REASON_CONNECT_TIMEOUT),
            "the bastion does not answer in time");
  ssh_channel_free(o->channel);
}

static void step_openings(tunnel_t *t)
{
  uint64_t now = clock_mono_ms();
  opening_t **at = &t->openings;
  while (*at) {
    opening_t *o = *at;
    int rc = open_channel(o);
    if (rc == SSH_AGAIN && now < o->until) {
      at = &o->next;
      continue;
    }
    *at = o->next;
    if (rc == SSH_OK)
      opened(t, o);
    else
      not_opened(t, o, rc != SSH_AGAIN);
    free(o);
  }
}

static void accept_all(tunnel_t *t, route_t *route, int listener)
{
  while (t->connections < TUNNEL_CONNECTIONS_MAX) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
      t->accept_at = clock_mono_ms() + STEP_MS; /* it would be readable for ever */
    if (fd < 0)
      return;
    ssh_pump_prepare_socket(fd, 0);
    start_opening(t, route, fd);
  }
}

/* ---- the loop ---- */

/* What the server asks of a client is refused; its requests must not pile up. */
static void refuse_requests(void *ctx)
{
  tunnel_t *t = ctx;
  ssh_message message;
  while ((message = ssh_message_get(t->session))) {
    ssh_message_reply_default(message);
    ssh_message_free(message);
  }
}

static void session_over(tunnel_t *t)
{
  t->over = true;
  const char *words = session_last_words(t->session);
  char text[DIAG_TEXT_MAX * 2];
  if (words[0] || t->last_event[0]) {
    snprintf(text, sizeof text, "the bastion ended the session: %s", words[0] ? words : t->last_event);
    fail(t, EXIT_ENDED_BY_BASTION, NULL, text); /* the reason stands if it was announced */
  } else {
    snprintf(text, sizeof text, "the connection to the bastion broke: %s", ssh_get_error(t->session));
    fail(t, EXIT_NO_BASTION, reason_name(REASON_CLIENT_VANISHED), text);
  }
}

/* Any byte from the bastion is a sign of life; without one it is asked for one, and given up after a while.
 */
static void watch_path(tunnel_t *t)
{
  uint64_t now = clock_mono_ms();
  if (ssh_pump_received(t->pump) != t->seen_bytes) {
    t->seen_bytes = ssh_pump_received(t->pump);
    t->seen_at = now;
    return;
  }
  uint64_t silent = now - t->seen_at;
  if (silent >= TUNNEL_DEAD_MS && t->asked_alive_at > t->seen_at &&
      now - t->asked_alive_at >= TUNNEL_KEEPALIVE_MS) {
    t->over = true;
    fail(t, EXIT_NO_BASTION, reason_name(REASON_CLIENT_VANISHED),
         "the path to the bastion is dead: no sign of life for 15 s");
  } else if (silent >= TUNNEL_KEEPALIVE_MS && now - t->asked_alive_at >= TUNNEL_KEEPALIVE_MS) {
    ssh_send_keepalive(t->session);
    t->asked_alive_at = t->asked_alive_at > t->seen_at ? t->asked_alive_at : now;
  }
}

static int next_wait(const tunnel_t *t)
{
  uint64_t now = clock_mono_ms();
  if (t->openings || ask_state(t->ask) == ASK_OPENING || !t->ready || now < t->accept_at)
    return STEP_MS;
  uint64_t silent = now - t->seen_at;
  return silent < TUNNEL_KEEPALIVE_MS ? (int)(TUNNEL_KEEPALIVE_MS - silent) : TUNNEL_KEEPALIVE_MS / 5;
}

static size_t fill_extra(tunnel_t *t, struct pollfd *extra, route_t **routes)
{
  size_t n = 0;
  extra[n++] = (struct pollfd){interrupt_fd(), POLLIN, 0};
  if (!t->ready || t->connections >= TUNNEL_CONNECTIONS_MAX || clock_mono_ms() < t->accept_at)
    return n;
  for (size_t i = 0; i < t->route_count; i++) {
    for (size_t k = 0; k < t->routes[i].sockets.count; k++) {
      routes[n] = &t->routes[i];
      extra[n++] = (struct pollfd){t->routes[i].sockets.fds[k], POLLIN, 0};
    }
  }
  return n;
}

static void turn(tunnel_t *t)
{
  struct pollfd extra[1 + FORWARDS_MAX * LISTEN_SOCKETS_MAX];
  route_t *routes[1 + FORWARDS_MAX * LISTEN_SOCKETS_MAX];
  size_t count = fill_extra(t, extra, routes);
  int err = ssh_pump_turn(t->pump, extra, count, next_wait(t));
  if (extra[0].revents) {
    t->stopped = true;
    return;
  }
  if (err == SMPL_ECLOSED) {
    session_over(t);
    return;
  }
  if (err) {
    t->over = true;
    fail(t, EXIT_OTHER, NULL,
         err == SMPL_EPROTO ? "the server sends more than its windows allow" : smpl_strerror(err));
    return;
  }
  for (size_t i = 1; i < count; i++) {
    if (extra[i].revents)
      accept_all(t, routes[i], extra[i].fd);
  }
  ask_step(t->ask);
  step_openings(t);
  watch_path(t);
}

static bool going_on(const tunnel_t *t)
{
  return !t->stopped && !t->over && t->code == EXIT_ENDED;
}

/* ---- start ---- */

static void on_event(void *ctx, const json_t *event)
{
  tunnel_t *t = ctx;
  const char *name = json_string_value(json_object_get(event, "event"));
  const char *text = json_string_value(json_object_get(event, "text"));
  const char *reason = json_string_value(json_object_get(event, "reason"));
  if (name && strcmp(name, "ending") == 0) {
    snprintf(t->last_event, sizeof t->last_event, "%s", text ? text : reason ? reason : "");
    snprintf(t->reason, sizeof t->reason, "%s", reason ? reason : "");
  } else if (text) {
    say_note(t->say, "%s", text);
  }
}

static void on_resolved(void *ctx, const json_t *reply)
{
  refusal_t *r = ctx;
  tunnel_t *t = r->tunnel;
  route_t *route = r->route;
  free(r);
  t->asking--;
  if (!reply)
    return; /* a plain SSH server */
  const char *name = json_string_value(json_object_get(reply, "name"));
  json_int_t port = json_integer_value(json_object_get(reply, "port"));
  if (!json_is_true(json_object_get(reply, "ok"))) {
    const char *reason = json_string_value(json_object_get(reply, "reason"));
    const char *text = json_string_value(json_object_get(reply, "text"));
    reason_t known = reason ? reason_from_name(reason) : REASON_NONE;
    refused(t, route, code_of(known), reason, text ? text : reason_text(known));
    return;
  }
  const char *host = json_string_value(json_object_get(reply, "host"));
  if (name && strlen(name) < sizeof route->name)
    snprintf(route->name, sizeof route->name, "%s", name);
  if (host && host[0] && strlen(host) < sizeof route->host)
    snprintf(route->host, sizeof route->host, "%s", host);
  if (!route->port && port > 0 && port <= UINT16_MAX)
    route->port = (uint16_t)port;
}

static void resolve_all(tunnel_t *t)
{
  for (size_t i = 0; i < t->route_count; i++) {
    refusal_t *r = calloc(1, sizeof *r);
    if (!r)
      continue;
    *r = (refusal_t){.tunnel = t, .route = &t->routes[i]};
    json_t *body = json_pack("{s:s, s:s}", "cmd", "resolve", "target", t->routes[i].forward->target);
    if (body && t->routes[i].port)
      json_object_set_new(body, "port", json_integer(t->routes[i].port));
    t->asking++;
    if (ask_question(t->ask, body, on_resolved, r) != SMPL_OK)
      on_resolved(r, NULL);
  }
  while (t->asking > 0 && going_on(t))
    turn(t);
  for (size_t i = 0; i < t->route_count && going_on(t); i++) {
    char text[DIAG_TEXT_MAX];
    const char *target = t->routes[i].forward->target;
    if (t->routes[i].port)
      continue;
    snprintf(text, sizeof text,
             ask_state(t->ask) == ASK_READY
                 ? "the bastion does not know the port of %s: say it, as in %u:%s:PORT"
                 : "the server is no smplkit bastion and cannot be asked for the port of %s: say it, as in "
                   "%u:%s:PORT",
             target, t->routes[i].sockets.port, target);
    fail(t, ask_state(t->ask) == ASK_READY ? EXIT_UNREACHABLE : EXIT_USAGE,
         reason_name(REASON_NO_SERVICE_PORT), text);
  }
}

static void check_all(tunnel_t *t)
{
  for (size_t i = 0; i < t->route_count && going_on(t); i++) {
    t->asking++;
    start_opening(t, &t->routes[i], -1);
  }
  step_openings(t);
  while (t->asking > 0 && going_on(t))
    turn(t);
}

static void say_all_ready(tunnel_t *t)
{
  char bastion[OPTIONS_USER_MAX + OPTIONS_HOST_MAX + 16];
  bool v6 = strchr(t->options->host, ':') != NULL;
  snprintf(bastion, sizeof bastion, "%s@%s%s%s:%u", t->options->user, v6 ? "[" : "", t->options->host,
           v6 ? "]" : "", t->options->port);
  for (size_t i = 0; i < t->route_count; i++) {
    const route_t *r = &t->routes[i];
    say_ready(t->say, &(say_ready_t){r->forward->bind_given ? &r->forward->bind : NULL, r->sockets.port,
                                     r->name, r->port, bastion});
  }
}

static bool bind_all(tunnel_t *t)
{
  for (size_t i = 0; i < t->options->forward_count; i++) {
    route_t *r = &t->routes[t->route_count];
    r->forward = &t->options->forwards[i];
    r->port = r->forward->target_port;
    snprintf(r->name, sizeof r->name, "%s", r->forward->target);
    snprintf(r->host, sizeof r->host, "%s", r->forward->target);
    if (listen_open(r->forward, &r->sockets, &t->diag) != SMPL_OK) {
      t->code = EXIT_CANNOT_BIND;
      return false;
    }
    t->route_count++;
  }
  return true;
}

static bool start_session(tunnel_t *t)
{
  t->code = session_open(t->options, t->say, &t->session, &t->fd, &t->diag);
  if (t->code)
    return false;
  t->seen_at = clock_mono_ms();
  if (ssh_pump_new(t->session, &t->pump) == SMPL_OK)
    t->ask = ask_new(t->session, t->pump, on_event, t);
  if (!t->ask) {
    fail(t, EXIT_OTHER, NULL, "out of memory");
    return false;
  }
  ssh_pump_before_sweep(t->pump, refuse_requests, t);
  ask_step(t->ask); /* sends the first request now */
  return true;
}

/* ---- end ---- */

static void close_all(tunnel_t *t)
{
  for (size_t i = 0; i < t->route_count; i++)
    listen_close(&t->routes[i].sockets); /* first: the ports are free at once */
  while (t->openings) {
    opening_t *o = t->openings;
    t->openings = o->next;
    if (o->fd >= 0)
      reset(o->fd);
    free(o);
  }
  if (t->pump && ssh_is_connected(t->session))
    ssh_pump_flush(t->pump, STEP_MS);
  ssh_pump_free(t->pump);
  ask_free(t->ask);
  if (t->session && ssh_is_connected(t->session))
    ssh_disconnect(t->session);
  ssh_free(t->session);
  if (t->fd >= 0)
    close(t->fd);
}

exit_code_t tunnel_run(const options_t *options, const say_t *say)
{
  tunnel_t *t = calloc(1, sizeof *t);
  if (!t)
    return EXIT_OTHER;
  t->options = options;
  t->say = say;
  t->fd = -1;
  system_raise_limits();
  if (bind_all(t) && start_session(t)) {
    resolve_all(t);
    if (going_on(t))
      check_all(t);
    if (going_on(t)) {
      t->ready = true;
      say_all_ready(t);
    }
    while (going_on(t))
      turn(t);
  }
  exit_code_t code = t->code;
  if (t->stopped)
    code = EXIT_ENDED;
  close_all(t);
  say_end(say, code, t->reason, t->diag.text);
  free(t);
  return code;
}
