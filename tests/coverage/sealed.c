/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of gcc that survive a process without a file system, and kill -9: in the coverage build the pages
 * they lie on are those of a file, mapped before the process seals itself, shared by all that fork from it.
 * Linked into smpl-bastion-worker.
 *
 * With SMPL_SEALED_COUNTERS=write in the environment the program takes what the file has counted and ends at
 * once, so that gcc's own run time writes it where gcovr looks. Without the file all is as usual. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern char sealed_counters_start[], sealed_counters_end[];

static void fail(const char *what)
{
  perror(what);
  _exit(70); /* counted wrongly would be worse than not run */
}

__attribute__((constructor)) static void map_counters(void)
{
  size_t size = (size_t)(sealed_counters_end - sealed_counters_start);
  const char *mode = getenv("SMPL_SEALED_COUNTERS");
  int fd = open(SEALED_COUNTERS, O_RDWR | O_CLOEXEC);
  if (fd < 0)
    return;
  if (ftruncate(fd, (off_t)size) < 0)
    fail(SEALED_COUNTERS);
  if (mode && strcmp(mode, "write") == 0) {
    if (read(fd, sealed_counters_start, size) != (ssize_t)size)
      fail(SEALED_COUNTERS);
    exit(0);
  }
  if (mmap(sealed_counters_start, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
    fail(SEALED_COUNTERS);
  close(fd);
}
