/* SPDX-License-Identifier: Apache-2.0 */
/* Loaded into a program with LD_PRELOAD: where the program loads its filter of system calls, the acts are
 * tried first, each in a child that loads the very same filter. For the broker's and the launcher's process
 * alike, which are one executable. `SMPL_ACTS` is the name of the process that tries them; the one that
 * `SMPL_UNSEALED` names gets no filter. */
#include <dlfcn.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "acts.h"

typedef int (*load_t)(const scmp_filter_ctx ctx);

static int load(void *ctx)
{
  load_t real;
  *(void **)&real = dlsym(RTLD_NEXT, "seccomp_load");
  return real(ctx);
}

__attribute__((visibility("default"))) int seccomp_load(const scmp_filter_ctx ctx)
{
  const char *wanted = getenv("SMPL_ACTS"), *unsealed = getenv("SMPL_UNSEALED");
  char name[17] = "";
  prctl(PR_GET_NAME, name, 0, 0, 0);
  if (unsealed != NULL && strcmp(unsealed, name) == 0)
    return 0;
  if (wanted != NULL && strcmp(wanted, name) == 0)
    acts_run(name, load, (void *)ctx);
  return load((void *)ctx);
}

/* `SMPL_ACTS=nobody`: without any walls, to see that the acts can be done at all. */
__attribute__((constructor)) static void at_start(void)
{
  const char *wanted = getenv("SMPL_ACTS");
  if (wanted != NULL)
    acts_before_walls();
  if (wanted == NULL || strcmp(wanted, "nobody") != 0)
    return;
  acts_run("nobody", NULL, NULL);
  exit(0);
}
