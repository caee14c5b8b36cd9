/* SPDX-License-Identifier: Apache-2.0 */
/* What smpl-tunnel's exit status says; the same list stands in its help and its README. */
#pragma once

typedef enum exit_code {
  EXIT_ENDED = 0,            /* ended as asked */
  EXIT_OTHER = 1,            /* anything else */
  EXIT_USAGE = 2,            /* the command line */
  EXIT_CANNOT_BIND = 3,      /* a local port */
  EXIT_NO_BASTION = 4,       /* cannot reach the bastion, or lost it */
  EXIT_NOT_TRUSTED = 5,      /* its host key */
  EXIT_NOT_SIGNED_IN = 6,    /* no key was accepted */
  EXIT_REFUSED = 7,          /* the target, by policy */
  EXIT_UNREACHABLE = 8,      /* the target itself */
  EXIT_ENDED_BY_BASTION = 9, /* a limit or an administrator */
  EXIT_FOR_COMMAND = 125, /* any of these but the first, when there is a program to run: it has the others */
} exit_code_t;
