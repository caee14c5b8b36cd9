/* SPDX-License-Identifier: Apache-2.0 */
/* A crash is one line on standard error: the signal, the address, the place in the code and the build. Then
 * comes the signal's own action, so that the exit status stays what it was. Works behind walls: it needs
 * write(2) and tgkill(2) on itself, or somebody else to tell (crash_tell). A call that the walls end the
 * process for (SIGSYS) leaves no line: the kernel runs nothing of ours then. */
#pragma once

enum {
  CRASH_MODULES_MAX = 48,      /* program and libraries that a place can be named in */
  CRASH_STACK_SIZE = 64 << 10, /* of a thread, for a crash that came of a full stack */
  CRASH_LINE_MAX = 512,        /* bytes of the line */
};

/* What stands in each such line, whoever reads it. */
#define CRASH_WORD "crashed: "

/* Once, before threads start, when libraries are loaded; again in a forked process that goes by another name.
 * program is kept, not copied. Does nothing in sanitizer builds, whose run time reports by itself. */
void crash_catch(const char *program);

/* In each thread besides the first, at its start: a stack of its own to report a full one from. Never freed:
 * the threads live as long as the program. */
void crash_thread(void);

/* For a process that may neither write to standard error nor send itself a signal (the bastion's workers):
 * tell gets the line without its end, in the signal's handler. A signal that somebody sent is then made again
 * by a fault. */
void crash_tell(void (*tell)(void *ctx, const char *line), void *ctx);
