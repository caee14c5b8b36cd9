#include "tunnel/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/error.h"
#include "common/file.h"

enum { ALGORITHMS_MAX = 512 };

typedef struct known {
  ssh_key key;
  bool revoked;
  const char *file; /* borrowed */
  unsigned line;
} known_t;

struct trust {
  char host[TRUST_HOST_MAX];
  char algorithms[ALGORITHMS_MAX];
  known_t keys[TRUST_KEYS_MAX];
  size_t count;
  ssh_key authorities[TRUST_AUTHORITIES_MAX]; /* of @cert-authority lines about this host */
  size_t authority_count;
};

/* Best first. The name of a key's type in known_hosts, and what to ask for when such a key is on file. */
static const struct kind {
  enum ssh_keytypes_e type;
  const char *algorithms;
} kinds[] = {
    {SSH_KEYTYPE_ED25519, "ssh-ed25519"},
    {SSH_KEYTYPE_ECDSA_P256, "ecdsa-sha2-nistp256"},
    {SSH_KEYTYPE_ECDSA_P384, "ecdsa-sha2-nistp384"},
    {SSH_KEYTYPE_ECDSA_P521, "ecdsa-sha2-nistp521"},
    {SSH_KEYTYPE_RSA, "rsa-sha2-512,rsa-sha2-256"},
};

static bool on_file(const trust_t *trust, enum ssh_keytypes_e type)
{
  for (size_t i = 0; i < trust->count; i++) {
    if (!trust->keys[i].revoked && ssh_key_type(trust->keys[i].key) == type)
      return true;
  }
  return false;
}

static void list_algorithms(trust_t *trust)
{
  size_t used = 0;
  for (int known = 1; known >= 0; known--) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
      if (on_file(trust, kinds[i].type) != (known == 1))
        continue;
      int n = snprintf(trust->algorithms + used, sizeof trust->algorithms - used, "%s%s", used ? "," : "",
                       kinds[i].algorithms);
      used += (size_t)n;
    }
  }
}

static bool is_revocation(const char *line)
{
  line += strspn(line, " \t");
  return strncmp(line, "@revoked", 8) == 0 && (line[8] == ' ' || line[8] == '\t');
}

/* Excluding patterns (!host) are not evaluated by libssh. A line with one is left out rather than believed too
 * widely; one that revokes counts for every host rather than for too few. */
static bool settle_patterns(char *hosts, size_t len, bool revoked)
{
  if (!memchr(hosts, '!', len))
    return true;
  memset(hosts, ' ', len);
  hosts[0] = '*';
  return revoked;
}

/* @cert-authority. A line with an excluding pattern is left out, as are those beyond the limit: less is trusted. */
static void note_authority(trust_t *trust, const char *line)
{
  struct ssh_knownhosts_entry *entry = NULL;
  line += strcspn(line, " ");
  line += strspn(line, " ");
  if (trust->authority_count == TRUST_AUTHORITIES_MAX || memchr(line, '!', strcspn(line, " ")) ||
      ssh_known_hosts_parse_line(trust->host, line, &entry) != SSH_OK)
    return;
  trust->authorities[trust->authority_count++] = entry->publickey;
  entry->publickey = NULL;
  ssh_knownhosts_entry_free(entry);
}

/* One line, without its newline. What cannot be understood says nothing. SMPL_ELIMIT: it revokes a key, and
 * there is no room to keep that in mind. */
