/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/channel.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bastion/session/record.h"
#include "bastion/session/shares.h"
#include "bastion/session/terms.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* ---- the list ---- */

static channel_t *by_number(session_t *s, uint32_t number)
{
  LIST_EACH(channel_t, c, &s->traffic.channels, link)
    if (c->number == number)
      return c;
  return NULL;
}

static void unlink_channel(channel_t *c)
{
  session_t *s = c->session;
  list_remove(&c->link);
  s->traffic.count--;
  s->all->channels_held--;
}

/* The worker may have the connection too, and keep its descriptor when it says that it has closed it: what
 * is let go here is dead for everybody. */
static void close_connection(channel_t *c)
{
  if (c->fd < 0)
    return;
  shutdown(c->fd, SHUT_RDWR);
  close(c->fd);
  c->fd = -1;
}

static void free_channel(channel_t *c)
{
  opening_cancel(c->opening);
  close_connection(c);
  free(c);
}

/* ---- records ---- */

static json_t *channel_record(const channel_t *c, const char *event)
{
  json_t *r = record_of(c->session, event);
  json_object_set_new(r, "target", json_string(c->host));
  json_object_set_new(r, "port", json_integer(c->port));
  if (c->name[0] != '\0')
    json_object_set_new(r, "name", json_string(c->name));
  return r;
}

/* host: escaped. */
static void remember_refusal(session_t *s, uint32_t nth, const char *host, uint16_t port, reason_t reason)
{
  refusal_t *r = &s->traffic.refusals[s->traffic.refusal_count++ % SESSION_REFUSALS_MAX];
  r->nth = nth;
  text_copy(r->host, sizeof r->host, host);
  r->port = port;
  r->reason = reason;
  r->at = clock_wall_ms();
}

const refusal_t *channel_last_refusal(const session_t *s, uint32_t nth, const char *host, uint16_t port)
{
  size_t kept =
      s->traffic.refusal_count < SESSION_REFUSALS_MAX ? s->traffic.refusal_count : SESSION_REFUSALS_MAX;
  for (size_t i = 1; i <= kept; i++) {
    const refusal_t *r = &s->traffic.refusals[(s->traffic.refusal_count - i) % SESSION_REFUSALS_MAX];
    if ((nth == 0 || r->nth == nth) && text_equal_nocase(r->host, host) && (port == 0 || r->port == port))
      return r;
  }
  return NULL;
}

static void send_refused(session_t *s, uint32_t request, reason_t reason)
{
  msg_t m;
  msg_init(&m, MSG_REFUSED, request, s->number);
  m.refused.reason = reason;
  session_send(s, &m, -1);
}

/* Tells audit, log and memory, frees the channel, then tells the worker. */
static void refuse(channel_t *c, reason_t reason)
{
  session_t *s = c->session;
  uint32_t request = c->request;
  char address[ENDPOINT_TEXT_MAX];
  json_t *r = channel_record(c, "channel-refused");
  if (c->address.port != 0 && !ip_is_unspecified(&c->address.ip))
    json_object_set_new(r, "address", json_string(endpoint_format(&c->address, address)));
  json_object_set_new(r, "reason", json_string(reason_name(reason)));
  remember_refusal(s, c->nth, c->host, c->port, reason);
  s->all->counts.channel_refusals++;
  if (record_refusal(s, r, "channel-refused", c->host, c->port, reason))
    log_info("session %s: %s refused %s:%u: %s", s->id, s->who.user, c->host, c->port, reason_name(reason));
  unlink_channel(c);
  free_channel(c);
  if (s->state != STATE_ENDING) /* else the worker has its end to think of */
    send_refused(s, request, reason);
}

