/* SPDX-License-Identifier: Apache-2.0 */
/* Named errors, shared by all programs. Functions return 0 (SMPL_OK) or one of these, all negative. */
#pragma once

enum {
  SMPL_OK = 0,
  SMPL_ENOMEM = -1,   /* out of memory */
  SMPL_ESYS = -2,     /* a system call failed; errno says which way */
  SMPL_EINVAL = -3,   /* malformed input */
  SMPL_ELIMIT = -4,   /* above a named limit */
  SMPL_ENOENT = -5,   /* no such thing */
  SMPL_EEXIST = -6,   /* exists already */
  SMPL_EDENIED = -7,  /* policy or permissions say no */
  SMPL_ETRUNC = -8,   /* the input ends too early */
  SMPL_ETIMEOUT = -9, /* waited long enough */
  SMPL_EAGAIN = -10,  /* not now; try again when told */
  SMPL_ECLOSED = -11, /* the other side has gone */
  SMPL_EBUSY = -12,   /* in use by another */
  SMPL_EPROTO = -13,  /* the peer broke the protocol */
  SMPL_ESERVER = -14, /* a server answered that it failed */
  SMPL_EFULL = -15,   /* no room left on the disk */
};

/* Text for an error code; never NULL. */
const char *smpl_strerror(int err);
