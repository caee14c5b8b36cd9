/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/session/blocks.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { VERSION = 1, PATH_CAP = 4096 };

_Static_assert((int)BLOCKS_WHO_MAX >= (int)CONFIG_NAME_MAX, "a user's name");
_Static_assert((int)BLOCKS_WHO_MAX >= (int)USERKEY_FINGERPRINT_MAX, "a key's fingerprint");

static const char file_name[] = "blocks";
static const char new_name[] = "blocks.new";

struct blocks {
  char folder[PATH_CAP];
  char path[PATH_CAP + sizeof file_name];
  int fd; /* of the folder, with our lock; -1: not taken */
  block_t *list;
  size_t count;
  bool saved;
  uint64_t tried_at; /* monotonic ms */
};

/* ---- who ---- */

bool blocks_can_be(const char *text, bool *is_key)
{
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const char start[] = "SHA256:";
  enum { DIGEST_TEXT = 43 };
  *is_key = strncmp(text, start, sizeof start - 1) == 0;
  if (!*is_key)
    return config_is_name(text);
  const char *digest = text + sizeof start - 1;
  return strlen(digest) == DIGEST_TEXT && strspn(digest, alphabet) == DIGEST_TEXT;
}

block_t *blocks_find(blocks_t *b, const char *who)
{
  for (size_t i = 0; b != NULL && i < b->count; i++)
    if (strcmp(b->list[i].who, who) == 0)
      return &b->list[i];
  return NULL;
}

bool blocks_hold(const blocks_t *b, const char *user, const char *fingerprint)
{
  for (size_t i = 0; b != NULL && i < b->count; i++)
    if (strcmp(b->list[i].who, user) == 0 || strcmp(b->list[i].who, fingerprint) == 0)
      return true;
  return false;
}

size_t blocks_count(const blocks_t *b)
{
  return b != NULL ? b->count : 0;
}

const block_t *blocks_at(const blocks_t *b, size_t index)
{
  return &b->list[index];
}

int blocks_add(blocks_t *b, const block_t *block)
{
  if (blocks_find(b, block->who) != NULL)
    return SMPL_EEXIST;
  if (b->count == BLOCKS_MAX)
    return SMPL_ELIMIT;
  block_t *grown = reallocarray(b->list, b->count + 1, sizeof *grown);
  if (grown == NULL)
    return SMPL_ENOMEM;
  b->list = grown;
  b->list[b->count++] = *block;
  b->saved = false;
  return SMPL_OK;
}

void blocks_remove(blocks_t *b, const char *who)
{
  block_t *at = blocks_find(b, who);
  if (at == NULL)
    return;
  size_t behind = b->count - (size_t)(at - b->list) - 1;
  memmove(at, at + 1, behind * sizeof *at);
  b->count--;
  b->saved = false;
}

/* ---- reading ---- */

static int fail_line(const blocks_t *b, size_t number, const char *what, diag_t *diag)
{
  return diag_fail(
      diag, SMPL_EINVAL,
      "%s:%zu: %s; users who are blocked there would get in: mend the line, or put a whole file back",
      b->path, number, what);
}

static bool take_text(const json_t *line, const char *key, char *out, size_t cap)
{
  const char *text = json_string_value(json_object_get(line, key));
  return text != NULL && text_copy(out, cap, text) == SMPL_OK;
}

static int take_block(blocks_t *b, size_t number, const json_t *line, diag_t *diag)
{
  block_t block = {0};
  bool is_key;
  const json_t *uid = json_object_get(line, "by_uid");
  if (!take_text(line, "who", block.who, sizeof block.who) || !blocks_can_be(block.who, &is_key))
    return fail_line(b, number, "\"who\" must be a user's name or a key's fingerprint", diag);
  if (!take_text(line, "since", block.since, sizeof block.since) ||
      !take_text(line, "reason", block.reason, sizeof block.reason) || !json_is_integer(uid) ||
      json_integer_value(uid) < 0 || json_integer_value(uid) > UINT32_MAX)
    return fail_line(b, number, "\"since\", \"by_uid\" and \"reason\" are missing or malformed", diag);
  block.by_uid = (unsigned)json_integer_value(uid);
  int err = blocks_add(b, &block);
  if (err == SMPL_EEXIST)
    return fail_line(b, number, "the same as in a line before", diag);
  return err ? fail_line(b, number, smpl_strerror(err), diag) : SMPL_OK;
}

