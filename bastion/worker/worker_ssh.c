/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/worker/worker_ssh.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/base/error.h"
#include "common/ssh/ssh_pump.h"

/* Strict and short. No group exchange (it opens a file), no CBC, no SHA-1; in the modern list no NIST curves
 * and no MAC before encryption. AES-128-GCM first: the fastest by far on processors with AES instructions. */
#define KEX        "curve25519-sha256,curve25519-sha256@libssh.org"
#define KEX_GROUPS "diffie-hellman-group16-sha512,diffie-hellman-group18-sha512"
/* Against a quantum computer to come. libssh has them from 0.12 on, and passes over names that it does not
 * know. */
#define KEX_QUANTUM "mlkem768x25519-sha256,sntrup761x25519-sha512,sntrup761x25519-sha512@openssh.com,"
#define CIPHERS                                                                                              \
  "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes192-ctr,"       \
  "aes128-ctr"
#define MACS "hmac-sha2-256-etm@openssh.com,hmac-sha2-512-etm@openssh.com"
#define HOST_KEYS                                                                                            \
  "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256"

typedef struct offer {
  const char *kex;
  const char *macs;
} offer_t;

static const offer_t offers[MSG_ALGORITHMS_COUNT] = {
    [MSG_ALGORITHMS_MODERN] = {KEX_QUANTUM KEX "," KEX_GROUPS, MACS},
    [MSG_ALGORITHMS_COMPATIBLE] = {KEX_QUANTUM KEX ",ecdh-sha2-nistp256,ecdh-sha2-nistp384," KEX_GROUPS,
                                   MACS ",hmac-sha2-256,hmac-sha2-512"},
};

enum {
  RSA_BITS_MIN = 2048,
  USER_TIMEOUT_MS = 30000, /* a client that does not acknowledge for so long is gone */
  KEEPALIVE_IDLE_S = 60,   /* of an idle connection, before the first probe */
  KEEPALIVE_INTERVAL_S = 15,
  KEEPALIVE_COUNT = 4, /* that nobody answers; USER_TIMEOUT_MS may end it before */
};

struct worker_ssh {
  ssh_bind bind;
  worker_sign_keys_t keys;
};

static bool set(ssh_bind bind, enum ssh_bind_options_e option, const void *value)
{
  return ssh_bind_options_set(bind, option, value) == SSH_OK;
}

static bool set_offer(ssh_bind bind, msg_algorithms_t algorithms)
{
  const offer_t *o = &offers[algorithms];
  return set(bind, SSH_BIND_OPTIONS_KEY_EXCHANGE, o->kex) && set(bind, SSH_BIND_OPTIONS_HMAC_C_S, o->macs) &&
         set(bind, SSH_BIND_OPTIONS_HMAC_S_C, o->macs);
}

/* SSH_BIND_OPTIONS_PUBKEY_ACCEPTED_KEY_TYPES is left unset: the library drops the names of security keys from
 * it, and would refuse their signatures. Which kinds and algorithms count is the broker's to say (userkey.c);
 * SHA-1 is not among them. */
static bool set_options(ssh_bind bind)
{
  bool no = false;
  int rsa_min = RSA_BITS_MIN;
  /* First: otherwise the library reads a file of the system's. */
  return set(bind, SSH_BIND_OPTIONS_PROCESS_CONFIG, &no) && set(bind, SSH_BIND_OPTIONS_BANNER, "smplkit") &&
         set(bind, SSH_BIND_OPTIONS_CIPHERS_C_S, CIPHERS) &&
         set(bind, SSH_BIND_OPTIONS_CIPHERS_S_C, CIPHERS) && set_offer(bind, MSG_ALGORITHMS_MODERN) &&
         set(bind, SSH_BIND_OPTIONS_HOSTKEY_ALGORITHMS, HOST_KEYS) &&
         set(bind, SSH_BIND_OPTIONS_RSA_MIN_SIZE, &rsa_min);
}

