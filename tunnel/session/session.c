/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/session.h"

#include <libssh/libssh.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "tunnel/base/blob.h"
#include "tunnel/session/auth.h"
#include "tunnel/session/dial.h"
#include "tunnel/session/host_key.h"
#include "tunnel/session/words.h"
#include "tunnel/trust/trust.h"

/* Modern only, but wider than the bastion's own list: plain SSH servers are to work too. AES-128-GCM first:
 * several times as fast as the usual default. libssh has the first row from 0.12 on, and passes over names
 * that it does not know. */
#define KEX                                                                                                  \
  "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,"                         \
  "curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521," \
  "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256"
#define CIPHERS                                                                                              \
  "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,"       \
  "aes128-ctr"
#define MACS "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha2-512"

static const char *or_ours(const char *theirs, const char *ours)
{
  return theirs ? theirs : ours;
}

typedef struct opening {
  const session_how_t *how;
  memory_t *memory;
  session_t *session;
  trust_t *trust;
} opening_t;

/* ---- the key exchange ---- */

static const struct {
  const char *name;
  ssh_config_compared_t theirs;
} lists[SPEECH_LISTS] = {
    [SPEECH_LIST_KEX] = {"KexAlgorithms", SSH_CONFIG_KEX},
    [SPEECH_LIST_CIPHERS] = {"Ciphers", SSH_CONFIG_CIPHERS},
    [SPEECH_LIST_MACS] = {"MACs", SSH_CONFIG_MACS},
    [SPEECH_LIST_HOST_KEYS] = {"HostKeyAlgorithms", SSH_CONFIG_HOST_KEYS},
};

static int put_lists(const ssh_config_t *o, const trust_t *trust, speech_start_t *m, diag_t *diag)
{
  char kinds[1024];
  const char *wanted = o->compared[SSH_CONFIG_HOST_KEYS];
  const char *const chosen[SPEECH_LISTS] = {
      [SPEECH_LIST_KEX] = or_ours(o->compared[SSH_CONFIG_KEX], KEX),
      [SPEECH_LIST_CIPHERS] = or_ours(o->compared[SSH_CONFIG_CIPHERS], CIPHERS),
      [SPEECH_LIST_MACS] = or_ours(o->compared[SSH_CONFIG_MACS], MACS),
      [SPEECH_LIST_HOST_KEYS] =
          wanted ? trust_choose(trust, wanted, kinds, sizeof kinds) : trust_algorithms(trust),
  };
  for (size_t i = 0; i < SPEECH_LISTS; i++) {
    if (text_copy(m->lists[i], sizeof m->lists[i], chosen[i]) != SMPL_OK)
      return diag_fail(diag, SMPL_ELIMIT, "%s of ssh_config are more than %d bytes", lists[i].name,
                       SPEECH_LIST_MAX - 1);
  }
  return SMPL_OK;
}

static int put_start(const opening_t *op, speech_t *m, diag_t *diag)
{
  const ssh_config_t *o = &op->session->config;
  const char *size = o->compared[SSH_CONFIG_RSA_SIZE];
  uint64_t bits = 0;
  speech_init(m, SPEECH_START, 0);
  text_copy(m->start.host, sizeof m->start.host, o->host);
  text_copy(m->start.user, sizeof m->start.user, o->user);
  m->start.port = o->port;
  if (size && text_parse_u64(size, strlen(size), UINT16_MAX + 1, &bits) == SMPL_OK)
    m->start.rsa_bits = (uint32_t)bits;
  m->start.read_ahead = op->how->read_ahead;
  return put_lists(o, op->trust, &m->start, diag);
}

/* The speaker's libssh does not take what it was asked to take. */
static exit_code_t explain_options(const ssh_config_t *o, const trust_t *trust, uint32_t result, diag_t *diag)
{
  speech_t m;
  const char *list = "";
  if (result == SPEECH_RESULT_OPTIONS) {
    diag_fail(diag, SMPL_EINVAL, "libssh does not take %s@%s port %u", o->user, o->host, o->port);
  } else if (result == SPEECH_RESULT_RSA_BITS) {
    diag_fail(diag, SMPL_EINVAL, "RequiredRSASize %s of ssh_config is too small",
              o->compared[SSH_CONFIG_RSA_SIZE]);
  } else {
    size_t which = result - SPEECH_RESULT_LIST;
    const char *theirs = o->compared[lists[which].theirs];
    if (!theirs && put_lists(o, trust, &m.start, diag) == SMPL_OK)
      list = m.start.lists[which];
    diag_fail(diag, SMPL_EINVAL, "%s %s of ssh_config leave nothing that is known here", lists[which].name,
              theirs ? theirs : list);
  }
  return EXIT_OTHER;
}

/* Why there is no session. Before its version the server has only its preface to say it with. */
static void no_session(const ssh_config_t *o, const speech_exchanged_t *m, diag_t *diag)
{
  const char *size = o->compared[SSH_CONFIG_RSA_SIZE];
  const char *error = words_of_error(m->error);
  if (strstr(m->error, "verify server hostkey"))
    diag_fail(diag, SMPL_EPROTO,
              "no SSH session with %s port %u: the signature of its host key is not accepted%s%s", o->host,
              o->port, size ? "; an RSA key must have the bits of RequiredRSASize " : "", size ? size : "");
  else if (m->greeted)
    diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u: %s", o->host, o->port, error);
  else if (m->preface[0])
    diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u; it says: %s", o->host, o->port, m->preface);
  else if (strstr(error, "disconnected"))
    diag_fail(diag, SMPL_ECLOSED, "no SSH session with %s port %u: it closes the connection without a word",
              o->host, o->port);
  else
    diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u: %s", o->host, o->port, error);
}

