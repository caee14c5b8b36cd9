/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/login.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tunnel/base/blob.h"
#include "tunnel/speaker/pair.h"
#include "tunnel/speaker/server.h"

/* One call of libssh's that is repeated until the server has answered. */
typedef int (*call_t)(login_t *login, void *arg);

/* Before something is offered: a server that has hung up meanwhile, at a prompt or a token, has said why, and
 * libssh reads it only if it is not made to write first. */
static bool is_over(login_t *l)
{
  if (server_hung_up(l->session))
    server_hear(l->session);
  return !ssh_is_connected(l->session);
}

static speech_result_t result_of(int rc)
{
  switch (rc) {
  case SSH_AUTH_SUCCESS:
    return SPEECH_RESULT_FINE;
  case SSH_AUTH_AGAIN:
    return SPEECH_RESULT_LATE;
  case SSH_AUTH_ERROR:
    return SPEECH_RESULT_FAILED;
  default:
    return SPEECH_RESULT_DENIED;
  }
}

static speech_result_t until_answered(login_t *l, call_t call, void *arg, uint64_t ms)
{
  uint64_t until = clock_mono_ms() + ms;
  int rc;
  if (is_over(l))
    return SPEECH_RESULT_FAILED;
  while ((rc = call(l, arg)) == SSH_AUTH_AGAIN) {
    int waited = server_wait(l->session, until);
    if (waited != SMPL_OK)
      return waited == SMPL_ETIMEOUT ? SPEECH_RESULT_LATE : SPEECH_RESULT_FAILED;
  }
  return result_of(rc);
}

/* Its results have other numbers than those of logins. */
static int request_service(login_t *l, void *arg)
{
  (void)arg;
  int rc = ssh_service_request(l->session, "ssh-userauth");
  return rc == SSH_AGAIN ? SSH_AUTH_AGAIN : rc == SSH_OK ? SSH_AUTH_SUCCESS : SSH_AUTH_ERROR;
}

static int probe(login_t *l, void *key)
{
  return ssh_userauth_try_publickey(l->session, NULL, key);
}

static int offer(login_t *l, void *key)
{
  return ssh_userauth_publickey(l->session, NULL, key);
}

static int offer_agent(login_t *l, void *arg)
{
  (void)arg;
  return ssh_userauth_agent(l->session, NULL);
}

static speech_result_t with_key(login_t *l, call_t call, ssh_key key)
{
  speech_result_t result = key ? until_answered(l, call, key, SESSION_STEP_MS) : SPEECH_RESULT_DENIED;
  ssh_key_free(key);
  return result;
}

/* The hollow key that m has, with the certificate that came before it. */
static ssh_key take_hollow(login_t *l, const speech_bytes_t *m)
{
  char text[HOLLOW_TEXT_MAX];
  ssh_key key = NULL;
  memcpy(text, m->bytes, m->len);
  text[m->len] = '\0';
  if (ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &key) != SSH_OK)
    return NULL;
  if (l->certificate && ssh_pki_copy_cert_to_privkey(l->certificate, key) != SSH_OK) {
    ssh_key_free(key);
    key = NULL;
  }
  ssh_key_free(l->certificate);
  l->certificate = NULL;
  return key;
}

static void answer(login_t *l, speech_t *m, speech_result_t result)
{
  speech_init(m, SPEECH_DONE, 0);
  m->done.result = result;
  m->done.connected = ssh_is_connected(l->session) != 0;
  pair_text(m->done.error, sizeof m->done.error, ssh_get_error(l->session));
  char *banner = result == SPEECH_RESULT_FINE ? ssh_get_issue_banner(l->session) : NULL;
  pair_text(m->done.banner, sizeof m->done.banner, banner);
  ssh_string_free_char(banner);
}

bool login_step(login_t *l, speech_t *m, int fd)
{
  speech_result_t result;
  cursor_t bytes = {m->bytes.bytes, m->bytes.len};
  switch ((speech_type_t)m->h.type) {
  case SPEECH_CERTIFICATE:
    ssh_key_free(l->certificate);
    l->certificate = blob_certificate(bytes);
    return false;
  case SPEECH_AGENT:
    if (ssh_set_agent_socket(l->session, fd) != SSH_OK)
      pair_end();
    return false;
  case SPEECH_SERVICE:
    result = until_answered(l, request_service, NULL, SESSION_STEP_MS);
    break;
  case SPEECH_HEAR:
    result = is_over(l) ? SPEECH_RESULT_FAILED : SPEECH_RESULT_FINE;
    break;
  case SPEECH_PROBE:
    result = with_key(l, probe, blob_key(bytes));
    break;
  case SPEECH_OFFER:
    result = with_key(l, offer, take_hollow(l, &m->bytes));
    break;
  case SPEECH_OFFER_AGENT:
    result = until_answered(l, offer_agent, NULL, AGENT_SIGN_MS + SESSION_STEP_MS);
    break;
  default:
    pair_end();
  }
  answer(l, m, result);
  return true;
}
