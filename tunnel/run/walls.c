/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/run/walls.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/shm.h>
#include <sys/socket.h>

#include "common/base/error.h"
#include "common/process/seal.h"

/* Code comes from files alone, mapped as the linker of every program maps its libraries: what was written to
 * memory cannot be executed. */
static const seal_rule_t code[] = {
    SEAL_CALL_IF(mmap, SEAL_ARG(2, WITH, PROT_WRITE | PROT_EXEC)),
    SEAL_CALL_IF(mmap, SEAL_ARG(2, WITH, PROT_EXEC), SEAL_ARG(3, WITH, MAP_ANONYMOUS)),
    SEAL_CALL_IF(mprotect, SEAL_ARG(2, WITH, PROT_EXEC)),
    SEAL_CALL_IF(pkey_mprotect, SEAL_ARG(2, WITH, PROT_EXEC)),
    SEAL_CALL_IF(shmat, SEAL_ARG(2, WITH, SHM_EXEC)),
    /* would make all memory that can be read executable */
    SEAL_CALL_IF(personality, SEAL_ARG(0, WITH, READ_IMPLIES_EXEC)),
    SEAL_CALL(memfd_create),
};

static const seal_rule_t others[] = {
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, LOW_IS, TIOCSTI)), /* what it types, the shell behind us would run */
    SEAL_CALL_IF(ioctl, SEAL_ARG(1, LOW_IS, TIOCLINUX)),
    SEAL_CALL_IF(socket, SEAL_ARG(0, LOW_IS, AF_PACKET)),
};

void walls_seal(say_t *say)
{
#ifndef SMPL_SANITIZER
  /* clone3 stays: only lists of what is allowed need to see its flags */
  static const seal_rule_t rings[] = {SEAL_CALL(io_uring_setup), SEAL_CALL(io_uring_enter),
                                      SEAL_CALL(io_uring_register)};
  seal_t *seal = seal_new(SEAL_ALLOW);
  seal_add(seal, SEAL_REFUSE, seal_never, seal_never_count);
  seal_add(seal, SEAL_REFUSE, code, COUNT_OF(code));
  seal_add(seal, SEAL_REFUSE, others, COUNT_OF(others));
  seal_add(seal, SEAL_MISS, rings, COUNT_OF(rings));
  if (seal_load(seal, true) != SMPL_OK)
    say_note(say, "seccomp: %s: this process may make every system call", strerror(errno));
#else
  (void)say;
  (void)code;
  (void)others;
#endif
}
