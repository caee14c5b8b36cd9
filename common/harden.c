#include "common/harden.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "common/error.h"

int harden_process(void)
{
  struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) < 0)
    return SMPL_ESYS;
#ifndef SMPL_SANITIZER /* LeakSanitizer needs to trace its own process */
  if (prctl(PR_SET_DUMPABLE, 0) < 0)
    return SMPL_ESYS;
#endif
  if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
    return SMPL_ESYS;
  return SMPL_OK;
}
