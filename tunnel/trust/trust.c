/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/trust/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/ssh/base64.h"

enum { ALGORITHMS_MAX = 512 };

typedef struct known {
  ssh_key key;
  bool revoked;
  const char *file; /* borrowed */
  unsigned line;
} known_t;

/* What lines say that name the host in one way. */
typedef struct lines {
  char host[TRUST_HOST_MAX]; /* as it has to be written there; "": no line counts */
  known_t keys[TRUST_KEYS_MAX];
  size_t count;
  ssh_key authorities[TRUST_AUTHORITIES_MAX]; /* of @cert-authority lines */
  size_t authority_count;
} lines_t;

struct trust {
  char algorithms[ALGORITHMS_MAX];
  lines_t own;   /* "[host]:port"; "host" at port 22 */
  lines_t plain; /* "host", at another port: where no line of the port's has a key, these count */
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

static bool has_keys(const lines_t *lines)
{
  for (size_t i = 0; i < lines->count; i++) {
    if (!lines->keys[i].revoked)
      return true;
  }
  return false;
}

static bool on_file(const trust_t *trust, enum ssh_keytypes_e type)
{
  const lines_t *lines = has_keys(&trust->own) ? &trust->own : &trust->plain;
  for (size_t i = 0; i < lines->count; i++) {
    if (!lines->keys[i].revoked && ssh_key_type(lines->keys[i].key) == type)
      return true;
  }
  return false;
}

static void list_algorithms(trust_t *trust)
{
  size_t used = 0;
  trust->algorithms[0] = '\0';
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

/* Excluding patterns (!host) are not evaluated by libssh. A line with one is left out rather than believed
 * too widely; one that revokes counts for every host rather than for too few. */
static bool settle_patterns(char *hosts, size_t len, bool revoked)
{
  if (!memchr(hosts, '!', len))
    return true;
  memset(hosts, ' ', len);
  hosts[0] = '*';
  return revoked;
}

/* libssh takes "[host]:22" for host as well. It says nothing of other ports: such patterns are made to match
 * nothing. */
static void drop_ports(char *hosts)
{
  for (char *at = hosts; *at && *at != ' '; at += strcspn(at, ", "), at += *at == ',') {
    for (size_t i = 0, len = *at == '[' ? strcspn(at, ", ") : 0; i < len; i++)
      at[i] = '-';
  }
}

/* @cert-authority. A line with an excluding pattern is left out, as are those beyond the limit: less is
 * trusted. */
static void note_authority(lines_t *lines, const char *line)
{
  struct ssh_knownhosts_entry *entry = NULL;
  if (lines->authority_count == TRUST_AUTHORITIES_MAX || memchr(line, '!', strcspn(line, " ")) ||
      ssh_known_hosts_parse_line(lines->host, line, &entry) != SSH_OK)
    return;
  lines->authorities[lines->authority_count++] = entry->publickey;
  entry->publickey = NULL;
  ssh_knownhosts_entry_free(entry);
}

/* SMPL_ELIMIT: it revokes a key, and there is no room to keep that in mind. */
static int note_key(lines_t *lines, const char *line, known_t known, diag_t *diag)
{
  struct ssh_knownhosts_entry *entry = NULL;
  if (ssh_known_hosts_parse_line(lines->host, line, &entry) != SSH_OK)
    return SMPL_OK;
  bool fits = lines->count < TRUST_KEYS_MAX;
  if (fits) {
    known.key = entry->publickey;
    lines->keys[lines->count++] = known;
    entry->publickey = NULL;
  }
  ssh_knownhosts_entry_free(entry);
  if (!fits && known.revoked)
    return diag_fail(
        diag, SMPL_ELIMIT,
        "%s, line %u: this @revoked key of %s comes after %d other keys and could not be heeded: "
        "remove lines above it that are no longer needed",
        known.file, known.line, lines->host, TRUST_KEYS_MAX);
  return SMPL_OK;
}

/* One line, without its newline. What cannot be understood says nothing. SMPL_ELIMIT as above. */
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
  lines_t *const both[] = {&trust->own, &trust->plain};
  bool authority = !revoked && strncmp(line, "@cert-authority ", 16) == 0;
  if (authority)
    line += 16 + strspn(line + 16, " ");
  bool key = !authority && *line != '#' && *line != '@' && *line != '\0' &&
             settle_patterns(line, strcspn(line, " "), revoked);
  int err = SMPL_OK;
  for (size_t i = 0; i < 2 && !err; i++) {
    if (!both[i]->host[0])
      continue;
    if (i > 0)
      drop_ports(line);
    if (authority)
      note_authority(both[i], line);
    else if (key)
      err = note_key(both[i], line, (known_t){NULL, revoked, file, number}, diag);
  }
  return err;
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

typedef struct reader {
  char line[TRUST_LINE_MAX + 1]; /* its beginning, when it is longer */
  size_t len;                    /* of the whole line, without its newline */
  size_t bytes;                  /* read so far */
} reader_t;

/* The next line; false at the end. */
static bool next_line(FILE *in, reader_t *r)
{
  int c = EOF;
  r->len = 0;
  while (r->bytes <= TRUST_FILE_MAX && (c = getc_unlocked(in)) != EOF && c != '\n') {
    if (r->len < TRUST_LINE_MAX)
      r->line[r->len] = (char)c;
    r->len++;
    r->bytes++;
  }
  r->bytes++;
  r->line[r->len < TRUST_LINE_MAX ? r->len : TRUST_LINE_MAX] = '\0';
  return c == '\n' || r->len > 0;
}

static int read_lines(trust_t *trust, FILE *in, const char *file, diag_t *diag)
{
  reader_t *r = calloc(1, sizeof *r);
  int err = r ? SMPL_OK : diag_fail(diag, SMPL_ENOMEM, "out of memory");
  for (unsigned number = 1; !err && next_line(in, r); number++) {
    err = judge_length(r->line, r->len, file, number, diag);
    if (!err && r->len < TRUST_LINE_MAX)
      err = read_line(trust, r->line, file, number, diag);
  }
  if (!err && r->bytes > TRUST_FILE_MAX && !feof(in))
    err = diag_fail(diag, SMPL_ELIMIT, "known hosts: %s: more than %d MiB", file, TRUST_FILE_MAX >> 20);
  if (!err && ferror(in))
    err = diag_fail_errno(diag, "known hosts: %s", file);
  free(r);
  return err;
}

static int read_file(trust_t *trust, const char *file, diag_t *diag)
{
  FILE *in = fopen(file, "re");
  if (!in && errno == ENOENT)
    return SMPL_OK;
  if (!in)
    return diag_fail_errno(diag, "known hosts: %s", file);
  int err = read_lines(trust, in, file, diag);
  fclose(in);
  return err;
}

/* As ssh writes and looks for it: in lower case, with the port unless it is the usual one. */
static int name_host(lines_t *lines, const char *host, uint16_t port)
{
  int n = snprintf(lines->host, sizeof lines->host, port == 22 ? "%s" : "[%s]:%u", host, port);
  for (char *c = lines->host; *c; c++)
    *c = text_lower(*c);
  return n > 0 && (size_t)n < sizeof lines->host ? SMPL_OK : SMPL_ELIMIT;
}

int trust_load(const char *const *files, size_t count, const char *host, uint16_t port, trust_t **out,
               diag_t *diag)
{
  *out = NULL;
  trust_t *trust = calloc(1, sizeof *trust);
  if (!trust)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = name_host(&trust->own, host, port);
  if (!err && port != 22)
    err = name_host(&trust->plain, host, 22);
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

int trust_add(trust_t *trust, char *text, const char *source, diag_t *diag)
{
  FILE *in = text[0] ? fmemopen(text, strlen(text), "r") : NULL;
  if (!in)
    return text[0] ? diag_fail(diag, SMPL_ENOMEM, "out of memory") : SMPL_OK;
  int err = read_lines(trust, in, source, diag);
  fclose(in);
  list_algorithms(trust);
  return err;
}

static void free_lines(lines_t *lines)
{
  for (size_t i = 0; i < lines->count; i++)
    ssh_key_free(lines->keys[i].key);
  for (size_t i = 0; i < lines->authority_count; i++)
    ssh_key_free(lines->authorities[i]);
}

void trust_free(trust_t *trust)
{
  if (!trust)
    return;
  free_lines(&trust->own);
  free_lines(&trust->plain);
  free(trust);
}

const char *trust_host(const trust_t *trust)
{
  return trust->own.host;
}

const char *trust_algorithms(const trust_t *trust)
{
  return trust->algorithms;
}

static bool in_list(const char *list, const char *name, size_t len)
{
  for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
    if (strcspn(at, ",") == len && memcmp(at, name, len) == 0)
      return true;
  }
  return false;
}

/* Whether a key is on file with which this algorithm signs. */
static bool is_of_known(const trust_t *trust, const char *name, size_t len)
{
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    if (in_list(kinds[i].algorithms, name, len))
      return on_file(trust, kinds[i].type);
  }
  return false;
}

char *trust_choose(const trust_t *trust, const char *wanted, char *buf, size_t cap)
{
  size_t used = 0;
  buf[0] = '\0';
  for (int known = 1; known >= 0; known--) {
    for (const char *at = wanted; *at; at += strcspn(at, ","), at += *at == ',') {
      size_t len = strcspn(at, ",");
      if (!in_list(trust->algorithms, at, len) || is_of_known(trust, at, len) != (known == 1) ||
          used + len + 2 > cap)
        continue;
      used += (size_t)snprintf(buf + used, cap - used, "%s%.*s", used ? "," : "", (int)len, at);
    }
  }
  return buf;
}

bool trust_has_authority(const trust_t *trust)
{
  return trust->own.authority_count + trust->plain.authority_count > 0;
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
  const lines_t *const both[] = {&trust->own, &trust->plain};
  bool found = false, revoked = false;
  char *base64 = len < TRUST_LINE_MAX ? malloc(BASE64_TEXT(len)) : NULL;
  if (!base64)
    return false;
  base64_encode(key, len, base64);
  for (size_t k = 0; k < 2; k++) {
    for (size_t i = 0; i < both[k]->authority_count && !found; i++)
      found = is_key(both[k]->authorities[i], base64);
    for (size_t i = 0; i < both[k]->count && !revoked; i++)
      revoked = both[k]->keys[i].revoked && is_key(both[k]->keys[i].key, base64);
  }
  free(base64);
  return found && !revoked;
}

static trust_verdict_t judge_lines(const lines_t *lines, ssh_key key)
{
  trust_verdict_t verdict = TRUST_UNKNOWN;
  for (size_t i = 0; i < lines->count; i++) {
    const known_t *k = &lines->keys[i];
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

/* As ssh: a line without a port vouches where nothing is on file for the port, and says nothing else. Unlike
 * ssh, what it revokes is revoked for every port. */
trust_verdict_t trust_judge(const trust_t *trust, ssh_key key)
{
  trust_verdict_t own = judge_lines(&trust->own, key), plain = judge_lines(&trust->plain, key);
  if (plain == TRUST_REVOKED || (own == TRUST_UNKNOWN && plain == TRUST_KNOWN))
    return plain;
  return own;
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
  for (size_t i = 0; i < trust->own.count; i++) {
    const known_t *k = &trust->own.keys[i];
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
  int n = snprintf(line, sizeof line, "%s%s %s %s\n", gap, trust->own.host, type, base64);
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
