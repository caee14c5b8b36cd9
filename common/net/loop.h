/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop that a program behind a filter of system calls runs on. */
#pragma once

#include <uv.h>

/* As uv_loop_init, but the loop never holds an io_uring. From libuv 1.45 on a loop makes one for its
 * epoll_ctl calls, whatever options and variables say. Once a filter refuses io_uring_enter, libuv ends the
 * program. The calling thread and all that it starts stay as they were. The loop belongs to the caller's
 * thread. SMPL_OK or SMPL_ESYS. */
int loop_init(uv_loop_t *loop);
