/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/libssh.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/text.h"

static const char package[] = "libssh-4";
static const char status_path[] = "/var/lib/dpkg/status";
/* Images without dpkg keep a file a package there. */
static const char status_part[] = "/var/lib/dpkg/status.d/libssh-4";

static const conf_field_t fields[] = {
    {"accept_vulnerable", CONF_ONE, offsetof(libssh_conf_t, accept_vulnerable), .scalar = &conf_bool,
     .doc = "whether to start on a libssh that has known holes"},
};
const conf_map_t libssh_conf_map = {"libssh", sizeof(libssh_conf_t), fields, COUNT_OF(fields), NULL};

/* ---- the order of versions ---- */

/* A tilde before the end, the end before letters, letters before the rest. */
static int rank(char c)
{
  if (c == '~')
    return -1;
  if (c == '\0' || isdigit((unsigned char)c))
    return 0;
  return isalpha((unsigned char)c) ? (unsigned char)c : (unsigned char)c + 256;
}

/* Parts of upstream's version or of the revision: what is no digit by rank, then digits by value, and again.
 */
static int compare_parts(const char *a, size_t a_len, const char *b, size_t b_len)
{
  size_t i = 0, j = 0;
  while (i < a_len || j < b_len) {
    while ((i < a_len && !isdigit((unsigned char)a[i])) || (j < b_len && !isdigit((unsigned char)b[j]))) {
      int x = rank(i < a_len ? a[i] : '\0'), y = rank(j < b_len ? b[j] : '\0');
      if (x != y)
        return x < y ? -1 : 1;
      i++;
      j++;
    }
    while (i < a_len && a[i] == '0')
      i++;
    while (j < b_len && b[j] == '0')
      j++;
    int first = 0;
    while (i < a_len && isdigit((unsigned char)a[i]) && j < b_len && isdigit((unsigned char)b[j])) {
      if (first == 0)
        first = a[i] - b[j];
      i++;
      j++;
    }
    if (i < a_len && isdigit((unsigned char)a[i]))
      return 1;
    if (j < b_len && isdigit((unsigned char)b[j]))
      return -1;
    if (first != 0)
      return first < 0 ? -1 : 1;
  }
  return 0;
}

typedef struct version {
  const char *epoch, *upstream, *revision;
  size_t epoch_len, upstream_len, revision_len;
} version_t;

static version_t split(const char *text)
{
  const char *colon = strchr(text, ':');
  version_t v = {.epoch = text, .epoch_len = colon != NULL ? (size_t)(colon - text) : 0};
  v.upstream = colon != NULL ? colon + 1 : text;
  const char *dash = strrchr(v.upstream, '-');
  v.upstream_len = dash != NULL ? (size_t)(dash - v.upstream) : strlen(v.upstream);
  v.revision = dash != NULL ? dash + 1 : "";
  v.revision_len = strlen(v.revision);
  return v;
}

int libssh_compare_versions(const char *a, const char *b)
{
  version_t x = split(a), y = split(b);
  int order = compare_parts(x.epoch, x.epoch_len, y.epoch, y.epoch_len);
  if (order == 0)
    order = compare_parts(x.upstream, x.upstream_len, y.upstream, y.upstream_len);
  return order != 0 ? order : compare_parts(x.revision, x.revision_len, y.revision, y.revision_len);
}

/* ---- which have holes ---- */

/* Ordered. From `from` on, below `upstream` (of Debian: below `debian`), there are known holes. 0.10 has no
 * upstream version without them: Debian mends it by itself. */
static const struct {
  const char *from, *debian, *upstream;
} lines[] = {
    {"0", "0.10.6-0+deb12u3", "0.11.5"},
    {"0.11", "0.11.5-0+deb13u1", "0.11.5"},
    {"0.12", "0.12.2", "0.12.2"},
};

/* Whether dpkg's version is of this upstream version: "0.10.6" of "0.10.6-0+deb12u3". */
static bool is_of(const char *recorded, const char *loaded)
{
  version_t v = split(recorded);
  size_t len = strlen(loaded);
  return v.upstream_len >= len && strncmp(v.upstream, loaded, len) == 0 &&
         (v.upstream_len == len || !(isdigit((unsigned char)v.upstream[len]) || v.upstream[len] == '.'));
}

libssh_verdict_t libssh_judge(const char *loaded, const char *recorded, const char **fixed)
{
  *fixed = "";
  if (recorded != NULL && loaded != NULL && !is_of(recorded, loaded))
    recorded = NULL;
  const char *version = recorded != NULL ? recorded : loaded;
  if (version == NULL)
    return LIBSSH_UNKNOWN;
  size_t line = 0;
  while (line + 1 < COUNT_OF(lines) && libssh_compare_versions(version, lines[line + 1].from) >= 0)
    line++;
  *fixed = recorded != NULL ? lines[line].debian : lines[line].upstream;
  if (libssh_compare_versions(version, *fixed) < 0)
    return LIBSSH_VULNERABLE;
  return recorded != NULL ? LIBSSH_FINE : LIBSSH_UNKNOWN;
}

/* ---- what dpkg records ---- */

