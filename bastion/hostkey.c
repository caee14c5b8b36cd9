#include "bastion/hostkey.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/base64.h"
#include "bastion/userkey.h"
#include "bastion/wire.h"
#include "common/error.h"
#include "common/file.h"

enum { SEED_LEN = 32, PUBLIC_LEN = 32, BLOCK_LEN = 8, PUBLIC_BLOB_MAX = 64, BODY_LINE = 70 };

static const char begin_line[] = "-----BEGIN OPENSSH PRIVATE KEY-----";
static const char end_line[] = "-----END OPENSSH PRIVATE KEY-----";
static const char magic[] = "openssh-key-v1"; /* with its NUL */
static const char kind_name[] = "ssh-ed25519";

struct hostkey {
  unsigned owners;
  EVP_PKEY *pkey;
  uint8_t public_half[PUBLIC_LEN];
  char fingerprint[USERKEY_FINGERPRINT_MAX];
  char public_text[128];
};

/* Joins the base64 lines between the two armour lines. out has room for len bytes. */
static int unarmour(const char *text, size_t len, char *out, size_t *out_len)
{
  const char *start = memmem(text, len, begin_line, sizeof begin_line - 1);
  if (start == NULL)
    return SMPL_EINVAL;
  start += sizeof begin_line - 1;
  const char *end = memmem(start, len - (size_t)(start - text), end_line, sizeof end_line - 1);
  if (end == NULL)
    return SMPL_EINVAL;
  *out_len = 0;
  for (const char *c = start; c < end; c++)
    if (*c != '\n' && *c != '\r')
      out[(*out_len)++] = *c;
  return SMPL_OK;
}

typedef struct fields {
  wire_slice_t cipher, public_blob, secret;
} fields_t;

static int read_outer(wire_t *w, fields_t *f)
{
  wire_slice_t head, kdf, kdf_options;
  uint32_t count;
  if (wire_bytes(w, sizeof magic, &head) || memcmp(head.data, magic, sizeof magic) != 0 ||
      wire_string(w, &f->cipher) || wire_string(w, &kdf) || wire_string(w, &kdf_options) ||
      wire_u32(w, &count) || count != 1 || wire_string(w, &f->public_blob) || wire_string(w, &f->secret) ||
      wire_left(w) > 0)
    return SMPL_EINVAL;
  return SMPL_OK;
}

/* The part that would be encrypted. *kind is filled even when it is not ours. */
static int read_secret(wire_slice_t secret, wire_slice_t *kind, wire_slice_t *public_half,
                       wire_slice_t *private_half)
{
  wire_t w = wire_of(secret.data, secret.len);
  uint32_t check1, check2;
  wire_slice_t comment;
  *kind = (wire_slice_t){NULL, 0};
  if (wire_u32(&w, &check1) || wire_u32(&w, &check2) || check1 != check2 || wire_string(&w, kind))
    return SMPL_EINVAL;
  if (!wire_is(*kind, kind_name))
    return SMPL_EDENIED;
  if (wire_string(&w, public_half) || public_half->len != PUBLIC_LEN || wire_string(&w, private_half) ||
      private_half->len != SEED_LEN + PUBLIC_LEN || wire_string(&w, &comment) || wire_left(&w) >= 256)
    return SMPL_EINVAL;
  uint8_t padding;
  for (uint8_t i = 1; wire_left(&w) > 0; i++)
    if (wire_u8(&w, &padding) || padding != i)
      return SMPL_EINVAL;
  return SMPL_OK;
}

static size_t public_blob(const uint8_t *public_half, uint8_t *out)
{
  wire_out_t w = wire_into(out, PUBLIC_BLOB_MAX);
  wire_put_text(&w, kind_name);
  wire_put_string(&w, public_half, PUBLIC_LEN);
  return w.len;
}

/* Both halves must belong together: a signature by the one must verify with the other. */
static int take_halves(hostkey_t *key, wire_slice_t public_half, wire_slice_t private_half)
{
  uint8_t derived[PUBLIC_LEN];
  size_t derived_len = sizeof derived;
  key->pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, private_half.data, SEED_LEN);
  if (key->pkey == NULL || EVP_PKEY_get_raw_public_key(key->pkey, derived, &derived_len) != 1 ||
      memcmp(derived, public_half.data, PUBLIC_LEN) != 0 ||
      memcmp(private_half.data + SEED_LEN, public_half.data, PUBLIC_LEN) != 0)
    return SMPL_EINVAL;
  memcpy(key->public_half, derived, sizeof derived);
  uint8_t blob[PUBLIC_BLOB_MAX];
  char text[BASE64_TEXT(PUBLIC_BLOB_MAX)];
  size_t len = public_blob(derived, blob);
  userkey_fingerprint(blob, len, key->fingerprint);
  base64_encode(blob, len, text);
  snprintf(key->public_text, sizeof key->public_text, "%s %s", kind_name, text);
  return SMPL_OK;
}

