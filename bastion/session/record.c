/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/record.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"

json_t *record_of(const session_t *s, const char *event)
{
  char source[ENDPOINT_TEXT_MAX];
  endpoint_format(&s->source, source);
  return json_pack("{s:s, s:s, s:s*, s:s}", "event", event, "session", s->id, "user",
                   s->who.user[0] != '\0' ? s->who.user : NULL, "source", source);
}

int record_write(session_t *s, json_t *record, bool lazy, audit_cb cb, void *ctx)
{
  size_t bytes;
  int err = audit_append_sized(s->host->audit, record, lazy, cb, ctx, &bytes);
  if (s->signed_in)
    usage_wrote(s->host->usage, s->who.user, bytes, clock_mono_ms());
  return err;
}

void record_append(session_t *s, json_t *record)
{
  if (record_write(s, record, false, NULL, NULL))
    log_error("session %s: an audit record is lost", s->id);
}

/* ---- refusals, which others may cause by the million ---- */

bool record_refusal(session_t *s, json_t *record, const char *event, const char *what, uint16_t port,
                    reason_t reason)
{
  uint64_t now = clock_mono_ms();
  sessions_t *all = s->all;
  /* What is left of a disk that is nearly full is not for strangers: all of them are told of together. */
  bool together = usage_is_low(all->host->usage) && !s->signed_in;
  repeats_t *source = together ? &all->repeats.others.repeats : repeats_of(&all->repeats, &s->source.ip, now);
  bool singly = !together && repeats_allow(source, now);
  if (s->signed_in)
    singly = repeats_allow(&s->repeats, now) && singly;
  if (singly || reason == REASON_WORKER_MISBEHAVED) {
    record_append(s, record);
    return true;
  }
  json_decref(record);
  repeats_count(s->signed_in ? &s->repeats : source, event, s->signed_in ? what : "", port, reason, now);
  return false;
}

static void set_repeat(json_t *r, const repeat_t *kind)
{
  json_object_set_new(r, "reason", json_string(reason_name(kind->reason)));
  json_object_set_new(r, "repeated", json_integer((json_int_t)kind->count));
}

static void tell_of_session(void *ctx, const repeat_t *kind)
{
  session_t *s = ctx;
  json_t *r = record_of(s, kind->event);
  if (kind->what[0] != '\0')
    json_object_set_new(r, strcmp(kind->event, "channel-refused") == 0 ? "target" : "what",
                        json_string(kind->what));
  if (kind->port != 0)
    json_object_set_new(r, "port", json_integer(kind->port));
  set_repeat(r, kind);
  record_append(s, r);
  log_info("session %s: %llu more refused: %s", s->id, (unsigned long long)kind->count,
           reason_name(kind->reason));
}

void record_flush(session_t *s)
{
  repeats_flush(&s->repeats, tell_of_session, s);
}

typedef struct tell {
  sessions_t *all;
  const repeats_source_t *source;
} tell_t;

static void tell_of_source(void *ctx, const repeat_t *kind)
{
  const tell_t *tell = ctx;
  char text[SOURCE_TEXT_MAX] = "others";
  ip_net_t network = source_network(&tell->source->source);
  if (tell->source->network)
    ip_net_format(&network, text);
  else if (tell->source->used)
    source_format(&tell->source->source, text);
  json_t *r = json_pack("{s:s, s:s}", "event", kind->event, "source", text);
  set_repeat(r, kind);
  audit_append(tell->all->host->audit, r, NULL, NULL);
  log_info("%llu more refused from %s: %s", (unsigned long long)kind->count, text, reason_name(kind->reason));
}

static void tell_source(sessions_t *all, repeats_source_t *source, uint64_t now, bool everything)
{
  if (everything || repeats_due(&source->repeats, now))
    repeats_flush(&source->repeats, tell_of_source, &(tell_t){all, source});
}

void record_tell_repeats(sessions_t *all, bool everything)
{
  uint64_t now = clock_mono_ms();
  LIST_EACH(session_t, s, &all->list, link)
    if (everything || repeats_due(&s->repeats, now))
      record_flush(s);
  for (size_t i = 0; i < REPEATS_SOURCES; i++)
    tell_source(all, &all->repeats.sources[i], now, everything);
  tell_source(all, &all->repeats.others, now, everything);
}
