/* SPDX-License-Identifier: Apache-2.0 */
/* The few calls of liburcu (QSBR flavour) that workers and server make, told to ThreadSanitizer, which
 * cannot see into that library: what a reader did before its quiet point happens before what the writer
 * does after its wait. */
#pragma once

#include <urcu/urcu-qsbr.h>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define RCU_RELEASE(at) __tsan_release(at)
#define RCU_ACQUIRE(at) __tsan_acquire(at)
#else
#define RCU_RELEASE(at) ((void)(at))
#define RCU_ACQUIRE(at) ((void)(at))
#endif

/* The pointer at `at`. Its target stays until the caller's next quiet point. */
#define rcu_get(at) (RCU_ACQUIRE(at), rcu_dereference(*(at)))

/* The calling reader holds nothing that it got from `at`. */
static inline void rcu_quiet(void *at)
{
  RCU_RELEASE(at);
  urcu_qsbr_quiescent_state();
}

/* The same for as long as the reader waits, until rcu_back. */
static inline void rcu_away(void *at)
{
  RCU_RELEASE(at);
  urcu_qsbr_thread_offline();
}

static inline void rcu_back(void)
{
  urcu_qsbr_thread_online();
}