static int read_binary(hostkey_t *key, const char *where, const uint8_t *data, size_t len, diag_t *diag)
{
  wire_t w = wire_of(data, len);
  fields_t f;
  if (read_outer(&w, &f))
    return diag_fail(diag, SMPL_EINVAL, "%s: not a whole OpenSSH private key", where);
  if (!wire_is(f.cipher, "none"))
    return diag_fail(
        diag, SMPL_EDENIED,
        "%s: the host key has a passphrase; the bastion must start without one (ssh-keygen -p -f %s)", where,
        where);
  wire_slice_t kind, public_half, private_half;
  int err = read_secret(f.secret, &kind, &public_half, &private_half);
  if (err == SMPL_EDENIED)
    return diag_fail(diag, err,
                     "%s: a host key must be of kind ssh-ed25519, not %.*s (ssh-keygen -t ed25519)", where,
                     (int)(kind.len < 64 ? kind.len : 64), (const char *)kind.data);
  if (!err)
    err = take_halves(key, public_half, private_half);
  uint8_t blob[PUBLIC_BLOB_MAX];
  if (!err) {
    size_t blob_len = public_blob(key->public_half, blob);
    if (f.public_blob.len != blob_len || memcmp(f.public_blob.data, blob, blob_len) != 0)
      err = SMPL_EINVAL;
  }
  return err ? diag_fail(diag, SMPL_EINVAL, "%s: the private key is damaged", where) : SMPL_OK;
}

int hostkey_parse(const char *where, const char *text, size_t len, hostkey_t **out, diag_t *diag)
{
  *out = NULL;
  if (len > HOSTKEY_FILE_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "%s: more than %d bytes", where, HOSTKEY_FILE_MAX);
  hostkey_t *key = calloc(1, sizeof *key);
  char *joined = malloc(len + 1);
  uint8_t *binary = malloc(len + 1);
  size_t joined_len = 0, binary_len = 0;
  int err = SMPL_OK;
  if (key == NULL || joined == NULL || binary == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", where);
  else if (unarmour(text, len, joined, &joined_len))
    err = diag_fail(diag, SMPL_EINVAL, "%s: not an OpenSSH private key (expected \"%s\")", where, begin_line);
  else if (base64_decode(joined, joined_len, binary, len, &binary_len))
    err = diag_fail(diag, SMPL_EINVAL, "%s: the private key is not base64", where);
  else
    err = read_binary(key, where, binary, binary_len, diag);
  if (joined != NULL)
    explicit_bzero(joined, len + 1);
  if (binary != NULL)
    explicit_bzero(binary, len + 1);
  free(joined);
  free(binary);
  if (key != NULL)
    key->owners = 1;
  if (err) {
    hostkey_free(key);
    return err;
  }
  *out = key;
  return SMPL_OK;
}

hostkey_t *hostkey_share(hostkey_t *key)
{
  key->owners++;
  return key;
}

int hostkey_load(const char *path, hostkey_t **out, diag_t *diag)
{
  char *text;
  size_t len;
  *out = NULL;
  int err = file_read_secret(path, HOSTKEY_FILE_MAX, &text, &len, diag);
  if (err)
    return err;
  err = hostkey_parse(path, text, len, out, diag);
  explicit_bzero(text, len);
  free(text);
  return err;
}

void hostkey_free(hostkey_t *key)
{
  if (key == NULL || --key->owners > 0)
    return;
  EVP_PKEY_free(key->pkey); /* OpenSSL cleanses a private key's memory */
  free(key);
}

const char *hostkey_fingerprint(const hostkey_t *key)
{
  return key->fingerprint;
}

const char *hostkey_public(const hostkey_t *key)
{
  return key->public_text;
}

static void put_hollow_secret(wire_out_t *w, const hostkey_t *key)
{
  uint8_t halves[SEED_LEN + PUBLIC_LEN] = {0};
  memcpy(halves + SEED_LEN, key->public_half, PUBLIC_LEN);
  wire_put_u32(w, 0); /* the two check numbers are equal in a key that was not decrypted wrongly */
  wire_put_u32(w, 0);
  wire_put_text(w, kind_name);
  wire_put_string(w, key->public_half, PUBLIC_LEN);
  wire_put_string(w, halves, sizeof halves);
  wire_put_text(w, "");
  for (uint8_t i = 1; w->len % BLOCK_LEN != 0; i++)
    wire_put_u8(w, i);
}

int hostkey_hollow(const hostkey_t *key, char *out)
{
  uint8_t secret[256], binary[512], blob[PUBLIC_BLOB_MAX];
  wire_out_t s = wire_into(secret, sizeof secret);
  put_hollow_secret(&s, key);
  wire_out_t w = wire_into(binary, sizeof binary);
  wire_put_bytes(&w, magic, sizeof magic);
  wire_put_text(&w, "none");
  wire_put_text(&w, "none");
  wire_put_text(&w, "");
  wire_put_u32(&w, 1);
  wire_put_string(&w, blob, public_blob(key->public_half, blob));
  wire_put_string(&w, secret, s.len);
  if (s.full || w.full)
    return SMPL_ELIMIT;
  char body[BASE64_TEXT(sizeof binary)];
  base64_encode(binary, w.len, body);
  size_t used = (size_t)snprintf(out, MSG_HOST_KEY_MAX, "%s\n", begin_line);
  for (size_t at = 0; at < strlen(body); at += BODY_LINE)
    used += (size_t)snprintf(out + used, MSG_HOST_KEY_MAX - used, "%.*s\n", BODY_LINE, body + at);
  snprintf(out + used, MSG_HOST_KEY_MAX - used, "%s\n", end_line);
  return SMPL_OK;
}

int hostkey_sign(const hostkey_t *key, const uint8_t *data, size_t len, uint8_t *signature)
{
  size_t signature_len = HOSTKEY_SIGNATURE_LEN;
  EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool ok = ctx != NULL && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->pkey) == 1 &&
            EVP_DigestSign(ctx, signature, &signature_len, data, len) == 1 &&
            signature_len == HOSTKEY_SIGNATURE_LEN;
  EVP_MD_CTX_free(ctx);
  return ok ? SMPL_OK : SMPL_ESYS;
}
