/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/authkeys.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/ssh/base64.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* What is left of the line that is being read. */
typedef struct line {
  const char *at;
  const char *end;
  const char *where;
  unsigned number;
} line_t;

static bool is_space(char c)
{
  return c == ' ' || c == '\t';
}

static void skip_space(line_t *l)
{
  while (l->at < l->end && is_space(*l->at))
    l->at++;
}

/* The next word, up to a space outside double quotes. */
static int take_word(line_t *l, const char **word, size_t *len, diag_t *diag)
{
  bool quoted = false;
  *word = l->at;
  for (; l->at < l->end && (quoted || !is_space(*l->at)); l->at++) {
    if (*l->at == '\\' && l->at + 1 < l->end && l->at[1] == '"')
      l->at++;
    else if (*l->at == '"')
      quoted = !quoted;
  }
  if (quoted)
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: a quote is opened and not closed", l->where, l->number);
  *len = (size_t)(l->at - *word);
  return SMPL_OK;
}

/* How much of a word a message quotes: what can be a name. The file may be another than was meant, and
 * hold secrets. */
static int shown(const char *s, size_t len)
{
  enum { SHOWN_MAX = 40 };
  size_t n = 0;
  while (n < len && n < SHOWN_MAX &&
         ((text_lower(s[n]) >= 'a' && text_lower(s[n]) <= 'z') || (s[n] >= '0' && s[n] <= '9') ||
          (s[n] != '\0' && strchr("-_.@", s[n]) != NULL)))
    n++;
  return (int)(n + (n < len && s[n] == '='));
}

static bool is_option(const char *name, const char *s, size_t len)
{
  if (strlen(name) != len)
    return false;
  for (size_t i = 0; i < len; i++)
    if (text_lower(s[i]) != name[i])
      return false;
  return true;
}

/* What these take away is never given here. */
static const char *const needless[] = {"restrict", "no-pty", "no-agent-forwarding", "no-x11-forwarding",
                                       "no-user-rc"};

/* The value of NAME=VALUE or NAME="VALUE"; NULL if it is another option. */
static const char *option_value(const char *name, const char *s, size_t len, size_t *value_len)
{
  size_t name_len = strlen(name);
  if (len <= name_len || s[name_len] != '=' || !is_option(name, s, name_len))
    return NULL;
  const char *value = s + name_len + 1;
  *value_len = len - name_len - 1;
  if (*value_len >= 2 && value[0] == '"' && value[*value_len - 1] == '"') {
    value++;
    *value_len -= 2;
  }
  return value;
}

static int digits(const char *s, size_t len, int most, int *out)
{
  uint64_t v;
  int err = text_parse_u64(s, len, (uint64_t)most, &v);
  if (!err)
    *out = (int)v;
  return err;
}

/* "YYYYMMDD", "YYYYMMDDHHMM" or "YYYYMMDDHHMMSS" in the machine's time zone, or with a Z behind it in UTC.
 * A day alone is its beginning, as sshd has it. */
static int parse_expiry(const char *s, size_t len, uint64_t *out)
{
  struct tm tm = {.tm_isdst = -1};
  bool utc = len > 0 && s[len - 1] == 'Z';
  len -= utc;
  if ((len != 8 && len != 12 && len != 14) || digits(s, 4, 9999, &tm.tm_year) ||
      digits(s + 4, 2, 12, &tm.tm_mon) || digits(s + 6, 2, 31, &tm.tm_mday) ||
      (len > 8 && (digits(s + 8, 2, 23, &tm.tm_hour) || digits(s + 10, 2, 59, &tm.tm_min))) ||
      (len > 12 && digits(s + 12, 2, 59, &tm.tm_sec)) || tm.tm_year < 1970 || tm.tm_mon == 0 ||
      tm.tm_mday == 0)
    return SMPL_EINVAL;
  int day = tm.tm_mday, month = --tm.tm_mon;
  tm.tm_year -= 1900;
  time_t t = utc ? timegm(&tm) : mktime(&tm);
  if (t <= 0 || tm.tm_mday != day || tm.tm_mon != month) /* the 31st of June */
    return SMPL_EINVAL;
  *out = (uint64_t)t;
  return SMPL_OK;
}

/* Networks and addresses, with "!" before those that are taken out. Patterns with * and host names are
 * sshd's and not ours. */