/* The first line says how many follow, so that a file that was cut shows. */
static int take_head(const blocks_t *b, const json_t *line, size_t *count, diag_t *diag)
{
  const json_t *n = json_object_get(line, "blocks");
  if (json_integer_value(json_object_get(line, "version")) != VERSION || !json_is_integer(n) ||
      json_integer_value(n) < 0 || json_integer_value(n) > BLOCKS_MAX)
    return fail_line(b, 1, "expected {\"version\":1,\"blocks\":N}", diag);
  *count = (size_t)json_integer_value(n);
  return SMPL_OK;
}

static int take_line(blocks_t *b, size_t number, const char *text, size_t len, size_t *count, diag_t *diag)
{
  json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
  int err;
  if (!json_is_object(line))
    err = fail_line(b, number, "is no JSON object", diag);
  else if (number == 1)
    err = take_head(b, line, count, diag);
  else
    err = take_block(b, number, line, diag);
  json_decref(line);
  return err;
}

static int take_file(blocks_t *b, const char *text, size_t len, diag_t *diag)
{
  size_t number = 0, want = 0;
  for (size_t at = 0; at < len;) {
    const char *nl = memchr(text + at, '\n', len - at);
    if (nl == NULL)
      return fail_line(b, number + 1, "is not whole", diag);
    size_t stop = (size_t)(nl - text);
    int err = take_line(b, ++number, text + at, stop - at, &want, diag);
    if (err)
      return err;
    at = stop + 1;
  }
  if (number == 0)
    return fail_line(b, 1, "the file is empty", diag);
  if (b->count != want)
    return fail_line(b, number, "not as many lines as the first one says", diag);
  return SMPL_OK;
}

static int load(blocks_t *b, diag_t *diag)
{
  char *text;
  size_t len;
  diag_t why = {""};
  int err = file_read_trusted(b->path, BLOCKS_FILE_MAX, &text, &len, &why);
  if (err == SMPL_ENOENT) {
    b->saved = true;
    return SMPL_OK;
  }
  if (err)
    return diag_fail(diag, err, "%s", why.text);
  err = take_file(b, text, len, diag);
  b->saved = true;
  free(text);
  return err;
}

/* ---- the folder ---- */

static int check_folder(const char *folder, diag_t *diag)
{
  struct stat st;
  diag_t why = {""};
  int err = file_check_folder(folder, &why);
  if (err == SMPL_ENOENT)
    return diag_fail(diag, err, "state: %s does not exist; try: install -d -m 700 -o %u %s", folder,
                     (unsigned)geteuid(), folder);
  if (err)
    return diag_fail(diag, err, "state: %s", why.text);
  if (stat(folder, &st) < 0)
    return diag_fail_errno(diag, "state: %s", folder);
  if (st.st_uid != geteuid())
    return diag_fail(diag, SMPL_EDENIED,
                     "state: %s belongs to uid %u, not to the user running this; try: chown %u %s", folder,
                     (unsigned)st.st_uid, (unsigned)geteuid(), folder);
  if ((st.st_mode & 077) != 0)
    return diag_fail(diag, SMPL_EDENIED,
                     "state: %s must not be open to others (mode %03o); try: chmod 700 %s", folder,
                     (unsigned)(st.st_mode & 0777), folder);
  return SMPL_OK;
}

