/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/landlock.h"
#include "common/base/log.h"
#include "common/process/seal.h"
#include "common/process/walls.h"

/* ---- the user ---- */

account_conf_t walls_account(const settings_t *settings)
{
  return (account_conf_t){settings->conf, &settings->user};
}

static int check_readable(const settings_t *settings, const snapshot_t *snapshot, const char *config,
                          diag_t *diag)
{
  static const char text[] =
      "user '%s' cannot read %s: reloads would fail; let it read the file and enter its folders";
  if (faccessat(AT_FDCWD, config, R_OK, AT_EACCESS) < 0)
    return diag_fail(diag, SMPL_EDENIED, text, settings->user, config);
  for (size_t i = 0; i < settings->zones.count; i++) {
    const char *file = settings_zone_at(settings, i)->file;
    if (snapshot_zone_origin(snapshot, i)->source != SNAPSHOT_FILE)
      continue; /* was not read as root either */
    if (faccessat(AT_FDCWD, file, R_OK, AT_EACCESS) < 0)
      return diag_fail(diag, SMPL_EDENIED, text, settings->user, file);
  }
  return SMPL_OK;
}

int walls_drop(const snapshot_t *snapshot, const char *config, walls_t *walls, diag_t *diag)
{
  const settings_t *settings = snapshot_settings(snapshot);
  account_conf_t account = walls_account(settings);
  int err = account_become(&account, ACCOUNT_KEEP_NOTHING, settings->control, diag);
  if (!err && settings->user != NULL)
    err = check_readable(settings, snapshot, config, diag);
  if (err)
    return err;
  if (settings->user != NULL)
    snprintf(walls->user, sizeof walls->user, "%s", settings->user);
  walls->root = geteuid() == 0;
  if (walls->root)
    log_warn("serving as root: name an account in user:, which can read the zones and nothing else");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return diag_fail_errno(diag, "no_new_privs");
  walls->no_new_privs = true;
  return SMPL_OK;
}

/* ---- files and ports ---- */

/* The folders are those of now: a reload that names a file in another one is refused and says that it needs a
 * restart. */
void walls_fence(const snapshot_t *snapshot, const char *config, walls_t *walls)
{
  landlock_t *l = LANDLOCK_LEFT_OUT ? NULL : landlock_new(true);
  landlock_allow_beside(l, config, LANDLOCK_READ);
  for (size_t i = 0; i < snapshot_zone_count(snapshot); i++)
    for (size_t j = 0; j < zone_file_count(snapshot_zone(snapshot, i)); j++)
      landlock_allow_beside(l, zone_file(snapshot_zone(snapshot, i), j), LANDLOCK_READ);
  landlock_allow_beside(l, snapshot_settings(snapshot)->control, LANDLOCK_REMOVE);
  if (snapshot_settings(snapshot)->state != NULL)
    landlock_allow(l, snapshot_settings(snapshot)->state, LANDLOCK_READ); /* what is kept; keeper.c writes */
  landlock_allow(l, "/dev/null", LANDLOCK_READ);                          /* the spare descriptor (tcp.c) */
  landlock_allow(l, "/dev/urandom", LANDLOCK_READ);                       /* where getrandom() is not there */
  landlock_allow(l, "/etc/localtime", LANDLOCK_READ);
  landlock_allow(l, "/sys/devices/system/cpu/online", LANDLOCK_READ); /* malloc's arenas */
  walls->landlock = landlock_enforce(l);
  if (!walls->landlock && !LANDLOCK_LEFT_OUT)
    log_warn("landlock: the kernel has none: the process may read every file that its user may, and connect");
}

/* ---- system calls ---- */

/* What serving, reloading, watching files and ending need beside what the shared lists have. */
static const seal_rule_t serving[] = {
    SEAL_CALL(unlink), /* the control socket, at the end */
    SEAL_CALL(unlinkat), SEAL_CALL(inotify_add_watch), SEAL_CALL(inotify_rm_watch), SEAL_CALL(inotify_init1),
};

/* Only somebody who has taken the process over would try these: the process ends. */
static const seal_rule_t deadly[] = {
    SEAL_CALL(connect),
    SEAL_CALL(bind),
};

/* Hot calls first. Everything else is refused (EPERM). */
void walls_seal(walls_t *walls, int keeper)
{
  /* a listener that was shut down is a socket that can be connected */
  const seal_rule_t give_up = SEAL_CALL_IF(shutdown, SEAL_ARG(0, IS, keeper));
  seal_t *seal = seal_new(SEAL_REFUSE);
  seal_add(seal, SEAL_ALLOW, seal_traffic, seal_traffic_count);
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(seal, SEAL_ALLOW, serving, COUNT_OF(serving));
  if (keeper >= 0)
    seal_add(seal, SEAL_ALLOW, &give_up, 1);
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_wide, seal_wide_count);
  (void)deadly;
#else
  seal_add(seal, SEAL_END, seal_never, seal_never_count);
  seal_add(seal, SEAL_END, seal_deadly, seal_deadly_count);
  seal_add(seal, SEAL_END, deadly, COUNT_OF(deadly));
#endif
  walls->seccomp = seal_load(seal, true) == SMPL_OK;
  if (!walls->seccomp)
    log_warn("seccomp: %s: the process may make every system call", strerror(errno));
}

json_t *walls_json(const walls_t *walls)
{
  json_t *list = json_array();
  if (walls->user[0] != '\0')
    json_array_append_new(list, json_sprintf("user %s", walls->user));
  else if (walls->root)
    json_array_append_new(list, json_string("root (no user: is configured)"));
  if (walls->no_new_privs)
    json_array_append_new(list, json_string(WALL_NO_NEW_PRIVS));
#ifdef SMPL_SANITIZER
  static const char seccomp[] = WALL_SECCOMP " (wide list of a sanitizer build)";
#else
  static const char seccomp[] = WALL_SECCOMP;
#endif
  if (walls->landlock)
    json_array_append_new(list, json_string(WALL_LANDLOCK));
  if (walls->seccomp)
    json_array_append_new(list, json_string(seccomp));
  return list;
}
