/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/session.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* ---- registry ---- */

session_t *session_by_number(const sessions_t *all, uint64_t number)
{
  LIST_EACH(session_t, s, &all->list, link)
    if (s->number == number)
      return s;
  return NULL;
}

void session_link(session_t *s)
{
  list_add_first(&s->all->list, &s->link);
  s->all->count++;
}

void session_unlink(session_t *s)
{
  list_remove(&s->link);
  s->all->count--;
}

void session_free_if_done(session_t *s)
{
  if (!s->ending.finished || s->holds > 0)
    return;
  hostkeys_free(s->worker.keys);
  free(s);
}

int session_send(session_t *s, const msg_t *m, int fd)
{
  if (s->worker.peer == NULL || s->worker.gone || s->ending.cut)
    return SMPL_ECLOSED;
  int err = peer_send(s->worker.peer, m, fd);
  if (err == SMPL_ELIMIT)
    session_misbehaved(s, "does not read what it asked for");
  return err;
}

/* ---- the end ---- */

void session_set_reason(session_t *s, reason_t reason, const char *text)
{
  s->ending.reason = reason;
  text_copy(s->ending.text, sizeof s->ending.text,
            text != NULL && text[0] != '\0' ? text : reason_text(reason));
}

/* The one way into STATE_ENDING. */
void session_mark_ending(session_t *s, uint64_t patience_ms)
{
  if (s->ending.finished)
    return;
  if (s->state != STATE_ENDING) {
    s->state = STATE_ENDING;
    s->ending.by = clock_mono_ms() + patience_ms;
    door_leave(s->host->door, &s->login.place);
    s->all->on_marked(s);
  }
  s->host->sweep_soon(s->host->ctx);
}

void session_end(session_t *s, reason_t reason, const char *text)
{
  if (s->state == STATE_ENDING || s->ending.finished)
    return;
  session_set_reason(s, reason, text);
  session_mark_ending(s, SESSION_END_MS);
}

void session_cut(session_t *s)
{
  s->ending.cut = true;
  session_mark_ending(s, 0);
}

void session_misbehaved(session_t *s, const char *what)
{
  if (s->ending.finished || s->worker.gone || s->ending.cut)
    return;
  log_error("session %s: its worker (pid %d) broke its contract: %s", s->id, s->worker.pid, what);
  session_set_reason(s, REASON_WORKER_MISBEHAVED, what);
  spawner_distrust(s->host->spawner, s->number);
  session_cut(s);
}
