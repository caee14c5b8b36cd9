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
#include "tunnel/session/authority.h"
#include "tunnel/session/dial.h"
#include "tunnel/session/known_command.h"
#include "tunnel/session/revoked.h"
#include "tunnel/session/trust.h"

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

int session_wait(ssh_session session, uint64_t until)
{
  int flags = ssh_get_poll_flags(session);
  struct pollfd p = {ssh_get_fd(session), POLLIN, 0};
  if (p.fd < 0) /* the other side has said goodbye: nothing more comes, whatever libssh waits for */
    return SMPL_ECLOSED;
  if (flags & SSH_WRITE_PENDING)
    p.events |= POLLOUT;
  uint64_t now = clock_mono_ms();
  if (now >= until)
    return SMPL_ETIMEOUT;
  poll(&p, 1, (int)(until - now));
  return SMPL_OK;
}

bool session_hung_up(ssh_session session)
{
  struct pollfd p = {ssh_get_fd(session), POLLRDHUP, 0};
  return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

void session_hear(ssh_session session)
{
  enum { READS_MAX = 64 }; /* of 4 KiB: a few packets stand there */
  ssh_event event = ssh_event_new();
  if (!event || ssh_event_add_session(event, session) != SSH_OK) {
    ssh_event_free(event);
    return;
  }
  for (int i = 0; i < READS_MAX && ssh_is_connected(session); i++)
    ssh_event_dopoll(event, 0);
  ssh_event_remove_session(event, session);
  ssh_event_free(event);
}

const char *session_last_words(ssh_session session)
{
  const char *error = ssh_get_error(session);
  const char *words = strstr(error, "SSH_MSG_DISCONNECT: ");
  words = words ? strchr(words + strlen("SSH_MSG_DISCONNECT: "), ':') : NULL;
  return words ? words + 1 : "";
}

void session_memory_init(session_memory_t *memory)
{
  *memory = (session_memory_t){0};
  prompt_init(&memory->prompt);
}

void session_memory_clear(session_memory_t *memory)
{
  ssh_key_free(memory->key);
  ssh_key_free(memory->host_key);
  memory->key = NULL;
  memory->host_key = NULL;
}

static const char *or_ours(const char *theirs, const char *ours)
{
  return theirs ? theirs : ours;
}

/* Names that libssh does not know are passed over; it fails where none is left. */
static bool set_algorithms(ssh_session session, const settings_t *o, const trust_t *trust)
{
  char kinds[1024];
  const char *ciphers = or_ours(o->compared[SETTINGS_CIPHERS], CIPHERS);
  const char *macs = or_ours(o->compared[SETTINGS_MACS], MACS);
  const char *wanted = o->compared[SETTINGS_HOST_KEYS], *size = o->compared[SETTINGS_RSA_SIZE];
  uint64_t most = 0;
  int bits = size && text_parse_u64(size, strlen(size), 65536, &most) == SMPL_OK ? (int)most : 0;
  return ssh_options_set(session, SSH_OPTIONS_KEY_EXCHANGE, or_ours(o->compared[SETTINGS_KEX], KEX)) ==
             SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, ciphers) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_CIPHERS_S_C, ciphers) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_HMAC_C_S, macs) == SSH_OK &&
         ssh_options_set(session, SSH_OPTIONS_HMAC_S_C, macs) == SSH_OK &&
         (bits == 0 || ssh_options_set(session, SSH_OPTIONS_RSA_MIN_SIZE, &bits) == SSH_OK) &&
         ssh_options_set(session, SSH_OPTIONS_HOSTKEYS,
                         wanted ? trust_choose(trust, wanted, kinds, sizeof kinds)
                                : trust_algorithms(trust)) == SSH_OK;
}

/* libssh would put the kinds first that are on file in the usual known_hosts, whichever files count here. */
static bool set_options(ssh_session session, const settings_t *o, int fd)
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
static int no_session(ssh_session session, const settings_t *o, const preface_t *preface, diag_t *diag)
{
  if (ssh_get_serverbanner(session))
    return diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u: %s", o->host, o->port,
                     ssh_get_error(session));
  if (preface->text[0])
    return diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u; it says: %s", o->host, o->port,
                     preface->text);
  if (strstr(ssh_get_error(session), "disconnected"))
    return diag_fail(diag, SMPL_ECLOSED,
                     "no SSH session with %s port %u: it closes the connection without a word", o->host,
                     o->port);
  return diag_fail(diag, SMPL_EPROTO, "no SSH session with %s port %u: %s", o->host, o->port,
                   ssh_get_error(session));
}