static int read_line(trust_t *trust, char *line, const char *file, unsigned number, diag_t *diag)
{
  bool revoked = is_revocation(line);
  for (char *c = line; *c; c++) {
    if (*c == '\t' || *c == '\r')
      *c = ' ';
  }
  line += strspn(line, " ");
  if (revoked)
    line += strcspn(line, " ");
  line += strspn(line, " ");
  if (!revoked && strncmp(line, "@cert-authority ", 16) == 0)
    note_authority(trust, line);
  if (*line == '#' || *line == '@' || *line == '\0' || !settle_patterns(line, strcspn(line, " "), revoked))
    return SMPL_OK;
  struct ssh_knownhosts_entry *entry = NULL;
  if (ssh_known_hosts_parse_line(trust->host, line, &entry) != SSH_OK)
    return SMPL_OK;
  bool fits = trust->count < TRUST_KEYS_MAX;
  if (fits) {
    trust->keys[trust->count++] = (known_t){entry->publickey, revoked, file, number};
    entry->publickey = NULL;
  }
  ssh_knownhosts_entry_free(entry);
  if (!fits && revoked)
    return diag_fail(
        diag, SMPL_ELIMIT,
        "%s, line %u: this @revoked key of %s comes after %d other keys and could not be heeded: "
        "remove lines above it that are no longer needed",
        file, number, trust->host, TRUST_KEYS_MAX);
  return SMPL_OK;
}

/* A line that is too long says nothing, unless it revokes: that must not go unheard. */
static int judge_length(const char *line, size_t len, const char *file, unsigned number, diag_t *diag)
{
  if (len < TRUST_LINE_MAX || !is_revocation(line))
    return SMPL_OK;
  return diag_fail(diag, SMPL_ELIMIT,
                   "%s, line %u: a @revoked line of more than %d bytes cannot be heeded: shorten it", file,
                   number, TRUST_LINE_MAX - 1);
}

static int read_file(trust_t *trust, const char *file, diag_t *diag)
{
  char *data = NULL;
  size_t len;
  diag_t inner = {0};
  int err = file_read(file, TRUST_FILE_MAX, &data, &len, &inner);
  if (err == SMPL_ENOENT || strcmp(file, "/dev/null") == 0) /* the usual way to say: none */
    return SMPL_OK;
  if (err)
    return diag_fail(diag, err, "known hosts: %s", inner.text);
  unsigned number = 0;
  for (char *line = data; line < data + len && !err;) {
    char *end = memchr(line, '\n', (size_t)(data + len - line));
    if (!end)
      end = data + len;
    *end = '\0';
    number++;
    err = judge_length(line, (size_t)(end - line), file, number, diag);
    if (!err && end - line < TRUST_LINE_MAX)
      err = read_line(trust, line, file, number, diag);
    line = end + 1;
  }
  free(data);
  return err;
}

int trust_load(const char *const *files, size_t count, const char *host, uint16_t port, trust_t **out,
               diag_t *diag)
{
  *out = NULL;
  trust_t *trust = calloc(1, sizeof *trust);
  if (!trust)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int n = snprintf(trust->host, sizeof trust->host, port == 22 ? "%s" : "[%s]:%u", host, port);
  int err = n > 0 && (size_t)n < sizeof trust->host ? SMPL_OK : SMPL_ELIMIT;
  for (size_t i = 0; !err && i < count; i++)
    err = read_file(trust, files[i], diag);
  if (err) {
    trust_free(trust);
    return err;
  }
  list_algorithms(trust);
  *out = trust;
  return SMPL_OK;
}

void trust_free(trust_t *trust)
{
  if (!trust)
    return;
  for (size_t i = 0; i < trust->count; i++)
    ssh_key_free(trust->keys[i].key);
  for (size_t i = 0; i < trust->authority_count; i++)
    ssh_key_free(trust->authorities[i]);
  free(trust);
}

const char *trust_host(const trust_t *trust)
{
  return trust->host;
}

const char *trust_algorithms(const trust_t *trust)
{
  return trust->algorithms;
}

bool trust_has_authority(const trust_t *trust)
{
  return trust->authority_count > 0;
}

static bool is_key(ssh_key key, const char *base64)
{
  char *text = NULL;
  bool same = ssh_pki_export_pubkey_base64(key, &text) == SSH_OK && strcmp(text, base64) == 0;
  ssh_string_free_char(text);
  return same;
}

