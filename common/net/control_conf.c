/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/control_conf.h"

#include <string.h>
#include <sys/un.h>

#include "common/base/error.h"

enum { PATH_BYTES = sizeof((struct sockaddr_un *)NULL)->sun_path - 1 };

int control_conf_check(const conf_t *conf, const char *const *path, diag_t *diag)
{
  if (*path == NULL || strlen(*path) <= PATH_BYTES)
    return SMPL_OK;
  return conf_fail(conf, diag, path, "control: a socket's path has at most %d bytes, this one %zu",
                   PATH_BYTES, strlen(*path));
}
