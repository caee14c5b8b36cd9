/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/sqlite/revocation_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/store/sqlite/account_store.h"
#include "app/store/sqlite/data_file.h"
#include "app/store/sqlite/identity_store.h"
#include "app/store/sqlite/revocation_store.sql.h"
#include "app/store/sqlite/storage_db.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

#define HEADER "smpl-app revocations of database "

enum {
  HEADER_LEN = sizeof HEADER - 1 + UUID_TEXT_MAX, /* with its newline, which takes the place of the NUL */
  TAIL_BYTES = 4096,                              /* of the file's end, where its last line is looked for */
};

struct revocations {
  char *path;   /* NULL: no file */
  bool failing; /* writer thread: said in the log */
  bool more;    /* the same: the last batch was a full one */
  int64_t last; /* the last N in the file when it was opened: later rows are not in it */
};

static const char *const kinds[] = {[REVOCATION_KEY] = "key", [REVOCATION_ACCOUNT] = "account"};

/* ---- lines ---- */

typedef struct line {
  int64_t n, at;
  revocation_kind_t kind;
  char id[UUID_TEXT_MAX];
} line_t;

/* The word at *at, which ends with `end` (a space, or the line's NUL); *at moves behind it, or to the NUL. */
static bool take_word(const char **at, char end, char *out, size_t cap)
{
  size_t len = strcspn(*at, " ");
  if (len == 0 || len >= cap || (*at)[len] != end)
    return false;
  memcpy(out, *at, len);
  out[len] = '\0';
  *at += len + (end != '\0');
  return true;
}

/* False: torn, or none of ours. text has no newline. */
static bool parse_line(const char *text, line_t *out)
{
  char n[20], when[CLOCK_ISO_MAX], kind[16], id[UUID_TEXT_MAX];
  uint64_t number = 0, at = 0;
  if (!take_word(&text, ' ', n, sizeof n) || !take_word(&text, ' ', when, sizeof when) ||
      !take_word(&text, ' ', kind, sizeof kind) || !take_word(&text, '\0', id, sizeof id))
    return false;
  if (text_parse_u64(n, strlen(n), INT64_MAX, &number) || number == 0 || time_parse(when, &at) ||
      !uuid_valid(id))
    return false;
  *out = (line_t){.n = (int64_t)number, .at = (int64_t)at};
  memcpy(out->id, id, sizeof out->id);
  out->kind = strcmp(kind, kinds[REVOCATION_KEY]) == 0 ? REVOCATION_KEY : REVOCATION_ACCOUNT;
  return strcmp(kind, kinds[out->kind]) == 0;
}

/* ---- the file, opened by the service ---- */

static int read_last(int fd, off_t size, int64_t *last)
{
  char tail[TAIL_BYTES + 1];
  off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
  ssize_t n = pread(fd, tail, TAIL_BYTES, from);
  if (n < 0)
    return SMPL_ESYS;
  tail[n] = '\0';
  *last = 0;
  for (char *at = tail, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
    line_t line;
    *end = '\0';
    if (parse_line(at, &line) && line.n > *last)
      *last = line.n;
  }
  return SMPL_OK;
}

static int begin_file(int fd, const char *path, const char *database, diag_t *diag)
{
  char text[HEADER_LEN + 1];
  snprintf(text, sizeof text, HEADER "%s\n", database);
  if (ftruncate(fd, 0) != 0 || write(fd, text, HEADER_LEN) != HEADER_LEN || fsync(fd) != 0)
    return diag_fail_errno(diag, "revocations: %s", path);
  return data_file_sync_folder(path, diag);
}

/* Under flock: two instances may start at once. A file shorter than its header is one that a crash left at
 * its beginning. */
static int open_locked(int fd, const char *path, const char *database, int64_t *last, diag_t *diag)
{
  char head[HEADER_LEN + 1];
  struct stat st;
  if (fstat(fd, &st) != 0)
    return diag_fail_errno(diag, "revocations: %s", path);
  if (!S_ISREG(st.st_mode) || (st.st_mode & 022) != 0)
    return diag_fail(diag, SMPL_EINVAL, "revocations: %s: %s", path,
                     S_ISREG(st.st_mode) ? "others can write it" : "not a regular file");
  ssize_t n = pread(fd, head, HEADER_LEN, 0);
  if (n < 0)
    return diag_fail_errno(diag, "revocations: %s", path);
  head[n] = '\0';
  *last = 0;
  if (n < HEADER_LEN &&
      strncmp(head, HEADER, (size_t)n < sizeof HEADER - 1 ? (size_t)n : sizeof HEADER - 1) == 0)
    return begin_file(fd, path, database, diag);
  if (strncmp(head, HEADER, sizeof HEADER - 1) != 0 || head[HEADER_LEN - 1] != '\n')
    return diag_fail(diag, SMPL_EINVAL, "revocations: %s: not a file of revocations", path);
  head[HEADER_LEN - 1] = '\0';
  if (strcmp(head + sizeof HEADER - 1, database) != 0)
    return diag_fail(
        diag, SMPL_EINVAL,
        "revocations: %s: of another database (%s, this one is %s): restore a backup of that one, or "
        "move the file away if its accounts are given up",
        path, head + sizeof HEADER - 1, database);
  return read_last(fd, st.st_size, last) ? diag_fail_errno(diag, "revocations: %s", path) : SMPL_OK;
}

