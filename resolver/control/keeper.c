/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/control/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/process/crash.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/folders.h"
#include "common/process/harden.h"
#include "common/process/landlock.h"
#include "common/base/log.h"
#include "common/process/seal.h"
#include "resolver/limits.h"

/* Both ways over one stream socket: to the other process frames of a length and as many bytes, the copy's
 * name, then its bytes, then END or DROP in place of a length; back an errno for each copy, and one at the
 * beginning. */
enum { FRAME_END = 0, FRAME_MAX = ZONE_COPY_CHUNK };
static const uint32_t FRAME_DROP = UINT32_MAX;
static const char lock_name[] = "lock";

/* ---- the process that writes ---- */

typedef struct writer {
  int sock, folder;
  char buf[FRAME_MAX];
} writer_t;

static int become(const settings_t *s)
{
  const struct passwd *pw = s->user != NULL && geteuid() == 0 ? getpwnam(s->user) : NULL;
  if (pw == NULL)
    return 0;
  if (folders_give(pw->pw_uid, pw->pw_gid, NULL))
    return errno;
  if (initgroups(s->user, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
      setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
    return errno;
  return harden_process() ? errno : 0;
}

static const seal_rule_t keeper_calls[] = {
    SEAL_CALL(read),
    SEAL_CALL(write),
    SEAL_CALL(close),
    SEAL_CALL(fstat),
    SEAL_CALL(newfstatat),
    SEAL_CALL(fsync),
    /* where, Landlock says; no file that runs as its owner */
    SEAL_CALL_IF(openat, SEAL_ARG(3, WITHOUT, S_ISUID | S_ISGID)),
    SEAL_CALL(renameat),
    SEAL_CALL(renameat2),
    SEAL_CALL(unlinkat),
};

static int seal_writer(const char *folder)
{
  landlock_t *l = LANDLOCK_LEFT_OUT ? NULL : landlock_new(true);
  landlock_allow(l, folder, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE | LANDLOCK_REMOVE);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return SMPL_ESYS;
  landlock_enforce(l);
  seal_t *seal = seal_new(SEAL_REFUSE);
  seal_add(seal, SEAL_ALLOW, keeper_calls, COUNT_OF(keeper_calls));
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_wide, seal_wide_count);
#else
  seal_add(seal, SEAL_END, seal_never, seal_never_count);
  seal_add(seal, SEAL_END, seal_deadly, seal_deadly_count);
#endif
  seal_load(seal, false); /* without it the folder's wall stands, as in the other process */
  return SMPL_OK;
}

static int read_all(int fd, void *to, size_t len)
{
  uint8_t *p = to;
  while (len > 0) {
    ssize_t n = read(fd, p, len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return SMPL_ECLOSED;
    p += n;
    len -= (size_t)n;
  }
  return SMPL_OK;
}

static int write_all(int fd, const void *from, size_t len)
{
  const uint8_t *p = from;
  while (len > 0) {
    ssize_t n = write(fd, p, len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return SMPL_ESYS;
    p += n;
    len -= (size_t)n;
  }
  return SMPL_OK;
}

/* As zone_copy_name makes them: no way out of the folder, and not the lock. */
static bool is_copy_name(const char *name, size_t len)
{
  static const char kept[] = "abcdefghijklmnopqrstuvwxyzABCDEF0123456789-_@.%";
  static const char suffix[] = ".copy";
  size_t end = sizeof suffix - 1;
  if (len >= ZONE_COPY_NAME_MAX || len <= end || name[0] == '.' || strlen(name) != len)
    return false;
  return strspn(name, kept) == len && memcmp(name + len - end, suffix, end) == 0;
}

/* The frames of one copy; *why is errno's. After an error of the disk the rest is taken and thrown away. */
static int take_copy(writer_t *w, int fd, bool *whole, int *why)
{
  uint64_t total = 0;
  for (;;) {
    uint32_t len;
    if (read_all(w->sock, &len, sizeof len))
      return SMPL_ECLOSED;
    *whole = len == FRAME_END;
    if (len == FRAME_END || len == FRAME_DROP)
      return SMPL_OK;
    total += len;
    if (len > FRAME_MAX || total > (uint64_t)ZONE_FILE_MAX + FRAME_MAX || read_all(w->sock, w->buf, len))
      return SMPL_ECLOSED;
    if (*why == 0 && write_all(fd, w->buf, len))
      *why = errno != 0 ? errno : EIO;
  }
}

static int keep_copy(writer_t *w, const char *name, int *why)
{
  char fresh[ZONE_COPY_NAME_MAX + 8];
  bool whole = false;
  snprintf(fresh, sizeof fresh, "%s.new", name);
  int fd = openat(w->folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  *why = fd < 0 ? errno : 0;
  int err = take_copy(w, fd, &whole, why);
  if (!err && *why == 0 && whole &&
      (fsync(fd) < 0 || renameat(w->folder, fresh, w->folder, name) < 0 || fsync(w->folder) < 0))
    *why = errno;
  if (fd >= 0)
    close(fd);
  if (err || *why != 0 || !whole)
    unlinkat(w->folder, fresh, 0);
  return err;
}

static int serve_one(writer_t *w)
{
  uint32_t len;
  char name[ZONE_COPY_NAME_MAX] = "";
  int why = 0;
  if (read_all(w->sock, &len, sizeof len) || len >= sizeof name || read_all(w->sock, name, len) ||
      !is_copy_name(name, len))
    return SMPL_ECLOSED;
  int err = keep_copy(w, name, &why);
  return err ? err : write_all(w->sock, &why, sizeof why);
}

/* errno, or 0 when the folder is ours alone; both descriptors on their numbers. */
static int open_folder(const settings_t *s, int *folder)
{
  int err = become(s);
  if (err != 0)
    return err;
  *folder = open(s->state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*folder < 0)
    return errno;
  int lock = openat(*folder, lock_name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (lock < 0)
    return errno;
  return flock(lock, LOCK_EX | LOCK_NB) < 0 ? errno : 0; /* held as long as this process lives */
}

static noreturn void run_writer(const settings_t *s, int sock)
{
  static writer_t w;
  static const int ignored[] = {SIGINT, SIGTERM, SIGHUP}; /* it ends with the process that it writes for */
  for (size_t i = 0; i < COUNT_OF(ignored); i++)
    signal(ignored[i], SIG_IGN);
  setsid();
  prctl(PR_SET_NAME, "smpl-keeper", 0, 0, 0);
  crash_catch("smpl-keeper");
  enum { SOCK = 3 };
  if (dup2(sock, SOCK) < 0 || close_range(SOCK + 1, ~0u, 0) < 0)
    _exit(1);
  w.sock = SOCK;
  int why = open_folder(s, &w.folder);
  if (why == 0 && seal_writer(s->state))
    why = errno;
  if (write_all(w.sock, &why, sizeof why) || why != 0)
    _exit(1);
  while (serve_one(&w) == SMPL_OK) {
  }
  _exit(0);
}

/* ---- this side ---- */

struct keeper {
  int sock; /* -1: the other process is gone, or never could */
  const char *state;
  atomic_bool works;
  atomic_bool ending;
};

static void lose(keeper_t *k, const char *what)
{
  if (k->sock >= 0 && !atomic_load(&k->ending))
    log_error("state: %s: no more copies of zones are kept until a restart", what);
  if (k->sock >= 0)
    close(k->sock);
  k->sock = -1;
  atomic_store(&k->works, false);
}

static int answer_of(keeper_t *k, int *why)
{
  struct pollfd p = {k->sock, POLLIN, 0};
  int ready = poll(&p, 1, KEEPER_WAIT_MS);
  return ready == 1 && read_all(k->sock, why, sizeof *why) == SMPL_OK ? SMPL_OK : SMPL_ECLOSED;
}

static int fork_writer(const settings_t *s, int *sock)
{
  int pair[2];
  const struct timeval patience = {KEEPER_WAIT_MS / 1000, 0};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
    return SMPL_ESYS;
  pid_t pid =
      _Fork(); /* nobody waits for it: once dead it stays a zombie for as long as this process lives */
  if (pid == 0)
    run_writer(s, pair[1]);
  close(pair[1]);
  *sock = pair[0];
  setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return pid < 0 ? SMPL_ESYS : SMPL_OK;
}

int keeper_start(const settings_t *settings, keeper_t **out, diag_t *diag)
{
  *out = NULL;
  if (settings->state == NULL)
    return SMPL_OK;
  keeper_t *k = calloc(1, sizeof *k);
  if (k == NULL)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  *out = k;
  k->sock = -1;
  k->state = strdup(settings->state);
  int why = 0;
  if (k->state == NULL || fork_writer(settings, &k->sock) || answer_of(k, &why))
    why = why != 0 ? why : EIO;
  if (why == EWOULDBLOCK)
    return conf_fail(settings->conf, diag, &settings->state,
                     "state: another resolver keeps its copies in %s: each needs a folder of its own",
                     settings->state);
  atomic_store(&k->works, why == 0);
  if (why != 0) {
    log_error("state: %s: %s: no copies of zones are kept", settings->state, strerror(why));
    close(k->sock);
    k->sock = -1;
  }
  return SMPL_OK;
}

void keeper_free(keeper_t *k)
{
  if (k == NULL)
    return;
  if (k->sock >= 0)
    close(k->sock);
  free((char *)(uintptr_t)k->state);
  free(k);
}

bool keeper_can(const keeper_t *k)
{
  return k != NULL && k->sock >= 0;
}

int keeper_socket(const keeper_t *k)
{
  return k != NULL ? k->sock : -1;
}

void keeper_give_up(keeper_t *k)
{
  if (k == NULL)
    return;
  atomic_store(&k->ending, true);
  if (k->sock >= 0)
    shutdown(k->sock, SHUT_RDWR);
}

bool keeper_works(const keeper_t *k)
{
  return k == NULL || atomic_load(&k->works);
}

static int send_frame(void *ctx, const char *bytes, size_t size)
{
  const keeper_t *k = ctx;
  uint32_t len = (uint32_t)size;
  int err = write_all(k->sock, &len, sizeof len);
  return err ? err : write_all(k->sock, bytes, size);
}

/* 0, errno of the disk, or -1 when the other process is gone. */
static int send_copy(keeper_t *k, const zone_t *z, const zone_copy_views_t *views,
                     const zone_copy_head_t *head)
{
  char name[ZONE_COPY_NAME_MAX];
  zone_copy_name(zone_name(z), name);
  int err = send_frame(k, name, strlen(name));
  if (!err)
    err = zone_copy_write(z, views, head, send_frame, k);
  if (err == SMPL_ESYS)
    return -1;
  uint32_t end = err ? FRAME_DROP : FRAME_END;
  int why = 0;
  if (write_all(k->sock, &end, sizeof end) || answer_of(k, &why))
    return -1;
  return err == SMPL_ELIMIT ? EFBIG : err ? ENOMEM : why;
}

/* Whether the copy that is there says what a fresh one would. */
static bool is_kept(const keeper_t *k, const zone_t *z, const zone_copy_views_t *views,
                    const zone_copy_head_t *fresh)
{
  char name[ZONE_COPY_NAME_MAX];
  char *path = NULL;
  zone_copy_head_t head;
  bool same_views = false;
  bool same = asprintf(&path, "%s/%s", k->state, zone_copy_name(zone_name(z), name)) > 0 &&
              zone_copy_peek(path, zone_name(z), views, &head, &same_views) == SMPL_OK && same_views &&
              memcmp(head.digest, fresh->digest, ZONE_DIGEST_LEN) == 0;
  free(path);
  return same;
}

/* As send_copy. */
static int save_zone(keeper_t *k, const snapshot_t *s, size_t i)
{
  const zone_t *z = snapshot_zone(s, i);
  zone_copy_views_t views = {NULL, 0};
  zone_copy_head_t head = {.serial = zone_facts(z).serial, .made_ms = clock_wall_ms()};
  int why = ENOMEM;
  if (zone_digest(z, head.digest) == SMPL_OK && snapshot_zone_views(s, i, &views) == SMPL_OK)
    why = is_kept(k, z, &views, &head) ? 0 : send_copy(k, z, &views, &head);
  free(views.items);
  return why;
}

void keeper_save(keeper_t *k, const snapshot_t *s)
{
  bool all = true;
  for (size_t i = 0; k != NULL && k->sock >= 0 && i < snapshot_zone_count(s); i++) {
    if (snapshot_zone_origin(s, i)->source != SNAPSHOT_FILE)
      continue;
    int why = save_zone(k, s, i);
    all = all && why == 0;
    if (why < 0)
      lose(k, "the process that writes them has ended or hangs");
    else if (why > 0)
      log_error("zone '%s': its copy cannot be kept in %s: %s", zone_name(snapshot_zone(s, i)), k->state,
                strerror(why));
  }
  if (k != NULL && k->sock >= 0)
    atomic_store(&k->works, all);
}
