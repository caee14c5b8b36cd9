/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that was taken over would try, one act after another, each in a child that has the process's
 * own walls. Reports on standard error: lines `acts PROGRAM: ACT=RESULT; ACT=RESULT; ...` with yes (it
 * happened, or failed for another reason than a wall), no (refused) or ends (the process was killed for it).
 */
#pragma once

/* When the process starts: makes the process that others are attacked in the place of. */
void acts_before_walls(void);

/* In the process, before its filter of system calls is loaded; load puts it up, for the child that calls it.
 * Makes what the acts need and undoes it. */
void acts_run(const char *program, int (*load)(void *ctx), void *ctx);
