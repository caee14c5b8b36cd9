/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/session.h"

#include <libssh/callbacks.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/ssh/ssh_pump.h"
#include "common/ssh/ssh_wire.h"
#include "common/base/text.h"
#include "tunnel/session/auth.h"
#include "tunnel/session/dial.h"
#include "tunnel/session/host_key.h"
#include "tunnel/session/server.h"
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

/* Names that libssh does not know are passed over; it fails where none is left. */
static int set_list(ssh_session session, enum ssh_options_e option, const char *name, const char *theirs,
                    const char *list, diag_t *diag)
{
  if (ssh_options_set(session, option, list) == SSH_OK)
    return SMPL_OK;
  return diag_fail(diag, SMPL_EINVAL, "%s %s of ssh_config leave nothing that is known here", name,
                   theirs ? theirs : list);
}

static int set_rsa_size(ssh_session session, const char *size, diag_t *diag)
{
  uint64_t most = 0;
  int bits = size && text_parse_u64(size, strlen(size), 65536, &most) == SMPL_OK ? (int)most : 0;
  if (bits == 0 || ssh_options_set(session, SSH_OPTIONS_RSA_MIN_SIZE, &bits) == SSH_OK)
    return SMPL_OK;
  return diag_fail(diag, SMPL_EINVAL, "RequiredRSASize %s of ssh_config is too small", size);
}

static int set_algorithms(ssh_session session, const ssh_config_t *o, const trust_t *trust, diag_t *diag)
{
  char kinds[1024];
  const char *kex = o->compared[SSH_CONFIG_KEX], *ciphers = o->compared[SSH_CONFIG_CIPHERS];
  const char *macs = o->compared[SSH_CONFIG_MACS], *wanted = o->compared[SSH_CONFIG_HOST_KEYS];
  const struct {
    enum ssh_options_e option;
    const char *name, *theirs, *list;
  } lists[] = {
      {SSH_OPTIONS_KEY_EXCHANGE, "KexAlgorithms", kex, or_ours(kex, KEX)},
      {SSH_OPTIONS_CIPHERS_C_S, "Ciphers", ciphers, or_ours(ciphers, CIPHERS)},
      {SSH_OPTIONS_CIPHERS_S_C, "Ciphers", ciphers, or_ours(ciphers, CIPHERS)},
      {SSH_OPTIONS_HMAC_C_S, "MACs", macs, or_ours(macs, MACS)},
      {SSH_OPTIONS_HMAC_S_C, "MACs", macs, or_ours(macs, MACS)},
      {SSH_OPTIONS_HOSTKEYS, "HostKeyAlgorithms", wanted,
       wanted ? trust_choose(trust, wanted, kinds, sizeof kinds) : trust_algorithms(trust)},
  };
  int err = set_rsa_size(session, o->compared[SSH_CONFIG_RSA_SIZE], diag);
  for (size_t i = 0; !err && i < sizeof lists / sizeof *lists; i++)
    err = set_list(session, lists[i].option, lists[i].name, lists[i].theirs, lists[i].list, diag);
  return err;
}

/* libssh would put the kinds first that are on file in the usual known_hosts, whichever files count here. */
static bool set_options(ssh_session session, const ssh_config_t *o, int fd)
{
  bool no = false;
  unsigned port = o->port;
  return ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_HOST, o->host) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_PORT, &port) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_USER, o->user) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_FD, &fd) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_KNOWNHOSTS, "/dev/null") == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, "/dev/null") == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_COMPRESSION, "none") == SSH_OK;
}

/* The lines that a server may send before its version (RFC 4253 §4.2): one that turns everybody away says so
 * there. libssh passes over them and tells of them in its log alone. */
typedef struct preface {
  char text[256];
} preface_t;

static void on_libssh_log(int priority, const char *function, const char *text, void *ctx)
{
  static const char mark[] = "ssh_protocol_version_exchange: ";
  preface_t *p = ctx;
  const char *line = strstr(text, mark);
  size_t used = strlen(p->text);
  (void)priority;
  (void)function;
  if (line && line[sizeof mark - 1] && used + 4 < sizeof p->text)
    snprintf(p->text + used, sizeof p->text - used, "%s%s", used ? " / " : "", line + sizeof mark - 1);
}

static void listen_to_preface(preface_t *p)
{
  ssh_set_log_userdata(p);
  ssh_set_log_callback(p ? on_libssh_log : NULL);
  ssh_set_log_level(p ? SSH_LOG_PACKET : SSH_LOG_NOLOG);
}

/* Why there is no session. Before its version the server has only its preface to say it with. */
static int no_session(ssh_session session, const ssh_config_t *o, const preface_t *preface, diag_t *diag)
{
  const char *size = o->compared[SSH_CONFIG_RSA_SIZE];
  if (strstr(ssh_get_error(session), "verify server hostkey"))
    return diag_fail(diag, SMPL_EPROTO,
                     "no SSH session with %s port %u: the signature of its host key is not accepted%s%s",
                     o->host, o->port, size ? "; an RSA key must have the bits of RequiredRSASize " : "",
                     size ? size : "");
  if (ssh_get_serverbanner(session))
    return diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u: %s", o->host, o->port,
                     server_error(session));
  if (preface->text[0])
    return diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u; it says: %s", o->host, o->port,
                     preface->text);
  if (strstr(server_error(session), "disconnected"))
    return diag_fail(diag, SMPL_ECLOSED,
                     "no SSH session with %s port %u: it closes the connection without a word", o->host,
                     o->port);
  return diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u: %s", o->host, o->port,
                   server_error(session));
}

