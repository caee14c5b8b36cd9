/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/worker_say.h"

#include <string.h>
#include <unistd.h>

#include "common/base/text.h"

void worker_send_text(worker_t *w, msg_type_t type, reason_t reason, const char *text)
{
  msg_t m;
  msg_init(&m, type, 0, worker_pair_session(w->pair));
  m.text.reason = reason;
  text_escape(m.text.text, sizeof m.text.text, text, strnlen(text, sizeof m.text.text));
  worker_pair_send(w->pair, &m);
}

noreturn void worker_end(worker_t *w, reason_t reason, const char *text)
{
  const char *words = text && text[0] ? text : reason_text(reason);
  if (w->pump && ssh_is_connected(w->session)) {
    ssh_session_set_disconnect_message(w->session, words);
    ssh_pump_flush(w->pump, WORKER_LAST_WORDS_MS);
  }
  ssh_pump_free(w->pump); /* the channels' last counts go to the broker before the end does */
  w->pump = NULL;
  worker_send_text(w, MSG_BYE, reason, words);
  if (ssh_is_connected(w->session))
    ssh_disconnect(w->session);
  _exit(WORKER_EXIT_OK);
}

void worker_note(worker_t *w, reason_t reason, const char *what)
{
  if (++w->notes > WORKER_NOTES_MAX)
    worker_end(w, REASON_PROTOCOL_ERROR, "too many requests for what this bastion does not offer");
  worker_send_text(w, MSG_NOTE, reason, what);
}

void worker_refuse(ssh_message message)
{
  ssh_message_reply_default(message);
  ssh_message_free(message);
}

bool worker_full(const worker_t *w)
{
  return ssh_pump_count(w->pump) + w->open_count >= w->limits.channels_max;
}

/* A busy client is no enemy: its next connection may be let in again. */
void worker_note_full(worker_t *w, const char *what)
{
  if (w->full_notes++ < WORKER_FULL_NOTES_MAX)
    worker_note(w, REASON_TOO_MANY_CHANNELS, what);
}
