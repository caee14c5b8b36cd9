/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "app/limits.h"
#include "common/base/error.h"
#include "common/process/landlock.h"
#include "common/base/log.h"
#include "common/dns/lookup.h"
#include "common/process/seal.h"
#include "common/base/text.h"

/* ---- files and ports ---- */

uint16_t walls_url_port(const char *url)
{
  const char *host = strstr(url, "//");
  uint64_t port = 0;
  if (host == NULL)
    return 0;
  host += 2;
  size_t len = strcspn(host, "/?#");
  const char *bracket = memchr(host, ']', len);
  const char *from = bracket != NULL ? bracket : host;
  const char *colon = memchr(from, ':', len - (size_t)(from - host));
  if (colon == NULL || text_parse_u64(colon + 1, (size_t)(host + len - colon - 1), UINT16_MAX, &port))
    return 0;
  return (uint16_t)port;
}

_Static_assert(1 + (int)LIMIT_SISTERS + (int)LOOKUP_SERVERS_MAX <= (int)WALLS_PORTS_MAX,
               "all that is called has its place");

static void add_port(walls_t *w, uint16_t port)
{
  if (w->count < WALLS_PORTS_MAX)
    w->ports[w->count++] = port;
}

/* Of what the service calls: sisters, and resolvers whose answer is too long for UDP. 0: a URL without a
 * port is looked up (SRV), so the port can be any. */
static void called_ports(const settings_t *s, walls_t *out)
{
  const char *const *sisters = s->file->sisters.items;
  const endpoint_t *resolvers = s->file->resolver.servers.items;
  *out = (walls_t){.count = 0};
  if (s->file->accounts.url != NULL)
    add_port(out, walls_url_port(s->file->accounts.url));
  for (size_t i = 0; i < s->file->sisters.count; i++)
    add_port(out, walls_url_port(sisters[i]));
  for (size_t i = 0; i < s->file->resolver.servers.count; i++)
    add_port(out, resolvers[i].port);
}

static bool has_port(const walls_t *w, uint16_t port)
{
  for (size_t i = 0; i < w->count; i++)
    if (w->ports[i] == port)
      return true;
  return false;
}

int walls_reach(const walls_t *walls, const settings_t *settings, diag_t *diag)
{
  walls_t called;
  called_ports(settings, &called);
  for (size_t i = 0; walls->fenced && i < called.count; i++) {
    if (has_port(walls, called.ports[i]))
      continue;
    if (called.ports[i] == 0)
      return diag_fail(diag, SMPL_EDENIED,
                       "a sister's URL without a port, whose port the resolver tells: since the start TCP "
                       "goes only to the "
                       "ports that were named then: that needs a restart");
    return diag_fail(
        diag, SMPL_EDENIED,
        "TCP port %u of a sister or resolver was not named at the start, and only those can be reached since "
        "then: that needs a restart",
        called.ports[i]);
  }
  return SMPL_OK;
}

static void allow_ports(landlock_t *l, const settings_t *s, const walls_t *w)
{
  const listener_settings_t *listeners = s->file->listeners.items;
  for (size_t i = 0; i < w->count; i++)
    landlock_allow_connect(l, w->ports[i]);
  for (size_t i = 0; i < s->file->listeners.count; i++)
    landlock_allow_bind(l, listeners[i].address.port); /* they are opened last */
  landlock_allow_bind(l, 0); /* calls from `source`, whose port the system chooses */
}

