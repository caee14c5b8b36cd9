/* One forward as the user writes it: [BIND:]PORT:TARGET[:PORT]. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "common/diag.h"
#include "common/ip.h"

enum {
  FORWARDS_MAX = 64,        /* on one command line */
  FORWARD_TARGET_MAX = 254, /* bytes of a target's name, with NUL (RFC 1035 §2.3.4) */
};

typedef struct forward {
  bool bind_given; /* else 127.0.0.1 and, if there is one, ::1 */
  ip_t bind;
  uint16_t port; /* local; 0: any free one */
  char target[FORWARD_TARGET_MAX];
  uint16_t target_port; /* 0: the bastion is asked for the service's */
} forward_t;

/* SMPL_EINVAL with what is wrong and what is meant. An address that is not loopback is SMPL_EDENIED. */
int forward_parse(const char *text, forward_t *out, diag_t *diag);
