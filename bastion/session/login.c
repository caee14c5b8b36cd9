/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/login.h"

#include <stdio.h>
#include <string.h>

#include "bastion/session/place.h"
#include "bastion/session/record.h"
#include "bastion/session/shares.h"
#include "bastion/session/terms.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

/* What a sound worker asks for only when its client sends more than it may. The end of a session that is
 * ending says it all. */
static void refuse(session_t *s, const char *what)
{
  if (s->state == STATE_ENDING)
    return;
  json_t *r = record_of(s, "refused");
  json_object_set_new(r, "reason", json_string(reason_name(REASON_PROTOCOL_ERROR)));
  json_object_set_new(r, "what", json_string(what));
  s->all->counts.refused++;
  if (record_refusal(s, r, "refused", what, 0, REASON_PROTOCOL_ERROR))
    log_warn("session %s: refused: %s", s->id, what);
}

/* ---- the host key ---- */

/* Lengths of exchange hashes of the key exchanges that are offered. */
static bool hash_length_ok(uint32_t len)
{
  return len == 32 || len == 48 || len == 64;
}

void login_sign(session_t *s, const msg_t *m)
{
  const hostkey_t *key = hostkeys_get(s->worker.keys, m->sign.key);
  if (!hash_length_ok(m->sign.len) || key == NULL) {
    session_misbehaved(s, "asked for a signature of something that is no exchange hash");
    return;
  }
  msg_t reply;
  msg_init(&reply, MSG_SIGNED, m->h.request, s->number);
  /* One signature before the login; after it as many as rekeys need, so that a worker cannot sign for other
   * servers' key exchanges by the thousand. */
  size_t len = 0;
  bool allowed =
      s->state == STATE_KEX ||
      (s->state == STATE_OPEN && rate_take_many(&s->worker.signatures, hostkey_cost(key), SESSION_SIGN_BURST,
                                                SESSION_SIGN_PER_SECOND, clock_mono_ms()));
  if (allowed && hostkey_sign(key, m->sign.digest, m->sign.data, m->sign.len, reply.signed_.signature,
                              &len) == SMPL_OK) {
    reply.signed_.ok = 1;
    reply.signed_.len = (uint32_t)len;
  } else if (!s->login.unsigned_told) {
    s->login.unsigned_told = true;
    refuse(s, "a host signature was not given");
  }
  if (s->state == STATE_KEX) {
    memcpy(s->login.hash, m->sign.data, m->sign.len);
    s->login.hash_len = m->sign.len;
    s->state = STATE_LOGIN;
  }
  session_send(s, &reply, -1);
}

/* ---- the user ---- */

static void record_failure(session_t *s, const char *user, const uint8_t *key, size_t key_len,
                           reason_t reason, bool signed_attempt)
{
  char fingerprint[USERKEY_FINGERPRINT_MAX], name[MSG_USER_MAX * 4];
  text_printable(name, sizeof name, user, strlen(user));
  json_t *r = record_of(s, "login-failed");
  json_object_set_new(r, "user", json_string(name));
  if (key_len > 0)
    json_object_set_new(r, "key", json_string(userkey_fingerprint(key, key_len, fingerprint)));
  json_object_set_new(r, "reason", json_string(reason_name(reason)));
  json_object_set_new(r, "signed", json_boolean(signed_attempt));
  record_refusal(s, r, "login-failed", "", 0, reason);
  s->all->counts.login_failures++;
  s->login.refused_keys++;
}

static bool is_blocked(const session_t *s, const char *user, const uint8_t *key, size_t len)
{
  char fingerprint[USERKEY_FINGERPRINT_MAX];
  return blocks_hold(s->host->blocks, user, userkey_fingerprint(key, len, fingerprint));
}

void login_verify(session_t *s, const msg_t *m, bool late)
{
  msg_t reply;
  msg_init(&reply, MSG_VERIFIED, m->h.request, s->number);
  s->login.verified = false;
  if (late) {
    refuse(s, "a signature after the login");
  } else {
    verify_result_t r =
        verify_login(session_config(s), (cursor_t){s->login.hash, s->login.hash_len}, m->verify.signature,
                     m->verify.signature_len, m->verify.data, m->verify.data_len);
    if (r.reason == REASON_NONE)
      r.reason = verify_usable(r.key, &s->source.ip, clock_wall_ms() / 1000);
    if (r.reason == REASON_NONE && is_blocked(s, r.user, r.blob.data, r.blob.len))
      r.reason =
          REASON_BLOCKED; /* not before: who has no private key of theirs shall not learn who is blocked */
    if (r.reason == REASON_NONE && identity_make(&r, &s->login.proof) == SMPL_OK) {
      s->login.verified = s->login.proven = true;
      reply.verified.ok = 1;
    } else {
      record_failure(s, r.user, r.blob.data, r.blob.len, r.reason, true);
      if (++s->login.failures > SESSION_AUTH_FAILURES_MAX + SESSION_SLACK) {
        session_misbehaved(s, "tries more signatures than it may");
        return;
      }
    }
  }
  session_send(s, &reply, -1);
}

static void send_probed(session_t *s, uint32_t request, reason_t reason)
{
  msg_t reply;
  msg_init(&reply, MSG_PROBED, request, s->number);
  reply.probed.ok = reason == REASON_NONE;
  reply.probed.reason = reason;
  session_send(s, &reply, -1);
}