/* All of a file and a NUL. *text is the caller's. SMPL_ENOENT, SMPL_ESYS, SMPL_ELIMIT, SMPL_ENOMEM. */
static int read_whole(const char *path, char **text, size_t *len)
{
  struct stat st;
  size_t have = 0;
  ssize_t n = 1;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return errno == ENOENT ? SMPL_ENOENT : SMPL_ESYS;
  int err = fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ? SMPL_ESYS
            : st.st_size > LIBSSH_DPKG_BYTES_MAX       ? SMPL_ELIMIT
                                                       : SMPL_OK;
  *text = err ? NULL : malloc((size_t)st.st_size + 1);
  if (!err && *text == NULL)
    err = SMPL_ENOMEM;
  while (!err && n > 0 && have < (size_t)st.st_size) {
    n = read(fd, *text + have, (size_t)st.st_size - have);
    have += n > 0 ? (size_t)n : 0;
  }
  close(fd);
  if (!err && n < 0)
    err = SMPL_ESYS;
  if (err) {
    free(*text);
    *text = NULL;
    return err;
  }
  (*text)[have] = '\0';
  *len = have;
  return SMPL_OK;
}

typedef struct paragraph {
  bool ours, absent; /* absent: removed, or not whole */
  char version[LIBSSH_VERSION_MAX];
} paragraph_t;

/* The value of a field, if the line is that field's; *len is the line's and becomes the value's. */
static const char *value_of(const char *line, size_t *len, const char *field)
{
  size_t name = strlen(field);
  if (*len <= name || strncmp(line, field, name) != 0 || line[name] != ':')
    return NULL;
  const char *value = line + name + 1, *end = line + *len;
  while (value < end && (*value == ' ' || *value == '\t'))
    value++;
  *len = (size_t)(end - value);
  return value;
}

static void take_line(paragraph_t *p, const char *line, size_t len, const char *name)
{
  const char *value;
  if ((value = value_of(line, &len, "Package")) != NULL)
    p->ours = len == strlen(name) && memcmp(value, name, len) == 0;
  else if ((value = value_of(line, &len, "Status")) !=
           NULL) /* "install ok installed"; a file of one package has none */
    p->absent = memmem(value, len, " installed", 10) == NULL;
  else if ((value = value_of(line, &len, "Version")) != NULL)
    snprintf(p->version, sizeof p->version, "%.*s", len < sizeof p->version ? (int)len : 0, value);
}

/* The paragraph at start; returns its end. */
static const char *take_paragraph(paragraph_t *p, const char *start, const char *end, const char *name)
{
  *p = (paragraph_t){0};
  while (start < end && *start != '\n') {
    const char *line_end = memchr(start, '\n', (size_t)(end - start));
    line_end = line_end != NULL ? line_end : end;
    if (*start != ' ' && *start != '\t')
      take_line(p, start, (size_t)(line_end - start), name);
    start = line_end < end ? line_end + 1 : end;
  }
  return start;
}

/* Where the paragraph begins that has this byte. */
static const char *paragraph_start(const char *text, const char *at)
{
  while (at > text && !(at[-1] == '\n' && (at - 1 == text || at[-2] == '\n')))
    at--;
  return at;
}

/* Each start of a program that speaks SSH comes here: paragraphs that do not have the name are passed over.
 */
static int find_version(const char *text, size_t len, const char *name, char *version, size_t cap)
{
  const char *at = text, *end = text + len;
  bool found = false;
  while ((at = memmem(at, (size_t)(end - at), name, strlen(name))) != NULL) {
    paragraph_t p;
    at = take_paragraph(&p, paragraph_start(text, at), end, name);
    bool lower = !found || libssh_compare_versions(p.version, version) < 0;
    if (p.ours && !p.absent && p.version[0] != '\0' && lower)
      found = text_copy(version, cap, p.version) == SMPL_OK;
  }
  return found ? SMPL_OK : SMPL_ENOENT;
}

int libssh_recorded(const char *path, const char *name, char *version, size_t cap)
{
  char *text;
  size_t len;
  int err = read_whole(path, &text, &len);
  if (err)
    return err;
  err = find_version(text, len, name, version, cap);
  free(text);
  return err;
}

/* ---- at start ---- */

int libssh_check(const char *loaded, const libssh_conf_t *conf, const char *file, char *warning, diag_t *diag)
{
  char version[LIBSSH_VERSION_MAX] = "";
  const char *fixed;
  int err = libssh_recorded(status_path, package, version, sizeof version);
  if (err)
    err = libssh_recorded(status_part, package, version, sizeof version);
  const char *recorded = err ? NULL : version;
  libssh_verdict_t verdict = libssh_judge(loaded, recorded, &fixed);
  const char *shown = recorded != NULL && (loaded == NULL || is_of(recorded, loaded)) ? recorded
                      : loaded != NULL                                                ? loaded
                                       : "of an unknown version";
  warning[0] = '\0';
  if (verdict == LIBSSH_VULNERABLE && !conf->accept_vulnerable)
    return diag_fail(diag, SMPL_EDENIED,
                     "libssh %s has known holes, %s has not: upgrade the package %s, or accept them with "
                     "libssh: {accept_vulnerable: true} in %s",
                     shown, fixed, package, file);
  if (verdict == LIBSSH_VULNERABLE)
    snprintf(warning, LIBSSH_WARNING_MAX, "libssh %s has known holes, %s has not; accepted by %s", shown,
             fixed, file);
  else if (verdict == LIBSSH_UNKNOWN)
    snprintf(warning, LIBSSH_WARNING_MAX,
             "libssh %s: dpkg knows nothing of it, so whether its holes are mended is not known", shown);
  return SMPL_OK;
}
