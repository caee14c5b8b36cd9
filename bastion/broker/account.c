/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/broker/account.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/folders.h"
#include "common/process/harden.h"

enum { FOLDER_MAX = 4096 };

int account_check(const config_t *c, bool *ours, diag_t *diag)
{
  *ours = true;
  if (c->user == NULL)
    return SMPL_OK;
  const struct passwd *pw = getpwnam(c->user);
  if (pw == NULL)
    return conf_fail(c->conf, diag, &c->user, "user: there is no account '%s' on this system", c->user);
  *ours = geteuid() == 0 || geteuid() == pw->pw_uid;
  return SMPL_OK;
}

static int set_capabilities(uint32_t low)
{
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{low, low, 0}, {0, 0, 0}};
  return syscall(SYS_capset, &header, data) == 0 ? SMPL_OK : SMPL_ESYS;
}

static int leave_root(const config_t *c, const struct passwd *pw, diag_t *diag)
{
  uid_t uid = pw->pw_uid;
  gid_t gid = pw->pw_gid;
  if (initgroups(c->user, gid) < 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ||
      setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0 ||
      set_capabilities(1u << CAP_NET_BIND_SERVICE) || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
    return diag_fail_errno(diag, "cannot become user '%s'", c->user);
  if (uid != 0 && setresuid(0, 0, 0) == 0)
    return diag_fail(diag, SMPL_EDENIED, "user '%s': there is a way back to root", c->user);
  if (harden_process()) /* the kernel takes a change of user for a reason to forget it */
    return diag_fail_errno(diag, "cannot harden the process");
  return SMPL_OK;
}

int account_become(const config_t *c, diag_t *diag)
{
  bool ours;
  int err = account_check(c, &ours, diag);
  if (err || c->user == NULL)
    return err;
  if (!ours)
    return conf_fail(c->conf, diag, &c->user, "user: only root can become '%s'", c->user);
  const struct passwd *pw = getpwnam(c->user);
  if (pw == NULL)
    return diag_fail(diag, SMPL_ENOENT, "user: there is no account '%s' on this system", c->user);
  if (geteuid() == 0 && pw->pw_uid != 0)
    err = folders_give(pw->pw_uid, pw->pw_gid, diag);
  if (!err && geteuid() == 0 && pw->pw_uid != 0)
    err = leave_root(c, pw, diag);
  if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    err = diag_fail_errno(diag, "no_new_privs");
  return err;
}

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

int account_can_write(const config_t *c, diag_t *diag)
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
