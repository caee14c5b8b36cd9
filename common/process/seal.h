/* SPDX-License-Identifier: Apache-2.0 */
/* A filter of system calls (seccomp), built from lists of rules. They say which calls a program may make once
 * it serves, with which arguments, and which calls end it. One call may stand in several rules of a kind: any
 * of them is enough. */
#pragma once

#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/count.h"

enum { SEAL_CHECKS_MAX = 3 };

typedef enum seal_verdict {
  SEAL_ALLOW,
  SEAL_REFUSE, /* EPERM */
  SEAL_MISS,   /* ENOSYS, as on a kernel that has no such call: the caller then does it another way */
  SEAL_END     /* the process ends (SIGSYS) */
} seal_verdict_t;

typedef enum seal_test {
  SEAL_NO_CHECK = 0,
  SEAL_IS,      /* the argument, all 64 bits of it: to allow */
  SEAL_LOW_IS,  /* its lower half, which is all that the kernel looks at in an int: to refuse */
  SEAL_WITHOUT, /* none of these bits */
  SEAL_WITH,    /* all of these bits */
} seal_test_t;

typedef struct seal_check {
  seal_test_t test;
  unsigned arg; /* from 0 */
  uint64_t bits;
} seal_check_t;

typedef struct seal_rule {
  int call;
  seal_check_t checks[SEAL_CHECKS_MAX]; /* all must hold; of one argument there is one at most */
} seal_rule_t;

#define SEAL_CALL(name)                                                                                      \
  {                                                                                                          \
    SCMP_SYS(name),                                                                                          \
    {                                                                                                        \
      {                                                                                                      \
        SEAL_NO_CHECK, 0, 0                                                                                  \
      }                                                                                                      \
    }                                                                                                        \
  }
#define SEAL_CALL_IF(name, ...)                                                                              \
  {                                                                                                          \
    SCMP_SYS(name),                                                                                          \
    {                                                                                                        \
      __VA_ARGS__                                                                                            \
    }                                                                                                        \
  }
#define SEAL_ARG(number, what, value)                                                                        \
  {                                                                                                          \
    SEAL_##what, (number), (uint64_t)(value)                                                                 \
  }

typedef struct seal seal_t;

/* otherwise: of a call that no rule names, or none with these arguments. */
seal_t *seal_new(seal_verdict_t otherwise);
/* Errors are kept for seal_load, so is memory that ran out (NULL). The call named first is the one found
 * first. A call that this machine's kernel has by another name alone (poll on arm64) is passed over. */
void seal_add(seal_t *seal, seal_verdict_t verdict, const seal_rule_t *rules, size_t count);
/* For every thread of the process, or for this one and what it starts. Sets no_new_privs. Frees seal. 0, or
 * SMPL_ESYS with errno. */
int seal_load(seal_t *seal, bool every_thread);

/* What several programs share. */

/* Calls that only somebody who has taken a process over would make, of those that neither serve nor run
 * programs: running one, tracing, other processes' memory, kernel modules, namespaces. */
extern const seal_rule_t seal_deadly[];
extern const size_t seal_deadly_count;
/* The same for who runs programs. */
extern const seal_rule_t seal_never[];
extern const size_t seal_never_count;
/* Memory, time, signals to itself, threads that exist, ending: what every C program calls. Memory is never
 * executable. */
extern const seal_rule_t seal_runtime[];
extern const size_t seal_runtime_count;
/* Sockets that exist: bytes in and out without MSG_FASTOPEN, accepting, options that were used, event loops.
 */
extern const seal_rule_t seal_traffic[];
extern const size_t seal_traffic_count;
/* TCP and UDP sockets of one's own, as c-ares, libcurl and libuv make them, and their options. */
extern const seal_rule_t seal_sockets[];
extern const size_t seal_sockets_count;
/* Calls that libraries try and do without (SEAL_MISS): clone3, whose flags no filter can see, and io_uring.
 */
extern const seal_rule_t seal_absent[];
extern const size_t seal_absent_count;
/* Files: what is open, and looking at what is not. */
extern const seal_rule_t seal_files[];
extern const size_t seal_files_count;
#ifdef SMPL_SANITIZER
/* What the sanitizers' run time needs to look for leaks and to report. */
extern const seal_rule_t seal_wide[];
extern const size_t seal_wide_count;
#endif
