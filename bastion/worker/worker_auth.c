/* SPDX-License-Identifier: Apache-2.0 */
#define SSH_SUPPRESS_DEPRECATED
#include "bastion/worker/worker_auth.h"

#include <string.h>

#include "bastion/worker/worker_sign.h"
#include "bastion/worker/worker_say.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "common/ssh/base64.h"

static void answer_first(worker_t *w)
{
  ssh_message_free(w->auth_queue[0].message);
  w->auth_queued--;
  memmove(w->auth_queue, w->auth_queue + 1, w->auth_queued * sizeof *w->auth_queue);
  w->auth_request = 0;
}

/* A signed attempt that did not succeed. */
static void count_failure(worker_t *w)
{
  if (++w->auth_failures > w->limits.auth_failures_max)
    worker_end(w, REASON_AUTH_FAILED, NULL);
}

static void count_probe(worker_t *w)
{
  if (++w->probes > w->limits.probes_max)
    worker_end(w, REASON_AUTH_FAILED,
               "too many keys offered; choose one (ssh -i FILE -o IdentitiesOnly=yes)");
}

static bool kind_accepted(enum ssh_keytypes_e type)
{
  switch (type) {
  case SSH_KEYTYPE_ED25519:
  case SSH_KEYTYPE_ECDSA_P256:
  case SSH_KEYTYPE_ECDSA_P384:
  case SSH_KEYTYPE_ECDSA_P521:
  case SSH_KEYTYPE_RSA:
  case SSH_KEYTYPE_SK_ED25519:
  case SSH_KEYTYPE_SK_ECDSA:
    return true;
  default:
    return false; /* certificates, of which libssh checks nothing, and DSA */
  }
}

/* The public key's blob (RFC 4253 §6.6). libssh gives it as base64. */
static int key_blob(ssh_key key, uint8_t *blob, uint32_t *len)
{
  char *base64 = NULL;
  if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
    return SMPL_EINVAL;
  uint8_t raw[MSG_KEY_MAX + 3];
  size_t n = 0;
  int err = base64_decode(base64, strlen(base64), raw, sizeof raw, &n);
  ssh_string_free_char(base64);
  if (!err && n > MSG_KEY_MAX)
    err = SMPL_EINVAL;
  if (err)
    return err;
  memcpy(blob, raw, n);
  *len = (uint32_t)n;
  return err;
}

/* Such a name is on nobody's file, but the audit shall see it. */
static void put_user(char *dst, const char *user)
{
  size_t len = strlen(user);
  text_escape(dst, MSG_USER_MAX, user, len < MSG_USER_MAX ? len : MSG_USER_MAX - 1);
}

static bool ask_broker(worker_t *w, msg_type_t type, ssh_message message)
{
  msg_t m;
  msg_init(&m, type, worker_pair_number(w->pair), worker_pair_session(w->pair));
  put_user(m.login.user, ssh_message_auth_user(message));
  const char *version = ssh_get_clientbanner(w->session);
  if (version != NULL)
    text_escape(m.login.client_version, sizeof m.login.client_version, version, strlen(version));
  if (key_blob(ssh_message_auth_pubkey(message), m.login.key, &m.login.key_len) != SMPL_OK)
    return false;
  w->auth_request = m.h.request;
  worker_pair_send(w->pair, &m);
  return true;
}

static void note_method(worker_t *w, int method)
{
  if (method == SSH_AUTH_METHOD_PASSWORD)
    worker_note(w, REASON_METHOD_NOT_ACCEPTED, "password");
  else if (method == SSH_AUTH_METHOD_INTERACTIVE)
    worker_note(w, REASON_METHOD_NOT_ACCEPTED, "keyboard-interactive");
  else if (method == SSH_AUTH_METHOD_HOSTBASED)
    worker_note(w, REASON_METHOD_NOT_ACCEPTED, "hostbased");
  else if (method != SSH_AUTH_METHOD_NONE) /* every client starts with "none", to learn the methods */
    worker_note(w, REASON_METHOD_NOT_ACCEPTED, "unknown method");
}

/* Refuses what needs no broker; true when the request waits for its answer. */
static bool begin(worker_t *w, const worker_login_t *login)
{
  ssh_message message = login->message;
  int method = ssh_message_subtype(message);
  if (method != SSH_AUTH_METHOD_PUBLICKEY) {
    note_method(w, method);
    if (method == SSH_AUTH_METHOD_NONE)
      count_probe(w);
    else
      count_failure(w);
    return false;
  }
  bool is_signed = ssh_message_auth_publickey_state(message) != SSH_PUBLICKEY_STATE_NONE;
  if (is_signed && !login->verified) {
    worker_note(w, REASON_BAD_SIGNATURE, ssh_message_auth_user(message));
    count_failure(w);
    return false;
  }
  if (!is_signed)
    count_probe(w);
  if (!kind_accepted(ssh_key_type(ssh_message_auth_pubkey(message)))) {
    worker_note(w, REASON_KEY_NOT_ACCEPTED,
                ssh_key_type_to_char(ssh_key_type(ssh_message_auth_pubkey(message))));
    return false;
  }
  return ask_broker(w, is_signed ? MSG_LOGIN : MSG_PROBE, message);
}

static void work_queue(worker_t *w)
{
  while (w->auth_queued > 0 && w->auth_request == 0 && !w->signed_in) {
    if (begin(w, &w->auth_queue[0]))
      return;
    ssh_message_reply_default(w->auth_queue[0].message);
    answer_first(w);
  }
}

void worker_auth_request(worker_t *w, ssh_message message)
{
  if (w->signed_in) { /* RFC 4252 §5.1: ignored without an answer */
    ssh_message_free(message);
    return;
  }
  if (w->auth_queued == WORKER_AUTH_QUEUE_MAX)
    worker_end(w, REASON_PROTOCOL_ERROR, "too many login requests at once");
  w->auth_queue[w->auth_queued++] = (worker_login_t){message, worker_sign_verdict()};
  work_queue(w);
}

static void welcome(worker_t *w, const msg_t *m, ssh_message message)
{
  if (m->welcome.banner[0]) {
    ssh_string banner = ssh_string_from_char(m->welcome.banner);
    if (banner != NULL)
      ssh_send_issue_banner(w->session, banner);
    ssh_string_free(banner);
  }
  w->signed_in = true;
  ssh_message_auth_reply_success(message, 0);
}

void worker_auth_answer(worker_t *w, const msg_t *m)
{
  if (w->auth_request == 0 || m->h.request != w->auth_request)
    return;
  ssh_message message = w->auth_queue[0].message;
  bool is_signed = ssh_message_auth_publickey_state(message) == SSH_PUBLICKEY_STATE_VALID;
  bool refused = false;
  if (m->h.type == MSG_WELCOME && is_signed)
    welcome(w, m, message);
  else if (m->h.type == MSG_PROBED && m->probed.ok && !is_signed)
    ssh_message_auth_reply_pk_ok_simple(message);
  else {
    ssh_message_reply_default(message);
    refused = is_signed;
  }
  answer_first(w);
  if (refused)
    count_failure(w);
  work_queue(w);
}
