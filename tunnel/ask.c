#include "tunnel/ask.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/error.h"

typedef struct question {
  struct question *next;
  json_t *body;
  ask_answer_cb cb;
  void *ctx;
} question_t;

struct ask {
  ssh_session session;
  ssh_pump_t *pump;
  ask_state_t state;
  bool opened; /* the channel, not yet the subsystem */
  ssh_channel channel;
  ssh_pump_channel_t *lines;
  ask_event_cb on_event;
  void *ctx;
  question_t *first; /* the one under way, if sent */
  unsigned count;
  bool sent;
  uint64_t until; /* for the channel, then for the answer under way */
};

ask_t *ask_new(ssh_session session, ssh_pump_t *pump, ask_event_cb on_event, void *ctx)
{
  ask_t *ask = calloc(1, sizeof *ask);
  if (!ask)
    return NULL;
  *ask = (ask_t){.session = session, .pump = pump, .on_event = on_event, .ctx = ctx};
  ask->until = clock_mono_ms() + ASK_ANSWER_MS;
  ask->channel = ssh_channel_new(session);
  if (!ask->channel)
    ask->state = ASK_ABSENT;
  return ask;
}

static void drop_first(ask_t *ask)
{
  question_t *q = ask->first;
  ask->first = q->next;
  ask->count--;
  ask->sent = false;
  json_decref(q->body);
  free(q);
}

void ask_free(ask_t *ask)
{
  if (!ask)
    return;
  while (ask->first)
    drop_first(ask);
  free(ask);
}

static void answer_first(ask_t *ask, const json_t *reply)
{
  question_t *q = ask->first;
  ask_answer_cb cb = q->cb;
  void *ctx = q->ctx;
  drop_first(ask);
  cb(ctx, reply);
}

static void send_first(ask_t *ask)
{
  while (ask->state == ASK_READY && ask->first && !ask->sent) {
    char *line = json_dumps(ask->first->body, JSON_COMPACT);
    int err = line ? ssh_pump_send_line(ask->lines, line, strlen(line)) : SMPL_ENOMEM;
    free(line);
    ask->sent = err == SMPL_OK;
    ask->until = clock_mono_ms() + ASK_ANSWER_MS;
    if (err)
      answer_first(ask, NULL);
  }
}

static void become_absent(ask_t *ask)
{
  ask->state = ASK_ABSENT;
  while (ask->first)
    answer_first(ask, NULL);
}

static void on_line(void *ctx, ssh_pump_channel_t *ch, const char *line, size_t len)
{
  ask_t *ask = ctx;
  if (!line) {
    ssh_pump_drop(ch);
    return;
  }
  json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  if (json_is_object(json) && json_object_get(json, "event"))
    ask->on_event(ask->ctx, json);
  else if (ask->first && ask->sent)
    answer_first(ask, json);
  json_decref(json);
  send_first(ask);
}

static void on_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end, const ssh_pump_bytes_t *bytes)
{
  (void)ch;
  (void)end;
  (void)bytes;
  ask_t *ask = ctx;
  ask->lines = NULL;
  become_absent(ask);
}

static void give_up_channel(ask_t *ask)
{
  if (ask->opened)
    ssh_channel_close(ask->channel);
  ssh_channel_free(ask->channel);
  ask->channel = NULL;
  become_absent(ask);
}

static void open_step(ask_t *ask)
{
  int rc = SSH_OK;
  if (!ask->opened) {
    rc = ssh_channel_open_session(ask->channel);
    ask->opened = rc == SSH_OK;
  }
  if (rc == SSH_OK)
    rc = ssh_channel_request_subsystem(ask->channel, "smpl-control");
  if (rc == SSH_AGAIN && clock_mono_ms() < ask->until)
    return;
  if (rc != SSH_OK || ssh_pump_add_lines(ask->pump, ask->channel, on_line, on_end, ask, &ask->lines) != SMPL_OK) {
    give_up_channel(ask);
    return;
  }
  ask->state = ASK_READY;
  send_first(ask);
}

void ask_step(ask_t *ask)
{
  if (ask->state == ASK_OPENING)
    open_step(ask);
  else if (ask->state == ASK_READY && ask->sent && clock_mono_ms() >= ask->until)
    ssh_pump_drop(ask->lines); /* an answer that comes late would be taken for the next one */
}

ask_state_t ask_state(const ask_t *ask)
{
  return ask->state;
}

int ask_question(ask_t *ask, json_t *body, ask_answer_cb cb, void *ctx)
{
  question_t *q = body && ask->count < ASK_WAITING_MAX ? calloc(1, sizeof *q) : NULL;
  if (!q) {
    json_decref(body);
    return SMPL_ELIMIT;
  }
  *q = (question_t){NULL, body, cb, ctx};
  question_t **at = &ask->first;
  while (*at)
    at = &(*at)->next;
  *at = q;
  ask->count++;
  if (ask->state == ASK_ABSENT)
    become_absent(ask);
  else
    send_first(ask);
  return SMPL_OK;
}