bool trust_is_authority(const trust_t *trust, const uint8_t *key, size_t len)
{
  bool found = false;
  char *base64 = len < TRUST_LINE_MAX ? malloc(len / 3 * 4 + 8) : NULL;
  if (!base64 || EVP_EncodeBlock((unsigned char *)base64, key, (int)len) < 0) {
    free(base64);
    return false;
  }
  for (size_t i = 0; i < trust->authority_count && !found; i++)
    found = is_key(trust->authorities[i], base64);
  for (size_t i = 0; i < trust->count && found; i++)
    found = !trust->keys[i].revoked || !is_key(trust->keys[i].key, base64);
  free(base64);
  return found;
}

trust_verdict_t trust_judge(const trust_t *trust, ssh_key key)
{
  trust_verdict_t verdict = TRUST_UNKNOWN;
  for (size_t i = 0; i < trust->count; i++) {
    const known_t *k = &trust->keys[i];
    bool same = ssh_key_cmp(k->key, key, SSH_KEY_CMP_PUBLIC) == 0;
    if (k->revoked) {
      if (same)
        return TRUST_REVOKED; /* stands above whatever else is on file */
      continue;
    }
    if (same)
      verdict = TRUST_KNOWN;
    else if (verdict != TRUST_KNOWN && ssh_key_type(k->key) == ssh_key_type(key))
      verdict = TRUST_CHANGED;
    else if (verdict == TRUST_UNKNOWN)
      verdict = TRUST_OTHER_KIND;
  }
  return verdict;
}

char *trust_fingerprint(ssh_key key, char *buf)
{
  unsigned char *hash = NULL;
  size_t len = 0;
  buf[0] = '\0';
  if (ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) != SSH_OK)
    return buf;
  char *text = ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len);
  if (text)
    snprintf(buf, TRUST_FINGERPRINT_MAX, "%s", text);
  ssh_string_free_char(text);
  ssh_clean_pubkey_hash(&hash);
  return buf;
}

char *trust_describe_known(const trust_t *trust, char *buf, size_t cap)
{
  size_t used = 0;
  buf[0] = '\0';
  for (size_t i = 0; i < trust->count; i++) {
    const known_t *k = &trust->keys[i];
    char print[TRUST_FINGERPRINT_MAX];
    if (k->revoked)
      continue;
    int n = snprintf(buf + used, cap - used, "%s%s %s (%s, line %u)", used ? ", " : "",
                     ssh_key_type_to_char(ssh_key_type(k->key)), trust_fingerprint(k->key, print), k->file,
                     k->line);
    if (n < 0 || (size_t)n >= cap - used)
      break;
    used += (size_t)n;
  }
  return buf;
}

static int write_line(const trust_t *trust, const char *file, const char *type, const char *base64,
                      diag_t *diag)
{
  int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0)
    return diag_fail_errno(diag, "%s", file);
  char line[TRUST_LINE_MAX];
  /* A newline before it, in case the last line has none: an empty line says nothing. */
  struct stat st;
  const char *gap = fstat(fd, &st) == 0 && st.st_size > 0 ? "\n" : "";
  int n = snprintf(line, sizeof line, "%s%s %s %s\n", gap, trust->host, type, base64);
  bool written = n > 0 && (size_t)n < sizeof line && write(fd, line, (size_t)n) == n;
  int rc = written ? SMPL_OK : diag_fail_errno(diag, "%s", file);
  close(fd);
  return rc;
}

int trust_remember(const trust_t *trust, const char *file, ssh_key key, diag_t *diag)
{
  char folder[4096];
  const char *slash = strrchr(file, '/');
  if (slash && slash > file && (size_t)(slash - file) < sizeof folder) {
    memcpy(folder, file, (size_t)(slash - file));
    folder[slash - file] = '\0';
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
      return diag_fail_errno(diag, "%s", folder);
  }
  char *base64 = NULL;
  if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
    return diag_fail(diag, SMPL_ENOMEM, "the host key could not be written");
  int err = write_line(trust, file, ssh_key_type_to_char(ssh_key_type(key)), base64, diag);
  ssh_string_free_char(base64);
  return err;
}