static void record_end(channel_t *c, reason_t reason)
{
  json_t *r = channel_record(c, "channel-end");
  json_object_set_new(r, "channel", json_integer(c->number));
  json_object_set_new(r, "reason", json_string(reason_name(reason)));
  json_object_set_new(r, "bytes_up", json_integer((json_int_t)c->bytes_up));
  json_object_set_new(r, "bytes_down", json_integer((json_int_t)c->bytes_down));
  json_object_set_new(r, "duration_ms", json_integer((json_int_t)(clock_mono_ms() - c->opened_at)));
  if (record_write(c->session, r, true, NULL, NULL))
    log_error("session %s: an audit record is lost", c->session->id);
}

/* ---- opening ---- */

/* A connection that is on record and that the worker does not get after all. */
static void take_back(channel_t *c, reason_t reason)
{
  session_t *s = c->session;
  uint32_t request = c->request;
  remember_refusal(s, c->nth, c->host, c->port, reason);
  record_end(c, reason);
  unlink_channel(c);
  free_channel(c);
  if (s->state != STATE_ENDING)
    send_refused(s, request, reason);
}

/* The record of the connection is on the disk, or cannot be. Only now the worker gets the descriptor. */
static void on_recorded(void *ctx, int err)
{
  channel_t *c = ctx;
  session_t *s = c->session;
  s->holds--;
  if (c->orphan) {
    if (!err)
      record_end(c, REASON_SESSION_ENDED);
    free_channel(c);
    session_free_if_done(s);
    return;
  }
  if (err) {
    refuse(c, REASON_AUDIT_FAILED);
    session_end(s, REASON_AUDIT_FAILED, NULL);
    return;
  }
  if (s->state != STATE_OPEN) {
    take_back(c, REASON_SESSION_ENDED);
    return;
  }
  c->state = CHANNEL_LIVE;
  s->traffic.opened++;
  s->all->counts.channels++;
  terms_set(s);
  msg_t m;
  msg_init(&m, MSG_OPENED, c->request, s->number);
  m.opened.channel = c->number;
  int sent = session_send(s, &m, c->fd);
  if (sent && sent != SMPL_ECLOSED && s->state == STATE_OPEN) { /* no room for a descriptor on its way */
    log_error("session %s: a connection could not be handed over: %s", s->id, smpl_strerror(sent));
    take_back(c, REASON_TARGET_UNREACHABLE);
  }
}

/* By which grant, and until when. */
static reason_t judge(channel_t *c)
{
  const session_t *s = c->session;
  const config_t *config = session_config(s);
  grant_decision_t d = finder_judge_address(config, s->who.user, c->is_ip, c->name, &c->address);
  c->grant = d.grant;
  c->hours_end = finder_granted_until(config, s->who.user, c->is_ip, c->name, &c->address);
  return d.reason;
}

static bool uses_grant(const session_t *s, size_t grant)
{
  LIST_EACH(const channel_t, c, &s->traffic.channels, link)
    if (c->state != CHANNEL_OPENING && c->grant == grant)
      return true;
  return false;
}

/* The list has the newest first. */
static const session_t *older(const session_t *s)
{
  return LIST_NEXT(s, &s->all->list, const session_t, link);
}

/* Whether sessions of the user other than this one, from `first` in the list on, are as many as the grant
 * allows. first may be NULL: none. */
static bool grant_is_full(const session_t *s, size_t grant, const session_t *first)
{
  uint64_t most = session_config(s)->grants[grant].max_sessions;
  uint64_t others = 0;
  for (const session_t *o = first; most > 0 && o != NULL; o = older(o))
    others +=
        o != s && o->state == STATE_OPEN && strcmp(o->who.user, s->who.user) == 0 && uses_grant(o, grant);
  return most > 0 && others >= most;
}

bool channel_over_limit(const session_t *s)
{
  LIST_EACH(const channel_t, c, &s->traffic.channels, link)
    if (c->state != CHANNEL_OPENING && grant_is_full(s, c->grant, older(s)))
      return true;
  return false;
}

