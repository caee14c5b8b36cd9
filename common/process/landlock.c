/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What Debian 12's header does not know yet. */
enum {
  FS_REFER = 1 << 13,
  FS_TRUNCATE = 1 << 14,
  FS_IOCTL_DEV = 1 << 15,
  NET_BIND = 1 << 0,
  NET_CONNECT = 1 << 1,
  SCOPE_ABSTRACT_SOCKET = 1 << 0,
  SCOPE_SIGNAL = 1 << 1,
  RULE_NET_PORT = 2,
};

/* All of ABI 1. */
static const uint64_t fs_first = (1u << 13) - 1;

static const uint64_t read_bits = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
static const uint64_t write_bits = LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
static const uint64_t remove_bits = LANDLOCK_ACCESS_FS_REMOVE_FILE;
static const uint64_t make_bits = LANDLOCK_ACCESS_FS_MAKE_REG;
static const uint64_t socket_bits = LANDLOCK_ACCESS_FS_MAKE_SOCK;
/* All that a rule for a file may have. */
static const uint64_t file_bits = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
                                  LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV;

/* The kernel's struct, of which a younger one has more. */
typedef struct ruleset {
  uint64_t fs, net, scoped;
} ruleset_t;

typedef struct net_rule {
  uint64_t allowed, port;
} net_rule_t;

struct landlock {
  int abi;
  int fd; /* -1: not made yet: what it handles is still open */
  ruleset_t handled;
  bool broken;
};

/* Set once, while there is one thread. */
static bool stands;

int landlock_abi(void)
{
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi < 0 ? 0 : (int)abi;
}

landlock_t *landlock_new(bool tcp)
{
  int abi = landlock_abi();
  landlock_t *l = abi > 0 ? calloc(1, sizeof *l) : NULL;
  if (l == NULL)
    return NULL;
  l->abi = abi;
  l->fd = -1;
  l->handled.fs =
      fs_first | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0) | (abi >= 5 ? FS_IOCTL_DEV : 0);
  l->handled.net = tcp && abi >= LANDLOCK_ABI_TCP ? NET_BIND | NET_CONNECT : 0;
  l->handled.scoped = abi >= 6 ? SCOPE_ABSTRACT_SOCKET | SCOPE_SIGNAL : 0;
  return l;
}

static bool make(landlock_t *l)
{
  if (l == NULL || l->broken || l->fd >= 0)
    return l != NULL && !l->broken;
  size_t size = l->abi >= 6   ? sizeof l->handled
                : l->abi >= 4 ? offsetof(ruleset_t, scoped)
                              : offsetof(ruleset_t, net);
  l->fd = (int)syscall(SYS_landlock_create_ruleset, &l->handled, size, 0);
  l->broken = l->fd < 0;
  return !l->broken;
}

static uint64_t bits_of(unsigned rights)
{
  return ((rights & LANDLOCK_READ) ? read_bits : 0) | ((rights & LANDLOCK_WRITE) ? write_bits : 0) |
         ((rights & LANDLOCK_MAKE) ? make_bits : 0) | ((rights & LANDLOCK_SOCKET) ? socket_bits : 0) |
         ((rights & LANDLOCK_REMOVE) ? remove_bits : 0);
}

void landlock_allow(landlock_t *l, const char *path, unsigned rights)
{
  if (!make(l))
    return;
  struct stat st;
  struct landlock_path_beneath_attr rule = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
  if (rule.parent_fd < 0)
    return;
  rule.allowed_access = bits_of(rights) & l->handled.fs;
  if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
    rule.allowed_access &= file_bits;
  if (rule.allowed_access != 0 &&
      syscall(SYS_landlock_add_rule, l->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
    l->broken = true;
  close(rule.parent_fd);
}

static void allow_folder(landlock_t *l, const char *file, unsigned rights)
{
  char folder[PATH_MAX];
  const char *slash = strrchr(file, '/');
  size_t len = slash == NULL || slash == file ? 1 : (size_t)(slash - file);
  if (len >= sizeof folder)
    return;
  memcpy(folder, slash == NULL ? "." : file, len);
  folder[len] = '\0';
  landlock_allow(l, folder, rights);
}

void landlock_allow_beside(landlock_t *l, const char *file, unsigned rights)
{
  if (l == NULL)
    return;
  allow_folder(l, file, rights);
  char *real = realpath(file, NULL);
  if (real != NULL)
    allow_folder(l, real, rights);
  free(real);
}

static void allow_port(landlock_t *l, uint64_t what, uint16_t port)
{
  net_rule_t rule = {what & (l != NULL ? l->handled.net : 0), port};
  if (rule.allowed != 0 && make(l) && syscall(SYS_landlock_add_rule, l->fd, RULE_NET_PORT, &rule, 0) < 0)
    l->broken = true;
}

void landlock_allow_connect(landlock_t *l, uint16_t port)
{
  allow_port(l, NET_CONNECT, port);
}

void landlock_allow_bind(landlock_t *l, uint16_t port)
{
  allow_port(l, NET_BIND, port);
}

bool landlock_enforce(landlock_t *l)
{
  bool done = make(l) && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
              syscall(SYS_landlock_restrict_self, l->fd, 0) == 0;
  stands = stands || done;
  landlock_free(l);
  return done;
}

void landlock_free(landlock_t *l)
{
  if (l == NULL)
    return;
  if (l->fd >= 0)
    close(l->fd);
  free(l);
}

bool landlock_refused(const char *path)
{
  int saved = errno;
  bool refused = stands && saved == EACCES && faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;
  errno = saved;
  return refused;
}
