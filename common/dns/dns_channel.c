/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_channel.h"

#include <ares.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/error.h"
#include "common/base/list.h"

enum { QUERY_MAX = DNS_HEADER_LEN + DNS_NAME_MAX + 4 + 11 };

/* One of c-ares' channels. It knows one server only: choosing among several, and remembering which failed,
 * is not its task. */
typedef struct line {
  dns_channel_t *channel;
  ares_channel ares;
  size_t asked;      /* questions under way */
  bool disappointed; /* a question timed out */
} line_t;

struct dns_channel {
  uv_loop_t *loop;
  uv_timer_t tick;
  line_t udp[DNS_CHANNEL_PORTS];
  line_t tcp;
  char server[ENDPOINT_TEXT_MAX];
  unsigned turn;
  list_t watches;
  size_t asked;     /* questions under way, on all lines */
  unsigned handles; /* uv handles that keep this memory alive */
  bool freeing;
};

/* A descriptor of c-ares under uv_poll. */
typedef struct watch {
  uv_poll_t poll;
  line_t *line;
  ares_socket_t fd;
  list_t link;
} watch_t;

typedef struct question {
  line_t *line;
  dns_channel_cb cb;
  void *ctx;
  uint16_t id;
} question_t;

/* ---- c-ares under libuv ---- */

static void unref(dns_channel_t *c)
{
  if (--c->handles == 0)
    free(c);
}

static void on_watch_closed(uv_handle_t *handle)
{
  watch_t *w = handle->data;
  dns_channel_t *c = w->line->channel;
  free(w);
  unref(c);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
  watch_t *w = poll->data;
  /* On an error let c-ares find out by reading. */
  ares_socket_t rd = status < 0 || (events & UV_READABLE) ? w->fd : ARES_SOCKET_BAD;
  ares_socket_t wr = events & UV_WRITABLE ? w->fd : ARES_SOCKET_BAD;
  ares_process_fd(w->line->ares, rd, wr);
}

static watch_t *find_watch(dns_channel_t *c, ares_socket_t fd)
{
  LIST_EACH(watch_t, w, &c->watches, link)
    if (w->fd == fd)
      return w;
  return NULL;
}