/* Loads OpenSSL's random generator and algorithms once, for all workers. */
static bool warm(void)
{
  unsigned char byte;
  return RAND_bytes(&byte, 1) == 1 && RAND_priv_bytes(&byte, 1) == 1;
}

int worker_ssh_new(worker_ssh_t **out, diag_t *diag)
{
  *out = NULL;
  if (ssh_init() != SSH_OK || !warm())
    return diag_fail(diag, SMPL_ESYS, "libssh or OpenSSL could not be initialised");
  ssh_set_log_level(SSH_LOG_NOLOG);
  worker_ssh_t *ssh = calloc(1, sizeof *ssh);
  if (ssh == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  ssh->keys = (worker_sign_keys_t){-1, -1, -1};
  ssh->bind = ssh_bind_new();
  if (ssh->bind == NULL || !set_options(ssh->bind)) {
    ssh_bind_free(ssh->bind);
    free(ssh);
    return diag_fail(diag, SMPL_ESYS, "libssh does not accept the algorithm lists");
  }
  *out = ssh;
  return SMPL_OK;
}

static int *slot_of(worker_ssh_t *ssh, enum ssh_keytypes_e type)
{
  switch (type) {
  case SSH_KEYTYPE_ED25519:
    return &ssh->keys.ed25519;
  case SSH_KEYTYPE_ECDSA_P256:
  case SSH_KEYTYPE_ECDSA_P384:
  case SSH_KEYTYPE_ECDSA_P521:
    return &ssh->keys.ecdsa;
  case SSH_KEYTYPE_RSA:
    return &ssh->keys.rsa;
  default:
    return NULL;
  }
}

int worker_ssh_add_key(worker_ssh_t *ssh, const char *text, int index, diag_t *diag)
{
  ssh_key key = NULL;
  if (ssh_pki_import_privkey_base64(text, NULL, NULL, NULL, &key) != SSH_OK)
    return diag_fail(diag, SMPL_EINVAL, "host key %d cannot be read", index);
  int *slot = slot_of(ssh, ssh_key_type(key));
  if (slot == NULL || *slot >= 0) {
    ssh_key_free(key);
    return diag_fail(diag, SMPL_EINVAL, "host key %d: its kind is not supported or is there twice", index);
  }
  if (ssh_bind_options_set(ssh->bind, SSH_BIND_OPTIONS_IMPORT_KEY, key) != SSH_OK) {
    ssh_key_free(key);
    return diag_fail(diag, SMPL_EINVAL, "host key %d is not accepted by libssh", index);
  }
  *slot = index; /* the key is the bind's now */
  return SMPL_OK;
}

const worker_sign_keys_t *worker_ssh_keys(const worker_ssh_t *ssh)
{
  return &ssh->keys;
}

/* A client that has gone without a word is noticed though no byte is under way. Not TCP in some tests: no
 * error then. */
static void keep_alive(int fd)
{
  int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S, count = KEEPALIVE_COUNT;
  if (setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle) == 0 &&
      setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval) == 0)
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

ssh_session worker_ssh_session(worker_ssh_t *ssh, int fd, msg_algorithms_t algorithms)
{
  keep_alive(fd);
  if (!set_offer(ssh->bind, algorithms) || ssh_pump_prepare_socket(fd, USER_TIMEOUT_MS) != SMPL_OK || !warm())
    return NULL;
  ssh_session session = ssh_new();
  if (session == NULL)
    return NULL;
  if (ssh_options_set(session, SSH_OPTIONS_COMPRESSION, "none") != SSH_OK ||
      ssh_bind_accept_fd(ssh->bind, session, fd) != SSH_OK) {
    ssh_free(session);
    return NULL;
  }
  ssh_set_auth_methods(session, SSH_AUTH_METHOD_PUBLICKEY);
  ssh_set_blocking(session, 0);
  return session;
}
