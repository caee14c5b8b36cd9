/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/exchange.h"

#include <libssh/callbacks.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/ssh/ssh_pump.h"
#include "common/ssh/ssh_wire.h"
#include "tunnel/base/blob.h"
#include "tunnel/speaker/pair.h"
#include "tunnel/speaker/proof.h"
#include "tunnel/speaker/server.h"

/* Of the lists' numbers those of libssh's options. */
static const struct {
  enum ssh_options_e option;
  speech_list_t list;
} lists[] = {
    {SSH_OPTIONS_KEY_EXCHANGE, SPEECH_LIST_KEX},    {SSH_OPTIONS_CIPHERS_C_S, SPEECH_LIST_CIPHERS},
    {SSH_OPTIONS_CIPHERS_S_C, SPEECH_LIST_CIPHERS}, {SSH_OPTIONS_HMAC_C_S, SPEECH_LIST_MACS},
    {SSH_OPTIONS_HMAC_S_C, SPEECH_LIST_MACS},       {SSH_OPTIONS_HOSTKEYS, SPEECH_LIST_HOST_KEYS},
};

/* Names that libssh does not know are passed over; it fails where none is left. */
static speech_result_t set_algorithms(ssh_session session, const speech_start_t *start)
{
  int bits = (int)start->rsa_bits;
  if (bits != 0 && ssh_options_set(session, SSH_OPTIONS_RSA_MIN_SIZE, &bits) != SSH_OK)
    return SPEECH_RESULT_RSA_BITS;
  for (size_t i = 0; i < COUNT_OF(lists); i++) {
    if (ssh_options_set(session, lists[i].option, start->lists[lists[i].list]) != SSH_OK)
      return (speech_result_t)((int)SPEECH_RESULT_LIST + (int)lists[i].list);
  }
  return SPEECH_RESULT_FINE;
}

/* libssh would put the kinds first that are on file in the usual known_hosts, whichever files count here; and
 * look its user's folder up. */
static bool set_options(ssh_session session, const speech_start_t *start, int fd)
{
  bool no = false;
  unsigned port = start->port;
  return ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_SSH_DIR, "/") == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_HOST, start->host) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_PORT, &port) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_USER, start->user) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_FD, &fd) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_COMPRESSION, "none") == SSH_OK;
}

/* The lines that a server may send before its version (RFC 4253 §4.2): one that turns everybody away says so
 * there. libssh passes over them and tells of them in its log alone. */
static void on_libssh_log(int priority, const char *function, const char *text, void *ctx)
{
  static const char mark[] = "ssh_protocol_version_exchange: ";
  char *preface = ctx;
  const char *line = strstr(text, mark);
  size_t used = strlen(preface);
  (void)priority;
  (void)function;
  if (line && line[sizeof mark - 1] && used + 4 < SPEECH_PREFACE_MAX)
    snprintf(preface + used, SPEECH_PREFACE_MAX - used, "%s%s", used ? " / " : "", line + sizeof mark - 1);
}

static void listen_to_preface(char *preface)
{
  ssh_set_log_userdata(preface);
  ssh_set_log_callback(preface ? on_libssh_log : NULL);
  ssh_set_log_level(preface ? SSH_LOG_PACKET : SSH_LOG_NOLOG);
}

static speech_result_t exchange_keys(ssh_session session)
{
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  while ((rc = ssh_pump_connect(session)) == SSH_AGAIN) {
    int waited = server_wait(session, until);
    if (waited == SMPL_ECLOSED)
      return SPEECH_RESULT_FAILED;
    if (waited != SMPL_OK)
      return SPEECH_RESULT_LATE;
  }
  /* libssh has made the socket a blocking one: a stalled bastion would hold up everything. */
  return rc == SSH_OK && ssh_pump_prepare_socket(ssh_get_fd(session), 0) == SMPL_OK ? SPEECH_RESULT_FINE
                                                                                    : SPEECH_RESULT_FAILED;
}

static void on_received(void *proof, const void *data, size_t len)
{
  proof_feed(proof, data, len);
}

/* The key that libssh has taken, and how the server proved it. A signature by another key than that is none.
 */
static void tell_key(ssh_session session, const proof_t *proof, speech_exchanged_t *out)
{
  ssh_key key = NULL;
  size_t len = 0;
  cursor_t shown, signature;
  uint8_t *blob = ssh_get_server_publickey(session, &key) == SSH_OK ? blob_of(key, &len) : NULL;
  if (blob && len <= sizeof out->key) {
    out->key_len = (uint32_t)len;
    memcpy(out->key, blob, len);
  }
  if (proof_get(proof, &shown, &signature) && shown.len == out->key_len &&
      memcmp(shown.data, out->key, shown.len) == 0 && signature.len <= sizeof out->signature) {
    out->signature_len = (uint32_t)signature.len;
    memcpy(out->signature, signature.data, signature.len);
  }
  free(blob);
  ssh_key_free(key);
}

static speech_result_t exchange(ssh_session session, int fd, speech_exchanged_t *out)
{
  proof_t *proof = proof_new();
  ssh_set_blocking(session, 0);
  ssh_wire_watch(proof ? fd : -1, on_received, proof);
  listen_to_preface(out->preface);
  speech_result_t result = exchange_keys(session);
  ssh_wire_watch(-1, NULL, NULL);
  listen_to_preface(NULL);
  if (result == SPEECH_RESULT_FINE)
    tell_key(session, proof, out);
  proof_free(proof);
  if (result != SPEECH_RESULT_FINE || out->key_len == 0)
    return result == SPEECH_RESULT_FINE ? SPEECH_RESULT_FAILED : result;
  pair_text(out->kex, sizeof out->kex, ssh_get_kex_algo(session));
  pair_text(out->cipher, sizeof out->cipher, ssh_get_cipher_out(session));
  return result;
}

ssh_session exchange_run(const speech_start_t *start, int fd, speech_t *answer)
{
  ssh_session session = ssh_new();
  if (!session)
    pair_end();
  speech_init(answer, SPEECH_EXCHANGED, 0);
  speech_exchanged_t *out = &answer->exchanged;
  speech_result_t result =
      set_options(session, start, fd) ? set_algorithms(session, start) : SPEECH_RESULT_OPTIONS;
  if (result == SPEECH_RESULT_FINE)
    result = exchange(session, fd, out);
  out->result = result;
  out->greeted = ssh_get_serverbanner(session) != NULL;
  pair_text(out->error, sizeof out->error, ssh_get_error(session));
  if (result == SPEECH_RESULT_FINE)
    return session;
  ssh_free(session);
  return NULL;
}

void exchange_warm(void)
{
  EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
  EVP_CIPHER_free(EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL));
  EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
  unsigned char byte;
  RAND_bytes(&byte, 1);
  EVP_PKEY_free(key);
}