static int take_folder(blocks_t *b, diag_t *diag)
{
  b->fd = open(b->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (b->fd < 0)
    return diag_fail_errno(diag, "state: %s", b->folder);
  if (flock(b->fd, LOCK_EX | LOCK_NB) == 0)
    return SMPL_OK;
  return errno == EWOULDBLOCK
             ? diag_fail(diag, SMPL_EBUSY, "state: %s is in use by another process", b->folder)
             : diag_fail_errno(diag, "state: %s cannot be locked", b->folder);
}

static int open_blocks(const char *folder, bool take, blocks_t **out, diag_t *diag)
{
  *out = NULL;
  blocks_t *b = calloc(1, sizeof *b);
  if (b == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  b->fd = -1;
  int err = text_copy(b->folder, sizeof b->folder, folder);
  if (err)
    diag_fail(diag, err, "state: the path is too long");
  snprintf(b->path, sizeof b->path, "%s/%s", b->folder, file_name);
  if (!err)
    err = check_folder(folder, diag);
  if (!err && take)
    err = take_folder(b, diag);
  if (!err)
    err = load(b, diag);
  if (err)
    blocks_close(b);
  else
    *out = b;
  return err;
}

int blocks_open(const char *folder, blocks_t **out, diag_t *diag)
{
  return open_blocks(folder, true, out, diag);
}

int blocks_check(const char *folder, size_t *count, diag_t *diag)
{
  blocks_t *b;
  int err = open_blocks(folder, false, &b, diag);
  *count = blocks_count(b);
  blocks_close(b);
  return err;
}

void blocks_close(blocks_t *b)
{
  if (b == NULL)
    return;
  if (b->fd >= 0)
    close(b->fd);
  free(b->list);
  free(b);
}

/* ---- writing ---- */

static bool put_line(FILE *f, json_t *line)
{
  bool fine = line != NULL && json_dumpf(line, f, JSON_COMPACT) == 0 && fputc('\n', f) != EOF;
  json_decref(line);
  return fine;
}

static char *compose(const blocks_t *b, size_t *len)
{
  char *text = NULL;
  FILE *f = open_memstream(&text, len);
  if (f == NULL)
    return NULL;
  bool fine = put_line(f, json_pack("{s:i, s:I}", "version", VERSION, "blocks", (json_int_t)b->count));
  for (size_t i = 0; i < b->count && fine; i++) {
    const block_t *block = &b->list[i];
    fine = put_line(f, json_pack("{s:s, s:s, s:I, s:s}", "who", block->who, "since", block->since, "by_uid",
                                 (json_int_t)block->by_uid, "reason", block->reason));
  }
  if (fclose(f) == 0 && fine)
    return text;
  free(text);
  return NULL;
}

static int write_all(int fd, const char *text, size_t len)
{
  for (size_t at = 0; at < len;) {
    ssize_t n = write(fd, text + at, len - at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return SMPL_ESYS;
    at += (size_t)n;
  }
  return fsync(fd) < 0 ? SMPL_ESYS : SMPL_OK;
}

static int replace(const blocks_t *b, const char *text, size_t len)
{
  int fd = openat(b->fd, new_name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return SMPL_ESYS;
  int err = write_all(fd, text, len);
  int saved = errno;
  close(fd);
  errno = saved;
  if (err || renameat(b->fd, new_name, b->fd, file_name) < 0 || fsync(b->fd) < 0)
    return SMPL_ESYS;
  return SMPL_OK;
}

int blocks_save(blocks_t *b, diag_t *diag)
{
  size_t len;
  char *text = compose(b, &len);
  b->tried_at = clock_mono_ms();
  if (text == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  int err = replace(b, text, len);
  if (err)
    diag_fail_errno(diag, "%s cannot be written", b->path);
  free(text);
  b->saved = err == SMPL_OK;
  return err;
}

bool blocks_saved(const blocks_t *b)
{
  return b == NULL || b->saved;
}

void blocks_retry(blocks_t *b, uint64_t now)
{
  diag_t diag = {""};
  if (blocks_saved(b) || now - b->tried_at < BLOCKS_RETRY_MS)
    return;
  if (blocks_save(b, &diag))
    log_error("who is blocked is not kept yet: %s", diag.text);
  else
    log_info("who is blocked is kept now");
}