static int parse_from(const line_t *l, const char *s, size_t len, authkey_t *key, diag_t *diag)
{
  bool positive = false;
  if (key->from != NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: from= is there twice", l->where, l->number);
  key->from = calloc(AUTHKEYS_FROM_MAX, sizeof *key->from);
  if (key->from == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "%s: out of memory", l->where);
  for (size_t at = 0; at <= len;) {
    const char *comma = memchr(s + at, ',', len - at);
    size_t stop = comma != NULL ? (size_t)(comma - s) : len;
    bool negated = stop > at && s[at] == '!';
    size_t start = at + negated;
    char text[IP_NET_TEXT_MAX + 1];
    if (key->from_count == AUTHKEYS_FROM_MAX)
      return diag_fail(diag, SMPL_ELIMIT, "%s:%u: from= has more than %d networks", l->where, l->number,
                       AUTHKEYS_FROM_MAX);
    authkey_from_t *from = &key->from[key->from_count];
    size_t n = stop - start < sizeof text ? stop - start : sizeof text - 1;
    memcpy(text, s + start, n);
    text[n] = '\0';
    if (ip_net_parse(text, &from->net))
      return diag_fail(diag, SMPL_EINVAL,
                       "%s:%u: from= takes addresses and networks (10.0.0.0/8), got \"%s\"", l->where,
                       l->number, text);
    from->negated = negated;
    positive = positive || !negated;
    key->from_count++;
    at = stop + 1;
  }
  return positive ? SMPL_OK
                  : diag_fail(diag, SMPL_EINVAL,
                              "%s:%u: from= has excluded networks alone: nobody could use the key", l->where,
                              l->number);
}

static int take_option(const line_t *l, const char *s, size_t len, authkey_t *key, diag_t *diag)
{
  for (size_t i = 0; i < COUNT_OF(needless); i++)
    if (is_option(needless[i], s, len))
      return SMPL_OK;
  if (is_option("no-touch-required", s, len)) {
    key->no_touch_required = true;
    return SMPL_OK;
  }
  if (is_option("verify-required", s, len)) {
    key->verify_required = true;
    return SMPL_OK;
  }
  size_t value_len;
  const char *value = option_value("expiry-time", s, len, &value_len);
  uint64_t expires = 0;
  if (value != NULL && parse_expiry(value, value_len, &expires))
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: expiry-time= is YYYYMMDD or YYYYMMDDHHMM[SS], with Z for UTC",
                     l->where, l->number);
  if (value != NULL) { /* the earliest of several, as sshd has it */
    if (key->expires == 0 || expires < key->expires)
      key->expires = expires;
    return SMPL_OK;
  }
  value = option_value("from", s, len, &value_len);
  if (value != NULL)
    return parse_from(l, value, value_len, key, diag);
  if (is_option("cert-authority", s, len))
    return diag_fail(diag, SMPL_EDENIED, "%s:%u: certificates are not accepted (cert-authority)", l->where,
                     l->number);
  if (len > 0 && shown(s, len) == 0) /* a byte order mark, say */
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: expected a key or its options, got neither", l->where,
                     l->number);
  return diag_fail(diag, SMPL_EINVAL,
                   "%s:%u: option \"%.*s\" is not known here; put restrictions into a grant", l->where,
                   l->number, shown(s, len), s);
}

static int take_options(const line_t *l, const char *s, size_t len, authkey_t *key, diag_t *diag)
{
  const char *end = s + len;
  for (const char *start = s; start <= end;) {
    const char *stop = start;
    for (bool quoted = false; stop < end && (quoted || *stop != ','); stop++)
      if (*stop == '"')
        quoted = !quoted;
    int err = take_option(l, start, (size_t)(stop - start), key, diag);
    if (err)
      return err;
    start = stop + 1;
  }
  return SMPL_OK;
}

static bool is_certificate(const char *s, size_t len)
{
  static const char mark[] = "-cert-v0";
  return memmem(s, len, mark, sizeof mark - 1) != NULL;
}

/* Words that can only be kinds of keys, accepted or not. */
static bool looks_like_kind(const char *s, size_t len)
{
  static const char *const starts[] = {"ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-", "rsa-sha2-"};
  for (size_t i = 0; i < COUNT_OF(starts); i++)
    if (len > strlen(starts[i]) && memcmp(s, starts[i], strlen(starts[i])) == 0)
      return true;
  return false;
}