static void forget_watch(watch_t *w)
{
  list_remove(&w->link);
  uv_poll_stop(&w->poll);
  uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static watch_t *new_watch(line_t *line, ares_socket_t fd)
{
  dns_channel_t *c = line->channel;
  watch_t *w = calloc(1, sizeof *w);
  if (w == NULL || uv_poll_init_socket(c->loop, &w->poll, fd) != 0) {
    free(w); /* the question then times out */
    return NULL;
  }
  w->poll.data = w;
  w->line = line;
  w->fd = fd;
  list_add_first(&c->watches, &w->link);
  c->handles++;
  return w;
}

/* c-ares says which of its descriptors to watch; (0, 0) comes before it closes one. */
static void on_socket_state(void *data, ares_socket_t fd, int readable, int writable)
{
  line_t *line = data;
  watch_t *w = find_watch(line->channel, fd);
  if (!readable && !writable) {
    if (w != NULL)
      forget_watch(w);
    return;
  }
  if (w == NULL && (w = new_watch(line, fd)) == NULL)
    return;
  uv_poll_start(&w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_socket_ready);
}

static void on_tick(uv_timer_t *timer)
{
  dns_channel_t *c = timer->data;
  for (size_t i = 0; i < DNS_CHANNEL_PORTS && !c->freeing; i++)
    if (c->udp[i].asked > 0)
      ares_process_fd(c->udp[i].ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  if (!c->freeing && c->tcp.asked > 0)
    ares_process_fd(c->tcp.ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

/* ---- a question ---- */

static size_t build_query(uint8_t *q, uint16_t id, const dns_name_t *name, uint16_t type)
{
  static const uint8_t opt[11] = {0, 0, DNS_TYPE_OPT, DNS_CHANNEL_EDNS >> 8, DNS_CHANNEL_EDNS & 0xff};
  size_t at = DNS_HEADER_LEN;
  memset(q, 0, DNS_HEADER_LEN);
  q[0] = (uint8_t)(id >> 8);
  q[1] = (uint8_t)id;
  q[2] = DNS_FLAG_RD >> 8;
  q[5] = 1;  /* QDCOUNT */
  q[11] = 1; /* ARCOUNT */
  memcpy(q + at, name->wire, name->len);
  at += name->len;
  q[at++] = (uint8_t)(type >> 8);
  q[at++] = (uint8_t)type;
  q[at++] = 0;
  q[at++] = DNS_CLASS_IN;
  memcpy(q + at, opt, sizeof opt);
  return at + sizeof opt;
}

static int error_of(int status)
{
  switch (status) {
  case ARES_SUCCESS:
    return SMPL_OK;
  case ARES_ETIMEOUT:
    return SMPL_ETIMEOUT;
  case ARES_ENOMEM:
    return SMPL_ENOMEM;
  case ARES_EBADRESP:
  case ARES_EFORMERR:
    return SMPL_EPROTO;
  default:
    return SMPL_ECLOSED;
  }
}

static void question_done(question_t *question, int status, const uint8_t *msg, size_t len)
{
  line_t *line = question->line;
  dns_channel_t *c = line->channel;
  dns_channel_cb cb = question->cb;
  void *ctx = question->ctx;
  free(question);
  line->asked--;
  c->asked--;
  if (c->freeing)
    return;
  if (c->asked == 0)
    uv_timer_stop(&c->tick);
  if (status == ARES_ETIMEOUT)
    line->disappointed = true;
  int err = error_of(status);
  cb(ctx, err != SMPL_OK || len > 0 ? err : SMPL_EPROTO, msg, len);
}

#if SMPL_ARES_DNSREC

/* c-ares writes an id of its own and compares it; it hands over what it read, so we have it written again:
 * one reader only, ours, decides what an answer says. */
static void on_answer(void *arg, ares_status_t status, size_t timeouts, const ares_dns_record_t *answer)
{
  uint8_t *msg = NULL;
  size_t len = 0;
  (void)timeouts;
  if (status == ARES_SUCCESS)
    status = answer != NULL ? ares_dns_write(answer, &msg, &len) : ARES_EBADRESP;
  question_done(arg, (int)status, msg, len);
  ares_free_string(msg);
}

static void send_query(question_t *question, const uint8_t *q, size_t len)
{
  ares_dns_record_t *record = NULL;
  ares_status_t status = ares_dns_parse(q, len, 0, &record);
  if (status != ARES_SUCCESS)
    question_done(question, (int)status, NULL, 0);
  else
    ares_send_dnsrec(question->line->ares, record, on_answer, question, NULL);
  ares_dns_record_destroy(record);
}

/* No cache, no probes. Cookies cannot be turned off: see forget_server. */
static int more_options(struct ares_options *o)
{
  o->qcache_max_ttl = 0;
  o->server_failover_opts = (struct ares_server_failover_options){0};
  return ARES_OPT_QUERY_CACHE | ARES_OPT_SERVER_FAILOVER;
}

/* What c-ares remembers of a server that fell silent (cookies above all: it drops the answers of one that
 * has none any more for two minutes) goes with the server. Nothing is under way. */
static void forget_server(line_t *line)
{
  ares_set_servers_ports_csv(line->ares, "127.0.0.1:9");
  ares_set_servers_ports_csv(line->ares, line->channel->server);
}

#else

static void on_answer(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
  question_t *question = arg;
  (void)timeouts;
  if (status == ARES_SUCCESS && msg != NULL && len >= 2 && (uint16_t)(msg[0] << 8 | msg[1]) != question->id)
    status = ARES_EBADRESP;
  question_done(question, status, msg, msg != NULL && len > 0 ? (size_t)len : 0);
}

static void send_query(question_t *question, const uint8_t *q, size_t len)
{
  ares_send(question->line->ares, q, (int)len, on_answer, question);
}

static int more_options(struct ares_options *o)
{
  (void)o;
  return 0;
}

static void forget_server(line_t *line)
{
  (void)line;
}

#endif

static void line_ready(line_t *line)
{
  if (!line->disappointed || line->asked > 0)
    return;
  line->disappointed = false;
  forget_server(line);
}

void dns_channel_ask(dns_channel_t *c, const dns_name_t *name, uint16_t type, bool tcp, dns_channel_cb cb,
                     void *ctx)
{
  uint8_t q[QUERY_MAX];
  question_t *question = calloc(1, sizeof *question);
  if (question == NULL) {
    cb(ctx, SMPL_ENOMEM, NULL, 0);
    return;
  }
  if (getrandom(&question->id, sizeof question->id, 0) != (ssize_t)sizeof question->id)
    question->id = (uint16_t)(uv_hrtime() >> 8);
  question->line = tcp ? &c->tcp : &c->udp[c->turn++ % DNS_CHANNEL_PORTS];
  question->cb = cb;
  question->ctx = ctx;
  line_ready(question->line);
  question->line->asked++;
  if (c->asked++ == 0)
    uv_timer_start(&c->tick, on_tick, DNS_CHANNEL_TICK_MS, DNS_CHANNEL_TICK_MS);
  send_query(question, q, build_query(q, question->id, name, type));
}

/* ---- making and ending ---- */

static void set_source(ares_channel ares, const ip_t *source)
{
  const uint8_t *b = source->b + 12;
  if (ip_is_v4(source))
    ares_set_local_ip4(ares, (unsigned)b[0] << 24 | (unsigned)b[1] << 16 | (unsigned)b[2] << 8 | b[3]);
  else
    ares_set_local_ip6(ares, source->b);
}

static int line_open(line_t *line, dns_channel_t *c, const dns_channel_conf_t *conf, bool tcp)
{
  line->channel = c;
  struct ares_options o = {
      .flags = ARES_FLAG_NOCHECKRESP | ARES_FLAG_IGNTC | ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH |
               ARES_FLAG_NOALIASES | (tcp ? ARES_FLAG_USEVC : 0),
      .timeout = (int)conf->timeout_ms,
      .tries = DNS_CHANNEL_TRIES,
      .ednspsz = DNS_CHANNEL_EDNS,
      .sock_state_cb = on_socket_state,
      .sock_state_cb_data = line,
  };
  int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB;
  mask |= more_options(&o);
  if (ares_init_options(&line->ares, &o, mask) != ARES_SUCCESS) {
    line->ares = NULL;
    return SMPL_ENOMEM;
  }
  if (conf->source != NULL)
    set_source(line->ares, conf->source);
  return ares_set_servers_ports_csv(line->ares, c->server) == ARES_SUCCESS ? SMPL_OK : SMPL_EINVAL;
}

int dns_channel_new(uv_loop_t *loop, const dns_channel_conf_t *conf, dns_channel_t **out)
{
  *out = NULL;
  if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS)
    return SMPL_ENOMEM;
  dns_channel_t *c = calloc(1, sizeof *c);
  if (c == NULL)
    return SMPL_ENOMEM;
  c->loop = loop;
  list_init(&c->watches);
  endpoint_format(&conf->server, c->server);
  uv_timer_init(loop, &c->tick);
  c->tick.data = c;
  c->handles = 1;
  int err = line_open(&c->tcp, c, conf, true);
  for (size_t i = 0; i < DNS_CHANNEL_PORTS && !err; i++)
    err = line_open(&c->udp[i], c, conf, false);
  if (err) {
    dns_channel_free(c);
    return err;
  }
  *out = c;
  return SMPL_OK;
}

static void on_tick_closed(uv_handle_t *handle)
{
  unref(handle->data);
}

static void line_close(line_t *line)
{
  if (line->ares != NULL)
    ares_destroy(line->ares);
  line->ares = NULL;
}

void dns_channel_free(dns_channel_t *c)
{
  if (c == NULL || c->freeing)
    return;
  c->freeing = true;
  for (size_t i = 0; i < DNS_CHANNEL_PORTS; i++)
    line_close(&c->udp[i]);
  line_close(&c->tcp);
  uv_close((uv_handle_t *)&c->tick, on_tick_closed);
}
