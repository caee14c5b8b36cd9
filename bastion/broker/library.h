/* SPDX-License-Identifier: Apache-2.0 */
/* The SSH library of the workers: the broker does not link it, so it asks the worker's executable. */
#pragma once

#include "common/base/diag.h"
#include "common/ssh/libssh.h"

/* Before walls stand. worker: path of smpl-bastion-worker. version of LIBSSH_VERSION_MAX bytes: "0.10.6", or
 * "" if it does not say. */
void library_ask(const char *worker, char *version);
/* SMPL_EDENIED for one with known holes that is not accepted; else what there is to say is logged. */
int library_check(const char *version, const libssh_conf_t *conf, const char *config_path, diag_t *diag);