static int take_kind(line_t *l, authkey_t *key, const char **kind, size_t *len, diag_t *diag)
{
  int err = take_word(l, kind, len, diag);
  if (!err && !looks_like_kind(*kind, *len)) {
    err = take_options(l, *kind, *len, key, diag);
    if (err)
      return err;
    skip_space(l);
    err = take_word(l, kind, len, diag);
  }
  if (err)
    return err;
  if (is_certificate(*kind, *len))
    return diag_fail(diag, SMPL_EDENIED, "%s:%u: certificates are not accepted (%.*s)", l->where, l->number,
                     shown(*kind, *len), *kind);
  if (!userkey_kind_known(*kind, *len))
    return diag_fail(diag, SMPL_EDENIED,
                     "%s:%u: expected a key of kind ssh-ed25519, ecdsa-sha2-*, ssh-rsa or sk-*, got \"%.*s\"",
                     l->where, l->number, shown(*kind, *len), *kind);
  return SMPL_OK;
}

static int take_key(line_t *l, authkey_t *key, diag_t *diag)
{
  const char *kind, *body;
  size_t kind_len, body_len, blob_len;
  int err = take_kind(l, key, &kind, &kind_len, diag);
  if (err)
    return err;
  skip_space(l);
  err = take_word(l, &body, &body_len, diag);
  if (err)
    return err;
  uint8_t blob[USERKEY_BLOB_MAX + 3];
  err = base64_decode(body, body_len, blob, sizeof blob, &blob_len);
  if (err == SMPL_ELIMIT)
    return diag_fail(diag, err, "%s:%u: the key has more than %d bytes", l->where, l->number,
                     USERKEY_BLOB_MAX);
  if (err)
    return diag_fail(diag, err, "%s:%u: the key after \"%.*s\" is not base64", l->where, l->number,
                     (int)kind_len, kind);
  diag_t why = {""};
  err = userkey_parse(blob, blob_len, &key->key, &why);
  if (err)
    return diag_fail(diag, err, "%s:%u: %s", l->where, l->number, why.text);
  const char *named = userkey_kind(key->key);
  if (strlen(named) != kind_len || memcmp(named, kind, kind_len) != 0)
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: says \"%.*s\", but the key is of kind %s", l->where,
                     l->number, (int)kind_len, kind, named);
  return SMPL_OK;
}

static int take_line(line_t *l, authkey_t *key, diag_t *diag)
{
  key->line = l->number;
  int err = take_key(l, key, diag);
  if (err)
    return err;
  if (!userkey_is_security_key(key->key) && (key->no_touch_required || key->verify_required))
    return diag_fail(diag, SMPL_EINVAL,
                     "%s:%u: no-touch-required and verify-required belong to sk- keys only", l->where,
                     l->number);
  skip_space(l);
  text_escape(key->comment, sizeof key->comment, l->at, (size_t)(l->end - l->at));
  return SMPL_OK;
}

static void free_key(authkey_t *key)
{
  userkey_free(key->key);
  free(key->from);
}

static bool same_from(const authkey_t *a, const authkey_t *b)
{
  for (size_t i = 0; i < a->from_count && i < b->from_count; i++)
    if (a->from[i].negated != b->from[i].negated || a->from[i].net.prefix != b->from[i].net.prefix ||
        !ip_equal(&a->from[i].net.base, &b->from[i].net.base))
      return false;
  return a->from_count == b->from_count;
}

static bool same_options(const authkey_t *a, const authkey_t *b)
{
  return a->no_touch_required == b->no_touch_required && a->verify_required == b->verify_required &&
         a->expires == b->expires && same_from(a, b);
}

/* Which of the two was meant, nobody can say: the one that lets in less could be it. */
static void judge_twin(const line_t *l, const authkey_t *key, authkey_t *twin, faults_t *faults)
{
  if (same_options(key, twin)) {
    faults_add(faults, FAULT_WARNING, "%s:%u: the key of line %u again; it counts once", l->where, l->number,
               twin->line);
    return;
  }
  twin->disputed = true;
  faults_add(faults, FAULT_ERROR, "%s:%u: the key of line %u again, with other options: neither line counts",
             l->where, l->number, twin->line);
}

