/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/process/file.h"

/* What a file looked like: one that is replaced or edited looks different. */
typedef struct stamp {
  ino_t inode;
  dev_t device;
  off_t size;
  struct timespec changed, modified;
} stamp_t;

struct tls {
  char *certificate, *key; /* paths */
  SSL_CTX *ctx;
  stamp_t stamps[2]; /* of the two files when they were looked at last */
  bool again;        /* they could not be read for want of something that may come back: files, memory */
  char subject[TLS_SUBJECT_MAX];
  char until[CLOCK_ISO_MAX];
  time_t ends;
  BIO_METHOD *method;
  size_t output_len;
  uint8_t output[TLS_OUTPUT_MAX]; /* of the link that was called last */
};

struct tls_link {
  tls_t *owner;
  SSL *ssl;
  const uint8_t *input;
  size_t input_len;
  const char *reason;
};

/* OpenSSL's view of the connection: what was fed, and the output. */

static int bio_read(BIO *bio, char *buf, int len)
{
  tls_link_t *link = BIO_get_data(bio);
  size_t n = link->input_len < (size_t)len ? link->input_len : (size_t)len;
  BIO_clear_retry_flags(bio);
  if (n == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  memcpy(buf, link->input, n);
  link->input += n;
  link->input_len -= n;
  return (int)n;
}

static int bio_write(BIO *bio, const char *buf, int len)
{
  tls_link_t *link = BIO_get_data(bio);
  tls_t *tls = link->owner;
  BIO_clear_retry_flags(bio);
  if (len < 0 || (size_t)len > sizeof tls->output - tls->output_len)
    return -1;
  memcpy(tls->output + tls->output_len, buf, (size_t)len);
  tls->output_len += (size_t)len;
  return len;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
  (void)bio;
  (void)number;
  (void)pointer;
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *make_method(void)
{
  /* Nobody looks for it by its type, and OpenSSL has no more than some hundred new ones to give. */
  BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "smpl");
  if (method == NULL)
    return NULL;
  BIO_meth_set_read(method, bio_read);
  BIO_meth_set_write(method, bio_write);
  BIO_meth_set_ctrl(method, bio_ctrl);
  return method;
}

/* Certificates */

static int fail_ssl(diag_t *diag, const char *path, const char *what)
{
  unsigned long code = ERR_peek_last_error();
  const char *reason = ERR_reason_error_string(code);
  ERR_clear_error();
  return diag_fail(diag, ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE ? SMPL_ENOMEM : SMPL_EINVAL,
                   "%s: %s%s%s", path, what, reason != NULL ? ": " : "", reason != NULL ? reason : "");
}

/* Never asks on the terminal. */
static int no_passphrase(char *buf, int size, int rw, void *ctx)
{
  (void)buf;
  (void)size;
  (void)rw;
  *(bool *)ctx = true;
  return -1;
}

/* OpenSSL compares a key only with a certificate of its own kind, so that an RSA certificate would take an EC
 * key: hence a comparison of our own. */
static int use_key(SSL_CTX *ctx, const X509 *certificate, const char *path, diag_t *diag)
{
  char *text = NULL;
  size_t len = 0;
  bool encrypted = false;
  int err = file_read_secret(path, TLS_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  BIO *bio = BIO_new_mem_buf(text, (int)len);
  EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted) : NULL;
  if (key == NULL)
    err = encrypted ? diag_fail(diag, SMPL_EINVAL, "%s: keys with a passphrase are not supported", path)
                    : fail_ssl(diag, path, "no private key in PEM form");
  else if (X509_check_private_key(certificate, key) != 1 || SSL_CTX_use_PrivateKey(ctx, key) != 1)
    err = fail_ssl(diag, path, "not the key of the certificate");
  EVP_PKEY_free(key);
  BIO_free(bio);
  explicit_bzero(text, len);
  free(text);
  return err;
}

/* The certificate's first name, as people know it. */
static void read_subject(X509 *certificate, char *out, size_t cap)
{
  GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
  const GENERAL_NAME *name =
      names != NULL && sk_GENERAL_NAME_num(names) > 0 ? sk_GENERAL_NAME_value(names, 0) : NULL;
  if (name != NULL && name->type == GEN_DNS)
    snprintf(out, cap, "%.*s", ASN1_STRING_length(name->d.dNSName),
             (const char *)ASN1_STRING_get0_data(name->d.dNSName));
  else
    X509_NAME_oneline(X509_get_subject_name(certificate), out, (int)cap);
  GENERAL_NAMES_free(names);
}

static void describe(tls_t *tls, X509 *certificate)
{
  struct tm tm = {0};
  read_subject(certificate, tls->subject, sizeof tls->subject);
  tls->ends = ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &tm) == 1 ? timegm(&tm) : 0;
  clock_format_iso(tls->until, (uint64_t)tls->ends * 1000);
}