static exit_code_t explain_exchange(const ssh_config_t *o, const speech_exchanged_t *m, diag_t *diag)
{
  const char *words = words_of_server(m->error);
  if (m->result == SPEECH_RESULT_LATE) {
    diag_fail(diag, SMPL_ETIMEOUT, "%s port %u does not answer as an SSH server within %d s%s%s", o->host,
              o->port, SESSION_STEP_MS / 1000, m->preface[0] ? "; it says: " : "", m->preface);
    return EXIT_NO_BASTION;
  }
  if (!words[0]) {
    no_session(o, m, diag);
    return EXIT_NO_BASTION;
  }
  diag_fail(diag, SMPL_ECLOSED, "the bastion %s port %u closes the connection: %s", o->host, o->port, words);
  return EXIT_ENDED_BY_BASTION;
}

static exit_code_t exchange_keys(const opening_t *op, speech_t *m, diag_t *diag)
{
  session_t *s = op->session;
  if (put_start(op, m, diag) != SMPL_OK)
    return EXIT_OTHER;
  int err = talk_ask(s->talk, m, s->fd, SESSION_STEP_MS + TALK_LATE_MS, NULL, NULL);
  s->may_pass = true;
  if (err) {
    talk_explain(s->talk, err, diag);
    return EXIT_OTHER;
  }
  if (m->exchanged.result == SPEECH_RESULT_FINE)
    return EXIT_ENDED;
  if (m->exchanged.result <= SPEECH_RESULT_FAILED)
    return explain_exchange(&s->config, &m->exchanged, diag);
  s->may_pass = false;
  return explain_options(&s->config, op->trust, m->exchanged.result, diag);
}

/* ---- all of it ---- */

static exit_code_t check_host_key(opening_t *op, const speech_exchanged_t *m, diag_t *diag)
{
  session_t *s = op->session;
  ssh_key key = blob_key((cursor_t){m->key, m->key_len});
  if (!key) {
    diag_fail(diag, SMPL_EPROTO, "the bastion has no host key that can be read");
    return EXIT_NOT_TRUSTED;
  }
  exit_code_t code = host_key_check(key, &s->config, op->how->to, op->memory, op->how->say, &op->trust, diag);
  ssh_key_free(key);
  return code;
}

static exit_code_t establish(opening_t *op, diag_t *diag)
{
  session_t *s = op->session;
  speech_t m, serve;
  exit_code_t code = exchange_keys(op, &m, diag);
  if (code)
    return code;
  s->may_pass = false;
  say_step(op->how->say, "key exchange %s, cipher %s", m.exchanged.kex, m.exchanged.cipher);
  code = check_host_key(op, &m.exchanged, diag);
  if (!code)
    code = auth_sign_in(s, &m.exchanged, op->memory, op->how->say, diag);
  if (code)
    return code;
  speech_init(&serve, SPEECH_SERVE, 0);
  int err = talk_tell(s->talk, &serve, -1);
  if (!err)
    return EXIT_ENDED;
  s->may_pass = true;
  talk_explain(s->talk, err, diag);
  return EXIT_OTHER;
}

static exit_code_t connect_and_sign_in(opening_t *op, diag_t *diag)
{
  session_t *s = op->session;
  const ssh_config_t *o = &s->config;
  int err = o->proxy_command ? dial_proxy(o->proxy_command, &s->proxy, &s->fd, diag)
                             : dial(o->host, o->port, &o->dial, &s->fd, diag);
  s->may_pass = true;
  if (err)
    return EXIT_NO_BASTION;
  if (o->proxy_command)
    say_step(op->how->say, "connected by: %s", o->proxy_command);
  else
    say_step(op->how->say, "connected to %s port %u", o->host, o->port);
  s->may_pass = false;
  return establish(op, diag);
}

exit_code_t session_open(const session_how_t *how, memory_t *memory, session_t *out, diag_t *diag)
{
  opening_t op = {how, memory, out, NULL};
  *out = (session_t){.fd = -1};
  /* It seals itself while the rest is looked up. */
  if (talk_new(how->template, &out->talk) != SMPL_OK) {
    diag_fail(diag, SMPL_ESYS, "no process can be made that speaks SSH");
    return EXIT_OTHER;
  }
  if (ssh_config_load(how->to, &memory->group, &out->config, diag) != SMPL_OK)
    return EXIT_OTHER;
  if (out->config.ignored[0] && !memory->told)
    say_note(how->say, "not heeded here, though ssh_config says it: %s", out->config.ignored);
  memory->told = true;
  exit_code_t code = EXIT_NOT_TRUSTED;
  if (host_key_load(&out->config, how->to, NULL, &op.trust, diag) == SMPL_OK)
    code = connect_and_sign_in(&op, diag);
  trust_free(op.trust);
  if (out->fd >= 0)
    close(out->fd); /* the speaker has it */
  out->fd = -1;
  if (code == EXIT_ENDED)
    memory->again = true;
  return code;
}

/* It ends by itself when its end of the connection is closed; it is not waited for longer than this. */
static void end_proxy(pid_t pid)
{
  enum { STEPS = 20, STEP_MS = 5 };
  int status;
  kill(pid, SIGTERM);
  for (int i = 0; i < STEPS; i++) {
    if (waitpid(pid, &status, WNOHANG) != 0)
      return;
    poll(NULL, 0, STEP_MS);
  }
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
}

void session_close(session_t *s, unsigned flush_ms)
{
  if (!s)
    return;
  if (flush_ms > 0)
    talk_end(s->talk, flush_ms);
  else
    talk_free(s->talk, 0);
  if (s->fd >= 0)
    close(s->fd);
  if (s->proxy)
    end_proxy(s->proxy);
  ssh_config_free(&s->config);
  *s = (session_t){.fd = -1};
}
