/* SPDX-License-Identifier: Apache-2.0 */
#include "common/process/harden.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/base/error.h"
#include "common/base/log.h"

/* Set before threads start; read-only afterwards. */
static bool core_dumps;

static int set_dumpable(void)
{
#ifndef SMPL_SANITIZER /* LeakSanitizer needs to trace its own process */
  if (prctl(PR_SET_DUMPABLE, core_dumps ? 1 : 0) < 0)
    return SMPL_ESYS;
#endif
  return SMPL_OK;
}

void harden_core_dumps(bool wanted)
{
  struct rlimit limit = {0, 0};
  getrlimit(RLIMIT_CORE, &limit);
  core_dumps = wanted;
  limit.rlim_cur = wanted ? limit.rlim_max : 0;
  limit.rlim_max = limit.rlim_cur;
  if (setrlimit(RLIMIT_CORE, &limit) < 0 || set_dumpable() || (wanted && limit.rlim_max == 0))
    log_warn("core_dumps: this process can leave none: its limit (LimitCORE=, ulimit -c) is zero");
}

int harden_process(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_CORE, &limit) < 0)
    return SMPL_ESYS;
  limit.rlim_cur =
      core_dumps ? limit.rlim_max : 0; /* what could be had stays, until the configuration is read */
  if (setrlimit(RLIMIT_CORE, &limit) < 0 || set_dumpable())
    return SMPL_ESYS;
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
    return SMPL_ESYS;
  return SMPL_OK;
}