/* A file is made anew after it was renamed; /dev/stdout and its like are not. */
static void allow_log(landlock_t *l, const char *path)
{
  struct stat st;
  if (path != NULL && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
    landlock_allow(l, path, LANDLOCK_WRITE);
  else if (path != NULL)
    landlock_allow_beside(l, path, LANDLOCK_WRITE | LANDLOCK_MAKE);
}

static void allow_files(landlock_t *l, const settings_t *s, const char *config_path)
{
  static const char *const system[] = {"/dev/null",          "/dev/urandom",
                                       "/etc/localtime",     "/etc/resolv.conf",
                                       "/etc/nsswitch.conf", "/etc/hosts",
                                       "/etc/host.conf",     "/sys/devices/system/cpu/online"};
  const listener_settings_t *listeners = s->file->listeners.items;
  landlock_allow_beside(l, config_path, LANDLOCK_READ);
  if (s->file->database != NULL)
    landlock_allow_beside(l, s->file->database,
                          LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE | LANDLOCK_REMOVE);
  if (s->file->revocations != NULL)
    landlock_allow_beside(l, s->file->revocations, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE);
  if (s->file->internal_key_file != NULL)
    landlock_allow_beside(l, s->file->internal_key_file, LANDLOCK_READ);
  allow_log(l, s->file->access_log);
  if (s->file->control != NULL) /* it is made last, and removed at the end */
    landlock_allow_beside(l, s->file->control, LANDLOCK_SOCKET | LANDLOCK_REMOVE);
  for (size_t i = 0; i < s->file->listeners.count; i++) {
    if (listeners[i].tls.certificate == NULL)
      continue;
    landlock_allow_beside(l, listeners[i].tls.certificate, LANDLOCK_READ);
    landlock_allow_beside(l, listeners[i].tls.key, LANDLOCK_READ);
  }
  for (size_t i = 0; i < COUNT_OF(system); i++)
    landlock_allow(l, system[i], LANDLOCK_READ);
}

/* What SQLite spills goes where it may write. */
static void keep_spills_beside(const char *database)
{
  const char *slash = database != NULL ? strrchr(database, '/') : NULL;
  char *folder = slash == NULL       ? strdup(".")
                 : slash == database ? strdup("/")
                                     : strndup(database, (size_t)(slash - database));
  if (folder != NULL)
    setenv("SQLITE_TMPDIR", folder, 1);
  free(folder);
}

void walls_fence(const settings_t *settings, const char *config_path, walls_t *walls)
{
  called_ports(settings, walls);
  bool ports = !has_port(walls, 0);
  landlock_t *l = LANDLOCK_LEFT_OUT ? NULL : landlock_new(ports);
  keep_spills_beside(settings->file->database);
  allow_files(l, settings, config_path);
  if (ports)
    allow_ports(l, settings, walls);
  bool stands = landlock_enforce(l);
  walls->fenced = stands && ports && landlock_abi() >= LANDLOCK_ABI_TCP;
  if (!stands && !LANDLOCK_LEFT_OUT)
    log_warn("landlock: the kernel has none: the process may reach every file that its user may");
}

/* ---- system calls ---- */

/* The database and the log (where, Landlock says), threads that libuv and the storage make when they need
 * them, beside what the shared lists have. */
static const seal_rule_t serving[] = {
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETLK)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_GETLK)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_SETLKW)),
    SEAL_CALL_IF(fcntl, SEAL_ARG(1, IS, F_DUPFD_CLOEXEC)),
    /* no file that runs as its owner */
    SEAL_CALL_IF(openat, SEAL_ARG(3, WITHOUT, S_ISUID | S_ISGID)),
    SEAL_CALL(pwrite64),
    SEAL_CALL(fdatasync),
    SEAL_CALL(fsync),
    SEAL_CALL(ftruncate),
    SEAL_CALL(fallocate),
    SEAL_CALL_IF(fchmod, SEAL_ARG(1, WITHOUT, S_ISUID | S_ISGID)),
    SEAL_CALL(fchown),
    SEAL_CALL(unlink),
    SEAL_CALL(unlinkat),
    SEAL_CALL(statfs),
    SEAL_CALL(fstatfs),
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, IS, TIOCOUTQ)),
    SEAL_CALL_IF(clone, SEAL_ARG(0, WITH, CLONE_THREAD)),
    SEAL_CALL_IF(setpriority, SEAL_ARG(0, IS, PRIO_PROCESS)),
    SEAL_CALL_IF(getpriority, SEAL_ARG(0, IS, PRIO_PROCESS)),
    SEAL_CALL_IF(prlimit64, SEAL_ARG(0, IS, 0), SEAL_ARG(2, IS, 0)),
    SEAL_CALL_IF(prctl, SEAL_ARG(0, IS, PR_SET_NAME)),
    SEAL_CALL(eventfd2), /* a loop of a thread's own */
    SEAL_CALL(epoll_create1),
    SEAL_CALL(pipe2),
};

void walls_seal(void)
{
  seal_t *seal = seal_new(SEAL_REFUSE);
  seal_add(seal, SEAL_ALLOW, seal_traffic, seal_traffic_count);
  seal_add(seal, SEAL_ALLOW, seal_files, seal_files_count);
  seal_add(seal, SEAL_ALLOW, seal_runtime, seal_runtime_count);
  seal_add(seal, SEAL_ALLOW, seal_sockets, seal_sockets_count);
  seal_add(seal, SEAL_ALLOW, serving, COUNT_OF(serving));
#ifdef SMPL_SANITIZER
  seal_add(seal, SEAL_ALLOW, seal_wide, seal_wide_count);
#else
  seal_add(seal, SEAL_MISS, seal_absent, seal_absent_count);
  seal_add(seal, SEAL_END, seal_never, seal_never_count);
  seal_add(seal, SEAL_END, seal_deadly, seal_deadly_count);
#endif
  if (seal_load(seal, true) != SMPL_OK)
    log_warn("seccomp: %s: the process may make every system call", strerror(errno));
}
