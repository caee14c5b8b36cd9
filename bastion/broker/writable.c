/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/writable.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"

enum { FOLDER_MAX = 4096 };

/* The folder that a file or socket of this path is made in. */
static int check_folder(const config_t *c, const char *key, const char *path, diag_t *diag)
{
  char folder[FOLDER_MAX];
  const char *slash = strrchr(path, '/');
  size_t len = slash == NULL ? 1 : slash == path ? 1 : (size_t)(slash - path);
  if (len >= sizeof folder)
    return diag_fail(diag, SMPL_ELIMIT, "%s: %s: the path is too long", key, path);
  memcpy(folder, slash == NULL ? "." : path, len);
  folder[len] = '\0';
  if (faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0)
    return diag_fail(diag, SMPL_EDENIED, "%s: user '%s' cannot make files in %s; try: chown %s %s", key,
                     c->user, folder, c->user, folder);
  return SMPL_OK;
}

int writable_check(const config_t *c, diag_t *diag)
{
  if (c->user == NULL)
    return SMPL_OK;
  int err = check_folder(c, "audit", c->audit, diag);
  if (!err)
    err = check_folder(c, "control", c->control, diag);
  if (!err && c->state != NULL && faccessat(AT_FDCWD, c->state, R_OK | W_OK | X_OK, AT_EACCESS) < 0)
    err = diag_fail(diag, SMPL_EDENIED,
                    "state: user '%s' cannot make files in %s; try: install -d -m 700 -o %s %s", c->user,
                    c->state, c->user, c->state);
  if (!err && faccessat(AT_FDCWD, c->audit, R_OK | W_OK, AT_EACCESS) < 0 && errno != ENOENT)
    err = diag_fail(diag, SMPL_EDENIED, "audit: user '%s' cannot write %s; try: chown %s %s", c->user,
                    c->audit, c->user, c->audit);
  return err;
}
