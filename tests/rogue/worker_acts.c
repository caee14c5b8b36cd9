/* SPDX-License-Identifier: Apache-2.0 */
/* Template and worker with the acts in them: smpl-bastion-worker, object for object, but for the two places
 * where a filter of system calls is loaded (--wrap). Its environment is empty, so nothing could be loaded
 * into it. */
#include <seccomp.h>
#include <stdbool.h>

#include "acts.h"
#include "bastion/worker/worker_seal.h"

int __real_seccomp_load(const scmp_filter_ctx filter);
int __wrap_seccomp_load(const scmp_filter_ctx filter);
int __real_worker_seal(uint32_t channels_max, uint32_t *walls, diag_t *diag);
int __wrap_worker_seal(uint32_t channels_max, uint32_t *walls, diag_t *diag);

static bool is_worker, trying;

static int load(void *ctx)
{
  return __real_seccomp_load(ctx);
}

int __wrap_seccomp_load(const scmp_filter_ctx filter)
{
  if (!is_worker)
    acts_run("template", load, (void *)filter);
  return __real_seccomp_load(filter);
}

typedef struct seal_args {
  uint32_t channels_max, walls;
} seal_args_t;

static int seal(void *ctx)
{
  seal_args_t a = *(seal_args_t *)ctx;
  diag_t diag = {""};
  return __real_worker_seal(a.channels_max, &a.walls, &diag);
}

/* Before the limits, which allow no child. */
int __wrap_worker_seal(uint32_t channels_max, uint32_t *walls, diag_t *diag)
{
  is_worker = true;
  if (!trying) {
    seal_args_t args = {channels_max, *walls};
    trying = true;
    acts_run("worker", seal, &args);
  }
  return __real_worker_seal(channels_max, walls, diag);
}

__attribute__((constructor)) static void at_start(void)
{
  acts_before_walls();
}
