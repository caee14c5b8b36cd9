/* SPDX-License-Identifier: Apache-2.0 */
/* `user:` of a configuration: the account of the system that a program becomes once everything is bound. */
#pragma once

#include <stdbool.h>

#include "common/conf/conf.h"

/* Where `user:` was decoded to, and its conf. *user NULL: none is named. */
typedef struct account_conf {
  const conf_t *conf;
  const char *const *user;
} account_conf_t;

/* SMPL_EINVAL with the place, if the system has no such account. *ours: there is no `user`, or this process
 * may become it or is it. */
int account_check(const account_conf_t *account, bool *ours, diag_t *diag);

/* What root keeps after account_become. */
typedef enum account_keep {
  ACCOUNT_KEEP_NOTHING,
  ACCOUNT_KEEP_PORTS, /* the right to bind ports below 1024 */
} account_keep_t;

/* Becomes it for good, while the process has one thread. Root gives it the folders that systemd made, and the
 * file or socket at `own`, which may be NULL. No new privileges afterwards. Nothing happens without `user`.
 * An account that only root could become is SMPL_EINVAL with the place; SMPL_ESYS, SMPL_EDENIED. */
int account_become(const account_conf_t *account, account_keep_t keep, const char *own, diag_t *diag);