static json_t *open_record(const channel_t *c)
{
  char address[ENDPOINT_TEXT_MAX];
  const config_t *config = session_config(c->session);
  grant_decision_t d = finder_judge_address(config, c->session->who.user, c->is_ip, c->name, &c->address);
  json_t *r = channel_record(c, "channel-open");
  json_object_set_new(r, "channel", json_integer(c->number));
  json_object_set_new(r, "address", json_string(endpoint_format(&c->address, address)));
  if (d.reason == REASON_NONE)
    json_object_set_new(r, "grant", json_string(config_target_text(config, &d)));
  json_object_set_new(r, "originator", json_string(c->originator));
  return r;
}

static void on_opening(void *ctx, const opening_result_t *result)
{
  channel_t *c = ctx;
  session_t *s = c->session;
  c->opening = NULL;
  c->is_ip = result->is_ip;
  c->address = result->address;
  c->fd = result->fd;
  memcpy(c->name, result->name, sizeof c->name);
  if (result->reason != REASON_NONE || s->state != STATE_OPEN) {
    refuse(c, result->reason != REASON_NONE ? result->reason : REASON_SESSION_ENDED);
    return;
  }
  reason_t judged = judge(c);
  if (judged == REASON_NONE && grant_is_full(s, c->grant, LIST_FIRST(&s->all->list, const session_t, link)))
    judged = REASON_TOO_MANY_SESSIONS;
  if (judged != REASON_NONE) {
    refuse(c, judged);
    return;
  }
  c->opened_at = clock_mono_ms();
  c->state = CHANNEL_RECORDING;
  s->holds++;
  if (record_write(s, open_record(c), false, on_recorded, c)) {
    s->holds--;
    refuse(c, REASON_AUDIT_FAILED);
    session_end(s, REASON_AUDIT_FAILED, NULL);
  }
}

static channel_t *new_channel(session_t *s, const msg_t *m)
{
  channel_t *c = calloc(1, sizeof *c);
  if (c == NULL)
    return NULL;
  c->session = s;
  c->fd = -1;
  c->number = ++s->traffic.number;
  c->request = m->h.request;
  c->nth = m->open.nth;
  c->port = (uint16_t)m->open.port;
  text_escape(c->host, sizeof c->host, m->open.host, strlen(m->open.host));
  text_printable(c->originator, sizeof c->originator, m->open.originator, strlen(m->open.originator));
  list_add_first(&s->traffic.channels, &c->link);
  s->traffic.count++;
  s->all->channels_held++;
  return c;
}

/* What the worker has refused without asking is known here for the client's question why alone; its notes
 * are the audit's. */
static void turned_away(session_t *s, const msg_open_t *m)
{
  char host[MSG_HOST_MAX];
  text_escape(host, sizeof host, m->host, strlen(m->host));
  remember_refusal(s, m->nth, host, (uint16_t)m->port, (reason_t)m->turned_away);
}

void channel_open(session_t *s, const msg_t *m, bool refused)
{
  if (m->open.turned_away) {
    turned_away(s, &m->open);
    return;
  }
  bool may_open = shares_may_open(s);
  channel_t *c = refused ? NULL : new_channel(s, m);
  if (c == NULL) {
    send_refused(s, m->h.request, REASON_SESSION_ENDED);
    return;
  }
  if (s->all->stopping) {
    refuse(c, REASON_SHUTDOWN);
    return;
  }
  if (s->traffic.count > session_config(s)->limits.channels || !may_open) {
    refuse(c, REASON_TOO_MANY_CHANNELS);
    return;
  }
  const connection_rate_t *rate = &session_config(s)->limits.connection_rate;
  if (!usage_take(s->host->usage, s->who.user, rate->connections, rate->burst, clock_mono_ms())) {
    s->all->counts.rate_limited++;
    refuse(c, REASON_CONNECTION_RATE);
    return;
  }
  opening_t *opening = NULL;
  /* The callback may run, and free c, before this returns: then opening is NULL or no longer ours. */
  uint32_t number = c->number;
  opening_start(&s->host->world, s->who.user, m->open.host, c->port, on_opening, c, &opening);
  channel_t *still = by_number(s, number);
  if (still != NULL && still->state == CHANNEL_OPENING)
    still->opening = opening;
}

