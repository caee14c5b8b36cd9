/* SPDX-License-Identifier: Apache-2.0 */
#include "common/conf/account.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/folders.h"
#include "common/process/harden.h"

static int find(const account_conf_t *a, const struct passwd **pw, diag_t *diag)
{
  *pw = getpwnam(*a->user);
  return *pw != NULL
             ? SMPL_OK
             : conf_fail(a->conf, diag, a->user, "user: there is no account '%s' on this system", *a->user);
}

static bool may_become(const struct passwd *pw)
{
  return geteuid() == 0 || geteuid() == pw->pw_uid;
}

int account_check(const account_conf_t *a, bool *ours, diag_t *diag)
{
  const struct passwd *pw;
  *ours = true;
  int err = *a->user != NULL ? find(a, &pw, diag) : SMPL_OK;
  if (*a->user != NULL && !err)
    *ours = may_become(pw);
  return err;
}

static int set_capabilities(uint32_t low)
{
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{low, low, 0}, {0, 0, 0}};
  return syscall(SYS_capset, &header, data) == 0 ? SMPL_OK : SMPL_ESYS;
}

static int change(const char *user, const struct passwd *pw, account_keep_t keep)
{
  uid_t uid = pw->pw_uid;
  gid_t gid = pw->pw_gid;
  bool ports = keep == ACCOUNT_KEEP_PORTS;
  if (initgroups(user, gid) < 0 || (ports && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) ||
      setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
    return SMPL_ESYS;
  if (ports && (set_capabilities(1u << CAP_NET_BIND_SERVICE) || prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0))
    return SMPL_ESYS;
  return SMPL_OK;
}

static int leave_root(const char *user, const struct passwd *pw, account_keep_t keep, const char *own,
                      diag_t *diag)
{
  if (own != NULL && lchown(own, pw->pw_uid, pw->pw_gid) < 0)
    return diag_fail_errno(diag, "%s: cannot be given to user '%s'", own, user);
  int err = folders_give(pw->pw_uid, pw->pw_gid, diag);
  if (err)
    return err;
  if (change(user, pw, keep))
    return diag_fail_errno(diag, "cannot become user '%s'", user);
  if (setresuid(0, 0, 0) == 0)
    return diag_fail(diag, SMPL_EDENIED, "user '%s': there is a way back to root", user);
  if (harden_process()) /* the kernel takes a change of user for a reason to forget it */
    return diag_fail_errno(diag, "cannot harden the process");
  return SMPL_OK;
}

int account_become(const account_conf_t *a, account_keep_t keep, const char *own, diag_t *diag)
{
  const struct passwd *pw;
  const char *user = *a->user;
  int err = user != NULL ? find(a, &pw, diag) : SMPL_OK;
  if (err || user == NULL)
    return err;
  if (!may_become(pw))
    return conf_fail(a->conf, diag, a->user, "user: only root can become '%s'", user);
  if (geteuid() == 0 && pw->pw_uid != 0)
    err = leave_root(user, pw, keep, own, diag);
  if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    err = diag_fail_errno(diag, "no_new_privs");
  return err;
}