void login_probe(session_t *s, const msg_t *m, bool late)
{
  if (late)
    refuse(s, "a key offered after the login");
  if (late || m->login.key_len == 0) {
    send_probed(s, m->h.request, REASON_METHOD_NOT_ACCEPTED);
    return;
  }
  if (++s->login.probes > SESSION_PROBES_MAX + SESSION_SLACK) {
    session_misbehaved(s, "probes more keys than it may");
    return;
  }
  const authkey_t *key;
  reason_t reason = verify_known(session_config(s), m->login.user, m->login.key, m->login.key_len, &key);
  if (reason == REASON_NONE)
    reason = verify_usable(key, &s->source.ip, clock_wall_ms() / 1000);
  if (reason != REASON_NONE)
    record_failure(s, m->login.user, m->login.key, m->login.key_len, reason, false);
  send_probed(s, m->h.request, reason);
}

/* The session's end is the record of it. */
static void refuse_login(session_t *s, reason_t reason)
{
  log_info("session %s: login of %s refused: %s", s->id, s->who.user, reason_text(reason));
  s->all->counts.login_failures++;
  session_end(s, reason, NULL);
}

static void welcome(session_t *s)
{
  sessions_t *all = s->all;
  s->state = STATE_OPEN;
  s->times.opened_at = s->times.active_at = clock_mono_ms();
  all->counts.logins++;
  place_leave(s);
  terms_set(s);
  char source[ENDPOINT_TEXT_MAX], idle[32], most[32];
  log_info("session %s: %s signed in from %s with %s", s->id, s->who.user,
           endpoint_format(&s->source, source), s->who.fingerprint);
  msg_t m;
  msg_init(&m, MSG_WELCOME, s->login.request, s->number);
  snprintf(m.welcome.banner, sizeof m.welcome.banner,
           "smplkit bastion: session %s of %s, idle %s, at most %s\r\n", s->id, s->who.user,
           text_format_duration(idle, sizeof idle, s->limits.idle_ms),
           text_format_duration(most, sizeof most, s->limits.session_ms));
  session_send(s, &m, -1);
}

/* The record of the session's start is on the disk, or cannot be. */
static void on_recorded(void *ctx, int err)
{
  session_t *s = ctx;
  s->holds--;
  s->started = err == SMPL_OK;
  if (s->ending.finished) {
    /* It went meanwhile: the start that is now on record gets its end. */
    if (s->started) {
      json_t *r = record_of(s, "session-end");
      json_object_set_new(r, "reason", json_string(reason_name(s->ending.reason)));
      record_append(s, r);
    }
    session_free_if_done(s);
    return;
  }
  if (s->state != STATE_STARTING)
    return;
  if (err)
    session_end(s, REASON_AUDIT_FAILED, NULL);
  else
    welcome(s);
}

static json_t *start_record(const session_t *s)
{
  json_t *r = record_of(s, "session-start");
  json_object_set_new(r, "key", json_string(s->who.fingerprint));
  const authkey_t *key = identity_key(&s->who, session_config(s));
  if (key != NULL && key->comment[0] != '\0')
    json_object_set_new(r, "key_comment", json_string(key->comment));
  json_object_set_new(r, "client", json_string(s->login.client));
  return r;
}

/* A login is two records, as a connection is. */
static reason_t judge_share(const session_t *s)
{
  sessions_t *all = s->all;
  const connection_rate_t *rate = &all->host->world.config->limits.connection_rate;
  if (usage_is_out(all->host->usage, s->who.user))
    return REASON_AUDIT_RESERVE;
  if (usage_take(all->host->usage, s->who.user, rate->connections, rate->burst, clock_mono_ms()))
    return REASON_NONE;
  all->counts.rate_limited++;
  return REASON_CONNECTION_RATE;
}

/* A user whose signature holds: what may have changed since, and whether there is room for him. */
static reason_t judge_login(session_t *s)
{
  sessions_t *all = s->all;
  if (identity_judge(&s->who, session_config(s), &s->source.ip, clock_wall_ms() / 1000) != REASON_NONE)
    return REASON_POLICY_CHANGED; /* reloaded since the signature */
  if (blocks_hold(all->host->blocks, s->who.user, s->who.fingerprint))
    return REASON_BLOCKED; /* since the signature */
  if (!config_is_exempt(all->host->world.config, &s->source.ip) &&
      penalty_left_user(all->host->penalties, s->who.user, clock_mono_ms()) > 0)
    return REASON_TOO_MANY_CRASHES;
  reason_t share = judge_share(s);
  return share != REASON_NONE ? share : shares_judge(s);
}

/* The worker says that the user has signed in. Believed only for what this process verified itself a moment
 * ago. */
void login_request(session_t *s, const msg_t *m)
{
  const msg_login_t *l = &m->login;
  bool proven = s->login.verified && identity_is(&s->login.proof, l->user, l->key, l->key_len);
  s->login.verified = false;
  if (!proven) {
    session_misbehaved(s, "claims a login that no signature proves");
    return;
  }
  s->who = s->login.proof;
  text_printable(s->login.client, sizeof s->login.client, l->client_version, strlen(l->client_version));
  reason_t refused = judge_login(s);
  if (refused != REASON_NONE) {
    refuse_login(s, refused);
    return;
  }
  s->signed_in = true;
  door_leave(s->host->door, &s->login.place);
  s->login.request = m->h.request;
  s->state = STATE_STARTING;
  s->holds++;
  if (record_write(s, start_record(s), false, on_recorded, s)) {
    s->holds--;
    session_end(s, REASON_AUDIT_FAILED, NULL);
  }
}
