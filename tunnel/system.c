#include "tunnel/system.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LISTEN_STATE = 0x0a, PATH_BYTES = 512 };

void system_raise_limits(void)
{
  struct rlimit r;
  if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
  }
}

/* The inode of a listening socket in /proc/net/tcp or tcp6; 0 if there is none. */
static unsigned long listening_inode(const char *table, uint16_t port)
{
  FILE *f = fopen(table, "re");
  char line[PATH_BYTES];
  unsigned long found = 0;
  while (f && !found && fgets(line, sizeof line, f)) {
    unsigned at;
    unsigned state;
    unsigned long inode;
    if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu", &at, &state,
               &inode) == 3 &&
        at == port && state == LISTEN_STATE)
      found = inode;
  }
  if (f)
    fclose(f);
  return found;
}

static bool holds(const char *pid, unsigned long inode)
{
  char path[PATH_BYTES];
  char want[64];
  snprintf(want, sizeof want, "socket:[%lu]", inode);
  snprintf(path, sizeof path, "/proc/%s/fd", pid);
  DIR *fds = opendir(path);
  bool found = false;
  struct dirent *e;
  while (fds && !found && (e = readdir(fds))) {
    char link[64];
    char name[PATH_BYTES + 300];
    snprintf(name, sizeof name, "%s/%s", path, e->d_name);
    ssize_t n = readlink(name, link, sizeof link - 1);
    if (n > 0) {
      link[n] = '\0';
      found = strcmp(link, want) == 0;
    }
  }
  if (fds)
    closedir(fds);
  return found;
}

static void describe(const char *pid, char *buf, size_t cap)
{
  char path[PATH_BYTES];
  char name[64] = "a process";
  snprintf(path, sizeof path, "/proc/%s/comm", pid);
  FILE *f = fopen(path, "re");
  if (f && fgets(name, sizeof name, f))
    name[strcspn(name, "\n")] = '\0';
  if (f)
    fclose(f);
  snprintf(buf, cap, "%s (pid %s)", name, pid);
}

char *system_port_holder(uint16_t port, char *buf, size_t cap)
{
  buf[0] = '\0';
  unsigned long inode = listening_inode("/proc/net/tcp", port);
  if (!inode)
    inode = listening_inode("/proc/net/tcp6", port);
  DIR *proc = inode ? opendir("/proc") : NULL;
  struct dirent *e;
  while (proc && !buf[0] && (e = readdir(proc))) {
    if (isdigit((unsigned char)e->d_name[0]) && holds(e->d_name, inode))
      describe(e->d_name, buf, cap);
  }
  if (proc)
    closedir(proc);
  return buf;
}
