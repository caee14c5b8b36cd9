/* SPDX-License-Identifier: Apache-2.0 */
/* `control:` of every program's configuration: the path of its control socket. */
#pragma once

#include "common/conf/conf.h"

/* After decoding: the path fits a socket's address; SMPL_EINVAL with the place. *path NULL: there is none. */
int control_conf_check(const conf_t *conf, const char *const *path, diag_t *diag);