/* ---- traffic and end ---- */

/* Counts only grow; a worker that says otherwise is not believed. */
static bool take_bytes(session_t *s, channel_t *c, const msg_traffic_t *t)
{
  if (t->bytes_up < c->bytes_up || t->bytes_down < c->bytes_down) {
    session_misbehaved(s, "counts backwards");
    return false;
  }
  uint64_t up = t->bytes_up - c->bytes_up;
  uint64_t down = t->bytes_down - c->bytes_down;
  if (up > SESSION_BYTES_MAX - s->traffic.bytes_up || down > SESSION_BYTES_MAX - s->traffic.bytes_down) {
    session_misbehaved(s, "counts more bytes than there can be");
    return false;
  }
  c->bytes_up = t->bytes_up;
  c->bytes_down = t->bytes_down;
  s->traffic.bytes_up += up;
  s->traffic.bytes_down += down;
  s->all->counts.bytes_up += up;
  s->all->counts.bytes_down += down;
  if (up > 0 || down > 0)
    s->times.active_at = clock_mono_ms();
  return true;
}

static channel_t *live_channel(session_t *s, uint32_t number)
{
  channel_t *c = by_number(s, number);
  if (c != NULL && c->state == CHANNEL_LIVE)
    return c;
  session_misbehaved(s, "speaks of a connection that it does not have");
  return NULL;
}

void channel_traffic(session_t *s, const msg_t *m)
{
  channel_t *c = live_channel(s, m->traffic.channel);
  if (c != NULL)
    take_bytes(s, c, &m->traffic);
}

/* Reasons that are a worker's to give. */
static reason_t reason_of_end(const session_t *s, uint32_t reason)
{
  if (s->state == STATE_ENDING)
    return REASON_SESSION_ENDED;
  switch (reason) {
  case REASON_CHANNEL_CLOSED:
  case REASON_TARGET_RESET:
  case REASON_CLIENT_RESET:
  case REASON_SESSION_ENDED:
    return (reason_t)reason;
  default:
    return REASON_CHANNEL_CLOSED;
  }
}

void channel_end(session_t *s, const msg_t *m)
{
  channel_t *c = live_channel(s, m->traffic.channel);
  if (c == NULL || !take_bytes(s, c, &m->traffic))
    return;
  record_end(c, reason_of_end(s, m->traffic.reason));
  unlink_channel(c);
  free_channel(c);
  terms_set(s);
}

void channel_shut_all(session_t *s)
{
  LIST_EACH(const channel_t, c, &s->traffic.channels, link)
    if (c->fd >= 0)
      shutdown(c->fd, SHUT_RDWR);
}

void channel_give_up_all(session_t *s)
{
  LIST_EACH(channel_t, c, &s->traffic.channels, link)
    if (c->state == CHANNEL_OPENING)
      refuse(c, REASON_SESSION_ENDED);
}

void channel_finish_all(session_t *s)
{
  list_t all;
  list_init(&all);
  list_append(&all, &s->traffic.channels);
  s->all->channels_held -= s->traffic.count;
  s->traffic.count = 0;
  LIST_EACH(channel_t, c, &all, link) {
    list_remove(&c->link);
    if (c->state == CHANNEL_RECORDING) { /* its callback frees it */
      close_connection(c);
      c->orphan = true;
      continue;
    }
    if (c->state == CHANNEL_LIVE)
      record_end(c, REASON_SESSION_ENDED);
    free_channel(c);
  }
}

bool channel_all_granted(session_t *s)
{
  bool all = true;
  LIST_EACH(channel_t, c, &s->traffic.channels, link)
    if (c->state != CHANNEL_OPENING) /* judged when it is connected */
      all = judge(c) == REASON_NONE && all;
  return all;
}
