/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/loop.h"

#include <pthread.h>
#include <sys/prctl.h>

#include "common/base/count.h"
#include "common/base/error.h"
#include "common/process/seal.h"

static const seal_rule_t rings[] = {SEAL_CALL(io_uring_setup)};

/* A filter cannot be taken back, and programs that are started later shall not have it: so it is put on a
 * thread that makes the loop and ends. A kernel without filters has none later either, and there the ring
 * does no harm. */
static void *make(void *ctx)
{
  uv_loop_t *loop = ctx;
  prctl(PR_SET_NAME, "loop");
  seal_t *seal = seal_new(SEAL_ALLOW);
  seal_add(seal, SEAL_MISS, rings, COUNT_OF(rings));
  (void)seal_load(seal, false);
  return uv_loop_init(loop) == 0 ? loop : NULL;
}

int loop_init(uv_loop_t *loop)
{
  pthread_t maker;
  void *made = NULL;
  if (pthread_create(&maker, NULL, make, loop) != 0)
    return SMPL_ESYS;
  pthread_join(maker, &made);
  return made != NULL ? SMPL_OK : SMPL_ESYS;
}
