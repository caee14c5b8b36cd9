/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/ask.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/ssh/ssh_pump.h"

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
  talk_t *talk;
  ask_state_t state;
  bool was_ready;
  ask_event_cb on_event;
  void *ctx;
  question_t *first;
  unsigned count;
  unsigned sent;
  json_int_t last_id;
};

ask_t *ask_new(talk_t *talk, ask_event_cb on_event, void *ctx)
{
  ask_t *ask = calloc(1, sizeof *ask);
  if (ask)
    *ask = (ask_t){.talk = talk, .on_event = on_event, .ctx = ctx};
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

static bool send_line(ask_t *ask, const char *line)
{
  speech_t m;
  return line && strlen(line) <= SSH_PUMP_LINE_MAX &&
         speech_init_bytes(&m, SPEECH_ASK, line, strlen(line)) == SMPL_OK &&
         talk_send(ask->talk, &m, -1) == SMPL_OK;
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
    if (!send_line(ask, line))
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

void ask_found(ask_t *ask, bool there)
{
  if (!there) {
    become_absent(ask);
    return;
  }
  ask->state = ASK_READY;
  ask->was_ready = true;
  send_waiting(ask);
}

void ask_heard(ask_t *ask, const char *line, size_t len)
{
  json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
  if (json_is_object(json) && json_object_get(json, "event"))
    ask->on_event(ask->ctx, json);
  else
    on_answer(ask, json);
  json_decref(json);
  send_waiting(ask);
}

void ask_step(ask_t *ask)
{
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
