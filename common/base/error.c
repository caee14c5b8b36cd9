/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/error.h"

const char *smpl_strerror(int err)
{
  switch (err) {
  case SMPL_OK:
    return "ok";
  case SMPL_ENOMEM:
    return "out of memory";
  case SMPL_ESYS:
    return "system call failed";
  case SMPL_EINVAL:
    return "malformed";
  case SMPL_ELIMIT:
    return "limit exceeded";
  case SMPL_ENOENT:
    return "not found";
  case SMPL_EEXIST:
    return "already exists";
  case SMPL_EDENIED:
    return "denied";
  case SMPL_ETRUNC:
    return "ends too early";
  case SMPL_ETIMEOUT:
    return "timed out";
  case SMPL_EAGAIN:
    return "try again";
  case SMPL_ECLOSED:
    return "closed by the other side";
  case SMPL_EBUSY:
    return "in use";
  case SMPL_EPROTO:
    return "protocol error";
  case SMPL_ESERVER:
    return "server failure";
  case SMPL_EFULL:
    return "no room left on the disk";
  default:
    return "unknown error";
  }
}
