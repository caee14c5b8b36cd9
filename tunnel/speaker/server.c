/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/server.h"

#include <poll.h>

#include "common/base/clock.h"
#include "common/base/error.h"

int server_wait(ssh_session session, uint64_t until)
{
  int flags = ssh_get_poll_flags(session);
  struct pollfd p = {ssh_get_fd(session), POLLIN, 0};
  if (p.fd < 0) /* the other side has said goodbye: nothing more comes, whatever libssh waits for */
    return SMPL_ECLOSED;
  if (flags & SSH_WRITE_PENDING)
    p.events |= POLLOUT;
  uint64_t now = clock_mono_ms();
  if (now >= until)
    return SMPL_ETIMEOUT;
  poll(&p, 1, (int)(until - now));
  return SMPL_OK;
}

bool server_hung_up(ssh_session session)
{
  struct pollfd p = {ssh_get_fd(session), POLLRDHUP, 0};
  return p.fd >= 0 && poll(&p, 1, 0) > 0;
}

void server_hear(ssh_session session)
{
  enum { READS_MAX = 64 }; /* of 4 KiB: a few packets stand there */
  ssh_event event = ssh_event_new();
  if (!event || ssh_event_add_session(event, session) != SSH_OK) {
    ssh_event_free(event);
    return;
  }
  for (int i = 0; i < READS_MAX && ssh_is_connected(session); i++)
    ssh_event_dopoll(event, 0);
  ssh_event_remove_session(event, session);
  ssh_event_free(event);
}
