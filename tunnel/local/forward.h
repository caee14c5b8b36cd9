/* SPDX-License-Identifier: Apache-2.0 */
/* One forward as the user writes it: [BIND:]PORT:TARGET[:PORT] or PATH:TARGET[:PORT]; and the local end of
 * -D, [BIND:]PORT. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tunnel/limits.h"
#include "common/base/diag.h"
#include "common/base/ip.h"

typedef enum forward_kind {
  FORWARD_PORT,
  FORWARD_SOCKET, /* a unix socket */
  FORWARD_SOCKS,  /* -D: each connection says its target */
} forward_kind_t;

typedef struct forward {
  forward_kind_t kind;
  bool bind_given; /* else 127.0.0.1 and, if there is one, ::1 */
  bool wide;       /* bind is no loopback address */
  ip_t bind;
  uint16_t port; /* local; 0: any free one */
  char path[FORWARD_PATH_MAX];
  char target[FORWARD_TARGET_MAX];
  uint16_t target_port; /* 0: the bastion is asked for the service's */
} forward_t;

/* SMPL_EINVAL with what is wrong and what is meant. */
int forward_parse(const char *text, forward_t *out, diag_t *diag);
/* "NAME:PORT" and "[ADDRESS]:PORT", a target alone. */
bool forward_lacks_port(const char *text);
/* [BIND:]PORT */
int forward_parse_socks(const char *text, forward_t *out, diag_t *diag);
/* TARGET[:PORT] into target and target_port. */
int forward_parse_target(const char *text, forward_t *out, diag_t *diag);
