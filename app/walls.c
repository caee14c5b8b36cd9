#include "app/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/error.h"
#include "common/landlock.h"
#include "common/log.h"
#include "common/seal.h"
#include "common/text.h"

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

/* A URL without a port is looked up (SRV), so the port can be any. */
static bool ports_are_known(const settings_t *s)
{
  const char *const *sisters = s->sisters.items;
  bool known = s->accounts_url == NULL || walls_url_port(s->accounts_url) != 0;
  for (size_t i = 0; known && i < s->sisters.count; i++)
    known = walls_url_port(sisters[i]) != 0;
  return known;
}

static void allow_ports(landlock_t *l, const settings_t *s)
{
  const char *const *sisters = s->sisters.items;
  const endpoint_t *resolvers = s->resolver.servers.items;
  const listener_settings_t *listeners = s->listeners.items;
  if (s->accounts_url != NULL)
    landlock_allow_connect(l, walls_url_port(s->accounts_url));
  for (size_t i = 0; i < s->sisters.count; i++)
    landlock_allow_connect(l, walls_url_port(sisters[i]));
  for (size_t i = 0; i < s->resolver.servers.count; i++)
    landlock_allow_connect(l, resolvers[i].port); /* an answer that is too long for UDP */
  for (size_t i = 0; i < s->listeners.count; i++)
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
  const listener_settings_t *listeners = s->listeners.items;
  landlock_allow_beside(l, config_path, LANDLOCK_READ);
  if (s->database != NULL)
    landlock_allow_beside(l, s->database, LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE | LANDLOCK_REMOVE);
  if (s->internal_key_file != NULL)
    landlock_allow_beside(l, s->internal_key_file, LANDLOCK_READ);
  allow_log(l, s->access_log);
  for (size_t i = 0; i < s->listeners.count; i++) {
    if (listeners[i].tls.certificate == NULL)
      continue;
    landlock_allow_beside(l, listeners[i].tls.certificate, LANDLOCK_READ);
    landlock_allow_beside(l, listeners[i].tls.key, LANDLOCK_READ);
  }
  for (size_t i = 0; i < SEAL_COUNT(system); i++)
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

void walls_fence(const settings_t *settings, const char *config_path)
{
  bool ports = ports_are_known(settings);
  landlock_t *l = LANDLOCK_LEFT_OUT ? NULL : landlock_new(ports);
  keep_spills_beside(settings->database);
  allow_files(l, settings, config_path);
  if (ports)
    allow_ports(l, settings);
  if (!landlock_enforce(l) && !LANDLOCK_LEFT_OUT)
    log_warn("landlock: not there: the process may reach every file that its user may");
}

/* ---- system calls ---- */

/* The database and the log (where, Landlock says), threads that libuv and the storage make when they need them, beside what
 * the shared lists have. */
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
  seal_add(seal, SEAL_ALLOW, serving, SEAL_COUNT(serving));
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