static int add_key(const line_t *l, authkeys_t *out, authkey_t *key, faults_t *faults)
{
  size_t len;
  const uint8_t *blob = userkey_blob(key->key, &len);
  for (size_t i = 0; i < out->count; i++)
    if (userkey_is(out->keys[i].key, blob, len)) {
      judge_twin(l, key, &out->keys[i], faults);
      free_key(key);
      return SMPL_OK;
    }
  authkey_t *grown = reallocarray(out->keys, out->count + 1, sizeof *grown);
  if (grown == NULL) {
    free_key(key);
    return SMPL_ENOMEM;
  }
  out->keys = grown;
  out->keys[out->count++] = *key;
  return SMPL_OK;
}

static int read_line(line_t *l, authkey_t *key, diag_t *diag)
{
  if (memchr(l->at, '\0', (size_t)(l->end - l->at)) != NULL)
    return diag_fail(diag, SMPL_EINVAL, "%s:%u: a NUL byte in the line", l->where, l->number);
  if (l->end - l->at > AUTHKEYS_LINE_MAX)
    return diag_fail(diag, SMPL_ELIMIT, "%s:%u: the line is longer than %d bytes", l->where, l->number,
                     AUTHKEYS_LINE_MAX);
  return take_line(l, key, diag);
}

static bool is_empty(line_t *l)
{
  skip_space(l);
  while (l->end > l->at && (is_space(l->end[-1]) || l->end[-1] == '\r'))
    l->end--;
  return l->at == l->end || *l->at == '#';
}

static int add_line(line_t *l, authkeys_t *out, faults_t *faults)
{
  authkey_t key = {0};
  diag_t diag = {""};
  int err = read_line(l, &key, &diag);
  if (!err)
    return add_key(l, out, &key, faults);
  free_key(&key);
  if (err == SMPL_ENOMEM)
    return err;
  faults_add(faults, FAULT_ERROR, "%s (the line counts as absent)", diag.text);
  return SMPL_OK;
}

/* Where no line behind can be one of ours. Secrets are not for the log, line by line. */
static bool ends_here(const line_t *l, const authkeys_t *out, faults_t *faults)
{
  static const char begin[] = "-----BEGIN ";
  if ((size_t)(l->end - l->at) >= sizeof begin - 1 && memcmp(l->at, begin, sizeof begin - 1) == 0) {
    faults_add(
        faults, FAULT_ERROR,
        "%s:%u: begins what is no public key in one line, such as a private key; this line and all behind "
        "it count as absent",
        l->where, l->number);
    return true;
  }
  if (out->count < AUTHKEYS_KEYS_MAX)
    return false;
  faults_add(faults, FAULT_ERROR, "%s:%u: more than %d keys; this line and all behind it count as absent",
             l->where, l->number, AUTHKEYS_KEYS_MAX);
  return true;
}

static void drop_disputed(authkeys_t *keys)
{
  size_t kept = 0;
  for (size_t i = 0; i < keys->count; i++) {
    if (keys->keys[i].disputed)
      free_key(&keys->keys[i]);
    else
      keys->keys[kept++] = keys->keys[i];
  }
  keys->count = kept;
}

int authkeys_parse(const char *where, const char *text, size_t len, authkeys_t *out, faults_t *faults)
{
  *out = (authkeys_t){NULL, 0};
  line_t l = {.where = where};
  for (size_t at = 0; at < len;) {
    const char *nl = memchr(text + at, '\n', len - at);
    size_t stop = nl != NULL ? (size_t)(nl - text) : len;
    l.at = text + at;
    l.end = text + stop;
    l.number++;
    at = stop + 1;
    if (is_empty(&l))
      continue;
    if (ends_here(&l, out, faults))
      break;
    if (add_line(&l, out, faults)) {
      authkeys_free(out);
      return SMPL_ENOMEM;
    }
  }
  drop_disputed(out);
  return SMPL_OK;
}

void authkeys_free(authkeys_t *keys)
{
  for (size_t i = 0; i < keys->count; i++)
    free_key(&keys->keys[i]);
  free(keys->keys);
  *keys = (authkeys_t){NULL, 0};
}

bool authkeys_from(const authkey_t *key, const ip_t *source)
{
  bool listed = key->from_count == 0;
  for (size_t i = 0; i < key->from_count; i++) {
    if (!ip_net_contains(&key->from[i].net, source))
      continue;
    if (key->from[i].negated)
      return false;
    listed = true;
  }
  return listed;
}

const authkey_t *authkeys_find(const authkeys_t *keys, const uint8_t *blob, size_t len)
{
  for (size_t i = 0; i < keys->count; i++)
    if (userkey_is(keys->keys[i].key, blob, len))
      return &keys->keys[i];
  return NULL;
}