/* The server's own certificate first, then those that lead to its issuer. */
static int read_chain(SSL_CTX *ctx, BIO *bio, const char *path, X509 **first, diag_t *diag)
{
  int err = SMPL_OK, count = 0;
  *first = NULL;
  for (X509 *one; !err && (one = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
    if (count == TLS_CHAIN_MAX)
      err = diag_fail(diag, SMPL_ELIMIT, "%s: more than %d certificates", path, TLS_CHAIN_MAX);
    else if (count == 0 && SSL_CTX_use_certificate(ctx, one) != 1)
      err = fail_ssl(diag, path, "the certificate cannot be used");
    else if (count > 0 && SSL_CTX_add1_chain_cert(ctx, one) != 1)
      err = fail_ssl(diag, path, "the chain cannot be used");
    if (count == 0 && !err)
      *first = one;
    else
      X509_free(one);
  }
  bool ended = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (!err && (count == 0 || !ended))
    err = fail_ssl(diag, path,
                   count == 0 ? "no certificate in PEM form" : "a certificate of the chain is malformed");
  ERR_clear_error();
  return err;
}

static int use_certificate(tls_t *tls, SSL_CTX *ctx, diag_t *diag)
{
  char *text = NULL;
  size_t len = 0;
  X509 *first = NULL;
  int err = file_read_trusted(tls->certificate, TLS_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  BIO *bio = BIO_new_mem_buf(text, (int)len);
  err = bio != NULL ? read_chain(ctx, bio, tls->certificate, &first, diag)
                    : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err)
    err = use_key(ctx, first, tls->key, diag);
  if (!err)
    describe(tls, first);
  X509_free(first);
  BIO_free(bio);
  free(text);
  return err;
}

/* HTTP/1.1 is all there is: a client that asks for others only is told so (RFC 7301 §3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *ctx)
{
  static const unsigned char ours[] = "\x08http/1.1\x08http/1.0";
  unsigned char *chosen = NULL;
  (void)ssl;
  (void)ctx;
  if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, offered, offered_len) !=
      OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

/* Forward secrecy and authenticated encryption only. No compression, no renegotiation, no early data (it
 * could be replayed), no session cache: tickets resume without memory of ours. */
static bool set_up(SSL_CTX *ctx)
{
  static const unsigned char session[] = "smpl-app";
  SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
  return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
         SSL_CTX_set_session_id_context(ctx, session, sizeof session - 1) == 1 &&
         SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1;
}

/* Replaces the context if all is well; otherwise nothing changes. */
static int load(tls_t *tls, diag_t *diag)
{
  ERR_clear_error();
  SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
  if (ctx == NULL || !set_up(ctx)) {
    SSL_CTX_free(ctx);
    return fail_ssl(diag, tls->certificate, "TLS cannot be set up");
  }
  int err = use_certificate(tls, ctx, diag);
  if (err) {
    SSL_CTX_free(ctx);
    return err;
  }
  SSL_CTX_free(tls->ctx); /* connections that are open keep theirs */
  tls->ctx = ctx;
  return SMPL_OK;
}

/* All zero for a file that is not there. */
static stamp_t look_at(const char *path)
{
  struct stat st;
  stamp_t stamp;
  memset(&stamp, 0, sizeof stamp);
  if (stat(path, &st) != 0)
    return stamp;
  stamp.inode = st.st_ino;
  stamp.device = st.st_dev;
  stamp.size = st.st_size;
  stamp.changed = st.st_ctim;
  stamp.modified = st.st_mtim;
  return stamp;
}

static bool notice_change(tls_t *tls)
{
  stamp_t now[2];
  memset(now, 0, sizeof now);
  now[0] = look_at(tls->certificate);
  now[1] = look_at(tls->key);
  bool changed = memcmp(now, tls->stamps, sizeof now) != 0;
  memcpy(tls->stamps, now, sizeof now);
  return changed;
}

int tls_open(const char *certificate, const char *key, tls_t **out, diag_t *diag)
{
  *out = NULL;
  tls_t *tls = calloc(1, sizeof *tls);
  if (tls == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  tls->certificate = strdup(certificate);
  tls->key = strdup(key);
  tls->method = make_method();
  int err = SMPL_OK;
  if (tls->certificate == NULL || tls->key == NULL || tls->method == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (!err) {
    notice_change(tls);
    err = load(tls, diag);
  }
  if (err)
    tls_free(tls);
  else
    *out = tls;
  return err;
}

void tls_free(tls_t *tls)
{
  if (tls == NULL)
    return;
  SSL_CTX_free(tls->ctx);
  BIO_meth_free(tls->method);
  free(tls->certificate);
  free(tls->key);
  free(tls);
}

int tls_refresh(tls_t *tls, diag_t *diag)
{
  bool changed = notice_change(tls), again = tls->again;
  if (!changed && !again)
    return 0;
  int err = load(tls, diag);
  tls->again = err == SMPL_ESYS || err == SMPL_ENOMEM;
  if (tls->again && again && !changed)
    return 0; /* was said */
  return err ? err : 1;
}

static bool same_files(const tls_t *a, const tls_t *b)
{
  return strcmp(a->certificate, b->certificate) == 0 && strcmp(a->key, b->key) == 0 &&
         memcmp(a->stamps, b->stamps, sizeof a->stamps) == 0;
}

static void swap_text(char **a, char **b)
{
  char *text = *a;
  *a = *b;
  *b = text;
}

bool tls_adopt(tls_t *tls, tls_t *other)
{
  bool changed = !same_files(tls, other) || tls->again;
  if (changed) {
    SSL_CTX *ctx = tls->ctx;
    tls->ctx = other->ctx;
    other->ctx = ctx;
    swap_text(&tls->certificate, &other->certificate);
    swap_text(&tls->key, &other->key);
    memcpy(tls->stamps, other->stamps, sizeof tls->stamps);
    memcpy(tls->subject, other->subject, sizeof tls->subject);
    memcpy(tls->until, other->until, sizeof tls->until);
    tls->ends = other->ends;
    tls->again = false;
  }
  tls_free(other);
  return changed;
}

int64_t tls_ends(const tls_t *tls)
{
  return (int64_t)tls->ends;
}

const char *tls_subject(const tls_t *tls)
{
  return tls->subject;
}

const char *tls_until(const tls_t *tls)
{
  return tls->until;
}

int tls_days_left(const tls_t *tls)
{
  int64_t left = (int64_t)tls->ends - (int64_t)(clock_wall_ms() / 1000);
  return (int)(left < 0 ? -1 : left / 86400);
}

/* Links */

tls_link_t *tls_link_new(tls_t *tls)
{
  tls_link_t *link = calloc(1, sizeof *link);
  if (link == NULL)
    return NULL;
  link->owner = tls;
  link->ssl = SSL_new(tls->ctx);
  BIO *bio = link->ssl != NULL ? BIO_new(tls->method) : NULL;
  if (bio == NULL) {
    tls_link_free(link);
    return NULL;
  }
  BIO_set_data(bio, link);
  BIO_set_init(bio, 1);
  SSL_set_bio(link->ssl, bio, bio);
  SSL_set_accept_state(link->ssl);
  return link;
}

void tls_link_free(tls_link_t *link)
{
  if (link == NULL)
    return;
  SSL_free(link->ssl);
  free(link);
}

void tls_feed(tls_link_t *link, const uint8_t *bytes, size_t len)
{
  link->input = bytes;
  link->input_len = len;
}

ssize_t tls_read(tls_link_t *link, uint8_t *buf, size_t cap)
{
  size_t n = 0;
  ERR_clear_error();
  int result = SSL_read_ex(link->ssl, buf, cap, &n);
  if (result == 1)
    return (ssize_t)n;
  int code = SSL_get_error(link->ssl, result);
  if (code == SSL_ERROR_WANT_READ)
    return 0;
  if (code == SSL_ERROR_ZERO_RETURN)
    return SMPL_ECLOSED;
  link->reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return SMPL_EPROTO;
}

int tls_write(tls_link_t *link, const uint8_t *bytes, size_t len)
{
  size_t n = 0;
  ERR_clear_error();
  if (len > TLS_WRITE_MAX || SSL_write_ex(link->ssl, bytes, len, &n) != 1 || n != len) {
    ERR_clear_error();
    return SMPL_EPROTO;
  }
  return SMPL_OK;
}

void tls_bye(tls_link_t *link)
{
  ERR_clear_error();
  if (SSL_is_init_finished(link->ssl))
    SSL_shutdown(link->ssl); /* the peer's own close_notify is not waited for */
  ERR_clear_error();
}

void tls_take_output(tls_link_t *link, const uint8_t **bytes, size_t *len)
{
  *bytes = link->owner->output;
  *len = link->owner->output_len;
  link->owner->output_len = 0;
}

size_t tls_held(const tls_link_t *link)
{
  return SSL_has_pending(link->ssl) ? SSL3_RT_MAX_ENCRYPTED_LENGTH + SSL3_RT_HEADER_LENGTH : 0;
}

bool tls_established(const tls_link_t *link)
{
  return SSL_is_init_finished(link->ssl) != 0;
}

const char *tls_reason(const tls_link_t *link)
{
  return link->reason != NULL ? link->reason : "connection broken";
}
