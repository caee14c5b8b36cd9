/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/ask.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"

typedef struct question {
  struct question *next;
  json_t *body;
  json_int_t id;
  bool sent;
  uint64_t until;
  ask_answer_cb cb;
  void *ctx;
} question_t;

struct ask {
  ssh_session session;
  ssh_pump_t *pump;
  ask_state_t state;
  bool opened; /* the channel, not yet the subsystem */
  bool was_ready;
  ssh_channel channel;
  ssh_pump_channel_t *lines;
  ask_event_cb on_event;
  void *ctx;
  question_t *first;
  unsigned count;
  unsigned sent;
  json_int_t last_id;
  uint64_t until; /* for the channel to open */
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

/* Takes q out of the list and frees it. */
static void drop(ask_t *ask, question_t *q)
{
  question_t **at = &ask->first;
  while (*at != q)
    at = &(*at)->next;
  *at = q->next;
  ask->count--;
  ask->sent -= q->sent;
  json_decref(q->body);
  free(q);
}

static void answer(ask_t *ask, question_t *q, const json_t *reply)
{
  ask_answer_cb cb = q->cb;
  void *ctx = q->ctx;
  drop(ask, q);
  cb(ctx, reply);
}

void ask_free(ask_t *ask)
{
  if (!ask)
    return;
  while (ask->first)
    answer(ask, ask->first, NULL);
  free(ask);
}

/* The answer that a question with this id waits for. */
static void on_answer(ask_t *ask, const json_t *reply)
{
  json_int_t id = json_integer_value(json_object_get(reply, "id"));
  for (question_t *q = ask->first; q; q = q->next) {
    if (q->sent && q->id == id) {
      answer(ask, q, reply);
      return;
    }
  }
}

static void send_waiting(ask_t *ask)
{
  for (question_t *q = ask->first; q && ask->state == ASK_READY && ask->sent < ASK_SENT_MAX; q = q->next) {
    if (q->sent)
      continue;
    char *line = json_dumps(q->body, JSON_COMPACT);
    q->sent = true;
    q->until = clock_mono_ms() + ASK_ANSWER_MS;
    ask->sent++;
    if (!line || ssh_pump_send_line(ask->lines, line, strlen(line)) != SMPL_OK)
      q->until = 0; /* the next step answers it */
    free(line);
  }
}

static void become_absent(ask_t *ask)
{
  ask->state = ASK_ABSENT;
  while (ask->first)
    answer(ask, ask->first, NULL);
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
  else
    on_answer(ask, json);
  json_decref(json);
  send_waiting(ask);
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
  if (rc != SSH_OK ||
      ssh_pump_add_lines(ask->pump, ask->channel, on_line, on_end, ask, &ask->lines) != SMPL_OK) {
    give_up_channel(ask);
    return;
  }
  ask->state = ASK_READY;
  ask->was_ready = true;
  send_waiting(ask);
}

void ask_step(ask_t *ask)
{
  if (ask->state == ASK_OPENING)
    open_step(ask);
  uint64_t now = clock_mono_ms();
  for (question_t *q = ask->first; q; q = q->next) {
    if (q->sent && now >= q->until) {
      answer(ask, q, NULL);
      return; /* the list may have changed; the others at the next step */
    }
  }
}

ask_state_t ask_state(const ask_t *ask)
{
  return ask->state;
}

bool ask_is_bastion(const ask_t *ask)
{
  return ask->was_ready;
}

bool ask_busy(const ask_t *ask)
{
  return ask->state == ASK_OPENING || ask->count > 0;
}

int ask_question(ask_t *ask, json_t *body, ask_answer_cb cb, void *ctx)
{
  question_t *q = body && ask->count < ASK_WAITING_MAX ? calloc(1, sizeof *q) : NULL;
  if (!q) {
    json_decref(body);
    return SMPL_ELIMIT;
  }
  *q = (question_t){.body = body, .id = ++ask->last_id, .cb = cb, .ctx = ctx};
  json_object_set_new(body, "id", json_integer(q->id));
  question_t **at = &ask->first;
  while (*at)
    at = &(*at)->next;
  *at = q;
  ask->count++;
  if (ask->state == ASK_ABSENT)
    become_absent(ask);
  else
    send_waiting(ask);
  return SMPL_OK;
}
