/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-bastion-worker: the broker executes it as the template, whose forks are the workers. */
#include <libssh/libssh.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "bastion/worker/template.h"
#include "common/process/crash.h"
#include "common/process/harden.h"
#include "common/base/log.h"

static int started_by_broker(void)
{
  int type = 0;
  int domain = 0;
  socklen_t len = sizeof type;
  if (getsockopt(TEMPLATE_SOCK_FD, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
    return 0;
  len = sizeof domain;
  if (getsockopt(TEMPLATE_SOCK_FD, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
    return 0;
  return type == SOCK_SEQPACKET && domain == AF_UNIX;
}

int main(int argc, char **argv)
{
  harden_process();
  if (argc == 2 && strcmp(argv[1], "--version") == 0) {
    printf("smpl-bastion-worker " SMPL_VERSION "\nlibssh %s\n", ssh_version(0));
    return 0;
  }
  if (argc != 1 || !started_by_broker()) {
    fputs("smpl-bastion-worker: started by smpl-bastion for its sessions, not by hand\n", stderr);
    return 2;
  }
  log_init("smpl-bastion-worker", LOG_LEVEL_INFO);
  crash_catch("smpl-bastion-worker");
  return template_run();
}