static int open_file(const char *path, const char *database, int64_t *last, diag_t *diag)
{
  int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
  if (fd < 0)
    return diag_fail_errno(diag, "revocations: %s", path);
  int err = flock(fd, LOCK_EX) != 0 ? diag_fail_errno(diag, "revocations: %s", path)
                                    : open_locked(fd, path, database, last, diag);
  close(fd);
  return err;
}

/* ---- writing: on the writer thread, under the database's own lock ---- */

/* A torn line before it is ended first. */
static int append(int fd, const char *text, size_t len)
{
  struct stat st;
  char end = '\n';
  if (fstat(fd, &st) != 0 || st.st_size < HEADER_LEN || pread(fd, &end, 1, st.st_size - 1) != 1 ||
      (end != '\n' && write(fd, "\n", 1) != 1))
    return SMPL_ESYS;
  errno = ENOSPC; /* of a write that took a part */
  return write(fd, text, len) == (ssize_t)len && fdatasync(fd) == 0 ? SMPL_OK : SMPL_ESYS;
}

static int append_to_file(revocations_t *r, const char *text, size_t len)
{
  int fd = open(r->path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  int err = fd < 0 ? SMPL_ESYS : append(fd, text, len);
  if (err && !r->failing)
    log_error("revocations: %s: %s: they are in force, and their lines follow when it can be written",
              r->path, strerror(errno));
  if (!err && r->failing)
    log_info("revocations: %s can be written again", r->path);
  r->failing = err != SMPL_OK;
  if (fd >= 0)
    close(fd);
  return err;
}

/* As text; *last: the N of the last one. */
static int compose(storage_db_t *db, char *text, size_t cap, size_t *used, int64_t *last)
{
  int row;
  char when[CLOCK_ISO_MAX];
  storage_stmt_t *stmt = storage_query(db, sql_unwritten, STORAGE_ARGS(STORAGE_INT(REVOCATIONS_BATCH)));
  while ((row = storage_step(stmt)) == 1) {
    *last = storage_int(stmt, 0);
    int n = snprintf(text + *used, cap - *used, "%lld %s %s %s\n", (long long)*last,
                     clock_format_iso(when, (uint64_t)storage_int(stmt, 1)), storage_text(stmt, 2),
                     storage_text(stmt, 3));
    *used += n > 0 && (size_t)n < cap - *used ? (size_t)n : 0;
  }
  return row;
}

/* What the file misses; an error is the database's alone. */
static int write_missing(storage_db_t *db, revocations_t *r)
{
  size_t used = 0, cap = (size_t)REVOCATIONS_BATCH * REVOCATION_LINE_MAX;
  int64_t last = 0, written = 0;
  char *text = malloc(cap);
  r->more = false;
  if (text == NULL)
    return SMPL_OK; /* later */
  int err = compose(db, text, cap, &used, &last);
  if (!err && used > 0 && append_to_file(r, text, used) == SMPL_OK)
    err = storage_exec(db, sql_mark_written, STORAGE_ARGS(STORAGE_INT(last)), &written);
  r->more = written == REVOCATIONS_BATCH;
  free(text);
  return err;
}

int revocations_add(storage_db_t *db, revocations_t *r, revocation_kind_t kind, const char *id, int64_t now)
{
  int err = storage_exec(db, sql_add,
                         STORAGE_ARGS(STORAGE_TEXT(kinds[kind]), STORAGE_TEXT(id), STORAGE_INT(now)), NULL);
  return err || r == NULL || r->path == NULL ? err : write_missing(db, r);
}

/* ---- what is missing, written later ---- */

int revocations_missing(storage_db_t *db, bool *missing)
{
  int64_t count = 0;
  int err = storage_number(db, sql_missing, STORAGE_NO_ARGS, &count);
  *missing = count > 0;
  return err;
}

int revocations_write(storage_db_t *db, revocations_t *r, bool first, bool *more)
{
  *more = false;
  if (r->path == NULL)
    return SMPL_OK;
  int err = first ? storage_exec(db, sql_mark_unwritten, STORAGE_ARGS(STORAGE_INT(r->last)), NULL) : SMPL_OK;
  if (!err)
    err = write_missing(db, r);
  *more = !err && r->more;
  return err;
}

/* The database was put back from a copy, by other means than restore: what the file has and it has not is
 * revoked again. */
static int catch_up(storage_db_t *db, const char *path, int64_t last, diag_t *diag)
{
  int64_t known = 0, applied = 0;
  revocations_found_t found;
  int err = storage_number(db, sql_last, STORAGE_NO_ARGS, &known);
  if (err || last <= known)
    return err;
  err = storage_db_command(db, "BEGIN IMMEDIATE");
  if (!err)
    err = revocations_apply(db, path, &found, &applied, diag);
  if (!err)
    err = storage_db_command(db, "COMMIT");
  if (!err)
    log_warn("revocations: the database is older than %s: %lld keys and accounts are revoked again", path,
             (long long)applied);
  return err;
}

int revocations_new(const char *path, revocations_t **out)
{
  revocations_t *r = calloc(1, sizeof *r);
  *out = r;
  if (r == NULL || path == NULL || (r->path = strdup(path)) != NULL)
    return r != NULL ? SMPL_OK : SMPL_ENOMEM;
  free(r);
  *out = NULL;
  return SMPL_ENOMEM;
}

int revocations_open(storage_db_t *db, void *revocations, diag_t *diag)
{
  revocations_t *r = revocations;
  identity_t identity;
  if (r->path == NULL)
    return SMPL_OK;
  int err = identity_read(db, &identity);
  if (err)
    return diag_fail(diag, err, "the database's identity cannot be read: %s", smpl_strerror(err));
  err = open_file(r->path, identity.database, &r->last, diag);
  if (!err)
    err = catch_up(db, r->path, r->last, diag);
  return err ? diag_fail(diag, err, "revocations: %s: %s", r->path, smpl_strerror(err)) : SMPL_OK;
}

void revocations_free(revocations_t *r)
{
  if (r == NULL)
    return;
  free(r->path);
  free(r);
}

const char *revocations_path(const revocations_t *r)
{
  return r->path;
}

/* ---- a restored database ---- */

static int apply_line(storage_db_t *db, const line_t *line, int64_t *applied)
{
  int64_t changed = 0;
  int err = storage_exec(db, sql_apply,
                         STORAGE_ARGS(STORAGE_INT(line->n), STORAGE_TEXT(kinds[line->kind]),
                                      STORAGE_TEXT(line->id), STORAGE_INT(line->at)),
                         NULL);
  if (!err && line->kind == REVOCATION_KEY)
    err = storage_exec(db, sql_apply_to_key, STORAGE_ARGS(STORAGE_TEXT(line->id), STORAGE_INT(line->at)),
                       &changed);
  if (!err && line->kind == REVOCATION_ACCOUNT) {
    err = account_delete(db, line->id, line->at);
    changed = err == SMPL_OK;
    err = err == SMPL_ENOENT ? SMPL_OK : err;
  }
  *applied += changed;
  return err;
}

static int apply_lines(storage_db_t *db, FILE *f, int64_t *last, int64_t *applied)
{
  char text[REVOCATION_LINE_MAX];
  line_t line;
  int err = SMPL_OK;
  while (!err && fgets(text, sizeof text, f) != NULL) {
    char *end = strchr(text, '\n');
    if (end == NULL)
      continue; /* torn, or no line of ours */
    *end = '\0';
    if (!parse_line(text, &line))
      continue;
    *last = line.n > *last ? line.n : *last;
    err = apply_line(db, &line, applied);
  }
  return err ? err : ferror(f) ? SMPL_ESYS : SMPL_OK;
}

static bool is_of(FILE *f, const char *database)
{
  char head[HEADER_LEN + 1];
  return fgets(head, sizeof head, f) != NULL && strncmp(head, HEADER, sizeof HEADER - 1) == 0 &&
         head[HEADER_LEN - 1] == '\n' && strncmp(head + sizeof HEADER - 1, database, UUID_TEXT_MAX - 1) == 0;
}

int revocations_apply(storage_db_t *db, const char *path, revocations_found_t *found, int64_t *applied,
                      diag_t *diag)
{
  identity_t identity;
  int64_t in_backup = 0, last = 0;
  *applied = 0;
  *found = path == NULL ? REVOCATIONS_NOT_CONFIGURED : REVOCATIONS_MISSING;
  FILE *f = path != NULL ? fopen(path, "re") : NULL;
  if (f == NULL)
    return path == NULL || errno == ENOENT ? SMPL_OK : diag_fail_errno(diag, "revocations: %s", path);
  int err = identity_read(db, &identity);
  if (!err)
    err = storage_number(db, sql_last_written, STORAGE_NO_ARGS, &in_backup);
  *found = REVOCATIONS_OTHER;
  if (!err && is_of(f, identity.database)) {
    err = apply_lines(db, f, &last, applied);
    *found = last >= in_backup ? REVOCATIONS_COMPLETE : REVOCATIONS_BEHIND;
  }
  fclose(f);
  return err ? diag_fail(diag, err, "revocations: %s: %s", path, smpl_strerror(err)) : SMPL_OK;
}