static exit_code_t exchange_keys(ssh_session session, const settings_t *o, const preface_t *preface,
                                 diag_t *diag)
{
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  while ((rc = ssh_pump_connect(session)) == SSH_AGAIN) {
    int waited = session_wait(session, until);
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
  const char *words = session_last_words(session);
  if (words[0])
    diag_fail(diag, SMPL_ECLOSED, "the bastion %s port %u closes the connection: %s", o->host, o->port,
              words);
  else
    no_session(session, o, preface, diag);
  return words[0] ? EXIT_ENDED_BY_BASTION : EXIT_NO_BASTION;
}

typedef enum consent { CONSENT_YES, CONSENT_NO, CONSENT_NOBODY_THERE } consent_t;

/* authority: as for untrusted(). Somebody at the terminal reads the fingerprint and says yes. */
static consent_t ask(session_memory_t *memory, settings_strict_t strict, const trust_t *trust,
                     const char *authority, const char *kind, const char *print)
{
  char question[1024];
  char answer[TRUST_FINGERPRINT_MAX + 8];
  if (strict == SETTINGS_ACCEPT_NEW)
    return CONSENT_YES;
  if (memory->again || strict == SETTINGS_STRICT)
    return CONSENT_NOBODY_THERE;
  snprintf(question, sizeof question,
           "The bastion %s is not known here yet%s%s.\nIts %s key has the fingerprint %s.\n"
           "Compare it with the one you were given. Trust it from now on (yes/no/fingerprint)? ",
           trust_host(trust), authority ? "; a @cert-authority is on file for it, but " : "",
           authority ? authority : "", kind, print);
  if (prompt_ask(&memory->prompt, question, answer, sizeof answer, false, -1) < 0)
    return CONSENT_NOBODY_THERE;
  return strcmp(answer, "yes") == 0 || strcmp(answer, print) == 0 ? CONSENT_YES : CONSENT_NO;
}

/* authority: why the host's @cert-authority does not vouch for the key; NULL: it has none. */
static exit_code_t untrusted(const settings_t *o, const trust_t *trust, trust_verdict_t verdict,
                             const char *authority, const char *kind, const char *print, diag_t *diag)
{
  char known[DIAG_TEXT_MAX / 2];
  const char *but = authority ? "; a @cert-authority is on file for it, but " : "";
  trust_describe_known(trust, known, sizeof known);
  const char *file = o->known_hosts_count ? o->known_hosts[0] : "~/.ssh/known_hosts";
  if (verdict == TRUST_REVOKED)
    diag_fail(diag, SMPL_EDENIED, "the %s key of %s, %s, is marked @revoked: not connecting", kind,
              trust_host(trust), print);
  else if (verdict == TRUST_CHANGED)
    diag_fail(
        diag, SMPL_EDENIED,
        "the host key of %s has CHANGED: it now shows %s %s, on file is %s. Either it was replaced (ask its "
        "administrator, then remove the old line) or somebody is in between",
        trust_host(trust), kind, print, known);
  else if (verdict == TRUST_OTHER_KIND)
    diag_fail(diag, SMPL_EDENIED, "%s shows a key of a kind that is not on file: %s %s; on file is %s%s%s",
              trust_host(trust), kind, print, known, but, authority ? authority : "");
  else
    diag_fail(diag, SMPL_EDENIED,
              "the bastion %s is not known: its %s key is %s. Compare it, then run this on a terminal or add "
              "the key to %s "
              "(ssh-keyscan -p %u %s)%s%s",
              trust_host(trust), kind, print, file, o->port, o->host, but, authority ? authority : "");
  return EXIT_NOT_TRUSTED;
}

static exit_code_t check_key(const settings_t *o, say_t *say, session_memory_t *memory, const trust_t *trust,
                             ssh_key key, diag_t *diag)
{
  char print[TRUST_FINGERPRINT_MAX];
  const char *kind = ssh_key_type_to_char(ssh_key_type(key));
  trust_fingerprint(key, print);
  trust_verdict_t verdict = trust_judge(trust, key);
  if (o->revoked_host_keys && revoked_judge(o->revoked_host_keys, key, diag) != SMPL_OK)
    return EXIT_NOT_TRUSTED;
  if (verdict == TRUST_UNKNOWN && memory->host_key &&
      ssh_key_cmp(memory->host_key, key, SSH_KEY_CMP_PUBLIC) == 0)
    verdict = TRUST_KNOWN;
  if (verdict == TRUST_KNOWN) {
    say_step(say, "host key %s %s is known", kind, print);
    return EXIT_ENDED;
  }
  const char *authority = NULL;
  if ((verdict == TRUST_UNKNOWN || verdict == TRUST_OTHER_KIND) && trust_has_authority(trust)) {
    authority = o->proxy_command
                    ? "behind a proxy it cannot be asked for its certificate"
                    : authority_ask(trust, o->revoked_host_keys, o->host, o->port, o->key_name, key);
    if (!authority) {
      say_step(say, "host key %s %s is vouched for by a @cert-authority", kind, print);
      return EXIT_ENDED;
    }
  }
  consent_t consent =
      verdict == TRUST_UNKNOWN ? ask(memory, o->strict, trust, authority, kind, print) : CONSENT_NOBODY_THERE;
  if (consent == CONSENT_NO) {
    diag_fail(diag, SMPL_EDENIED,
              "the key of %s was not confirmed with 'yes' or its fingerprint: not connecting",
              trust_host(trust));
    return EXIT_NOT_TRUSTED;
  }
  if (consent == CONSENT_NOBODY_THERE)
    return untrusted(o, trust, verdict, authority, kind, print, diag);
  diag_t inner = {0};
  ssh_key_free(memory->host_key);
  memory->host_key = ssh_key_dup(key);
  if (o->known_hosts_count && trust_remember(trust, o->known_hosts[0], key, &inner) == SMPL_OK)
    say_note(say, "the key of %s is written to %s", trust_host(trust), o->known_hosts[0]);
  else
    say_note(say, "the key of %s could not be remembered: %s", trust_host(trust), inner.text);
  return EXIT_ENDED;
}

static void on_received(void *proof, const void *data, size_t len)
{
  proof_feed(proof, data, len);
}

/* What the files say of the host, and KnownHostsCommand where there is one; key as there. Port 22: an alias
 * goes without. */
static int load_trust(settings_t *o, const options_t *options, ssh_key key, trust_t **trust, diag_t *diag)
{
  uint16_t port = o->key_alias ? 22 : o->port;
  int err = trust_load(o->known_hosts, o->known_hosts_count, o->key_name, port, trust, diag);
  return err ? err : known_command_ask(o, options, key, *trust, diag);
}

typedef struct opening {
  const options_t *options;
  say_t *say;
  session_memory_t *memory;
  session_t *session;
  trust_t *trust;
} opening_t;

/* KnownHostsCommand may say more once it sees the key. */
static exit_code_t check_host(opening_t *op, diag_t *diag)
{
  settings_t *o = &op->session->settings;
  ssh_key key = NULL;
  exit_code_t code = EXIT_NOT_TRUSTED;
  if (ssh_get_server_publickey(op->session->ssh, &key) != SSH_OK) {
    diag_fail(diag, SMPL_EPROTO, "the bastion has no host key: %s", ssh_get_error(op->session->ssh));
    return code;
  }
  int err = SMPL_OK;
  if (o->known_hosts_command) {
    trust_free(op->trust);
    err = load_trust(o, op->options, key, &op->trust, diag);
  }
  if (!err)
    code = check_key(o, op->say, op->memory, op->trust, key, diag);
  ssh_key_free(key);
  return code;
}

static exit_code_t establish(opening_t *op, diag_t *diag)
{
  session_t *s = op->session;
  const settings_t *o = &s->settings;
  if (!set_options(s->ssh, o, s->fd) || !set_algorithms(s->ssh, o, op->trust)) {
    diag_fail(diag, SMPL_EINVAL,
              "KexAlgorithms, HostKeyAlgorithms, Ciphers or MACs of ssh_config leave nothing that is known "
              "here (%s)",
              ssh_get_error(s->ssh));
    return EXIT_OTHER;
  }
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
  code = check_host(op, diag);
  return code ? code : session_sign_in(s, op->memory, op->say, diag);
}

static exit_code_t connect_and_sign_in(opening_t *op, diag_t *diag)
{
  session_t *s = op->session;
  const settings_t *o = &s->settings;
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

exit_code_t session_open(const options_t *options, say_t *say, session_memory_t *memory, session_t *out,
                         diag_t *diag)
{
  opening_t op = {options, say, memory, out, NULL};
  *out = (session_t){.fd = -1};
  if (settings_load(options, &out->settings, diag) != SMPL_OK)
    return EXIT_OTHER;
  if (out->settings.ignored[0] && !memory->told)
    say_note(say, "not heeded here, though ssh_config says it: %s", out->settings.ignored);
  memory->told = true;
  exit_code_t code = EXIT_NOT_TRUSTED;
  if (load_trust(&out->settings, options, NULL, &op.trust, diag) == SMPL_OK)
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
  settings_free(&s->settings);
  *s = (session_t){.fd = -1};
}
