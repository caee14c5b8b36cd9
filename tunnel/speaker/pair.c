/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/pair.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"

noreturn void pair_end(void)
{
  _exit(0);
}

static void wait_for(short events)
{
  struct pollfd p = {SPEAKER_PAIR_FD, events, 0};
  poll(&p, 1, -1);
}

void pair_tell(const speech_t *m)
{
  int err;
  while ((err = speech_send(SPEAKER_PAIR_FD, m, -1)) == SMPL_EAGAIN)
    wait_for(POLLOUT);
  if (err)
    pair_end();
}

bool pair_look(speech_t *m, int *fd)
{
  int err = speech_receive(SPEAKER_PAIR_FD, m, SPEECH_FROM_SUPERVISOR, fd);
  if (err && err != SMPL_EAGAIN)
    pair_end();
  return !err;
}

void pair_hear(speech_t *m, int *fd)
{
  while (!pair_look(m, fd))
    wait_for(POLLIN);
}

void pair_text(char *out, size_t cap, const char *text)
{
  size_t len = strnlen(text ? text : "", cap - 1);
  if (len > 0)
    memcpy(out, text, len);
  out[len] = '\0';
}