static exit_code_t exchange_keys(ssh_session session, const ssh_config_t *o, const preface_t *preface,
                                 diag_t *diag)
{
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  while ((rc = ssh_pump_connect(session)) == SSH_AGAIN) {
    int waited = server_wait(session, until);
    if (waited == SMPL_ECLOSED) {
      rc = SSH_ERROR;
      break;
    }
    if (waited != SMPL_OK) {
      diag_fail(diag, SMPL_ETIMEOUT, "%s port %u does not answer as an SSH server within %d s%s%s", o->host,
                o->port, SESSION_STEP_MS / 1000, preface->text[0] ? "; it says: " : "", preface->text);
      return EXIT_NO_BASTION;
    }
  }
  /* libssh has made the socket a blocking one: a stalled bastion would hold up everything. */
  if (rc == SSH_OK && ssh_pump_prepare_socket(ssh_get_fd(session), 0) == SMPL_OK)
    return EXIT_ENDED;
  const char *words = server_last_words(session);
  if (words[0])
    diag_fail(diag, SMPL_ECLOSED, "the bastion %s port %u closes the connection: %s", o->host, o->port,
              words);
  else
    no_session(session, o, preface, diag);
  return words[0] ? EXIT_ENDED_BY_BASTION : EXIT_NO_BASTION;
}

static void on_received(void *proof, const void *data, size_t len)
{
  proof_feed(proof, data, len);
}

typedef struct opening {
  const destination_t *to;
  say_t *say;
  memory_t *memory;
  session_t *session;
  trust_t *trust;
} opening_t;

static exit_code_t establish(opening_t *op, diag_t *diag)
{
  session_t *s = op->session;
  const ssh_config_t *o = &s->config;
  if (!set_options(s->ssh, o, s->fd)) {
    diag_fail(diag, SMPL_EINVAL, "libssh does not take %s@%s port %u", o->user, o->host, o->port);
    return EXIT_OTHER;
  }
  if (set_algorithms(s->ssh, o, op->trust, diag) != SMPL_OK)
    return EXIT_OTHER;
  ssh_set_blocking(s->ssh, 0);
  s->proof = proof_new();
  ssh_wire_watch(s->proof ? s->fd : -1, on_received, s->proof);
  s->fd = -1; /* libssh's from here on, which closes it: as soon as the peer is gone, and its number is soon
                 another's */
  preface_t preface = {0};
  listen_to_preface(&preface);
  exit_code_t code = exchange_keys(s->ssh, o, &preface, diag);
  ssh_wire_watch(-1, NULL, NULL);
  listen_to_preface(NULL);
  s->may_pass = code != EXIT_ENDED;
  if (code)
    return code;
  say_step(op->say, "key exchange %s, cipher %s", ssh_get_kex_algo(s->ssh), ssh_get_cipher_out(s->ssh));
  code = host_key_check(s->ssh, &s->config, op->to, op->memory, op->say, &op->trust, diag);
  if (code)
    return code;
  return auth_sign_in(s->ssh, o, s->proof, op->memory, op->say, &s->may_pass, diag);
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
    say_step(op->say, "connected by: %s", o->proxy_command);
  else
    say_step(op->say, "connected to %s port %u", o->host, o->port);
  s->may_pass = false;
  s->ssh = ssh_new();
  if (!s->ssh) {
    diag_fail(diag, SMPL_ENOMEM, "out of memory");
    return EXIT_OTHER;
  }
  return establish(op, diag);
}

exit_code_t session_open(const destination_t *to, say_t *say, memory_t *memory, session_t *out, diag_t *diag)
{
  opening_t op = {to, say, memory, out, NULL};
  *out = (session_t){.fd = -1};
  if (ssh_config_load(to, &memory->group, &out->config, diag) != SMPL_OK)
    return EXIT_OTHER;
  if (out->config.ignored[0] && !memory->told)
    say_note(say, "not heeded here, though ssh_config says it: %s", out->config.ignored);
  memory->told = true;
  exit_code_t code = EXIT_NOT_TRUSTED;
  if (host_key_load(&out->config, to, NULL, &op.trust, diag) == SMPL_OK)
    code = connect_and_sign_in(&op, diag);
  trust_free(op.trust);
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

void session_close(session_t *s)
{
  if (!s)
    return;
  if (s->ssh && ssh_is_connected(s->ssh))
    ssh_disconnect(s->ssh);
  ssh_free(s->ssh);
  if (s->fd >= 0)
    close(s->fd);
  if (s->proxy)
    end_proxy(s->proxy);
  proof_free(s->proof);
  ssh_config_free(&s->config);
  *s = (session_t){.fd = -1};
}
