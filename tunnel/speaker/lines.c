/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/speaker/lines.h"

#include "common/base/clock.h"
#include "common/base/error.h"
#include "tunnel/speaker/pair.h"

static void tell(bool there)
{
  speech_t m;
  speech_init(&m, SPEECH_CONTROL, 0);
  m.value.value = there;
  pair_tell(&m);
}

void lines_start(lines_t *l, ssh_session session, ssh_pump_t *pump)
{
  *l = (lines_t){.session = session, .pump = pump, .until = clock_mono_ms() + ASK_ANSWER_MS};
  l->channel = ssh_channel_new(session);
  if (!l->channel)
    tell(false);
}

static void on_line(void *ctx, ssh_pump_channel_t *ch, const char *line, size_t len)
{
  static speech_t m;
  (void)ctx;
  if (!line || speech_init_bytes(&m, SPEECH_LINE, line, len) != SMPL_OK ||
      speech_check(&m, speech_length(&m), SPEECH_FROM_SPEAKER) != SMPL_OK) {
    ssh_pump_drop(ch);
    return;
  }
  pair_tell(&m);
}

static void on_end(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end, const ssh_pump_bytes_t *bytes)
{
  lines_t *l = ctx;
  (void)ch;
  (void)bytes;
  l->carried = NULL;
  if (end != SSH_PUMP_END_SESSION)
    tell(false);
}

static void give_up(lines_t *l)
{
  if (l->opened)
    ssh_channel_close(l->channel);
  ssh_channel_free(l->channel);
  l->channel = NULL;
  tell(false);
}

void lines_step(lines_t *l)
{
  int rc = SSH_OK;
  if (!l->channel)
    return;
  if (!l->opened) {
    rc = ssh_channel_open_session(l->channel);
    l->opened = rc == SSH_OK;
  }
  if (rc == SSH_OK)
    rc = ssh_channel_request_subsystem(l->channel, "smpl-control");
  if (rc == SSH_AGAIN && clock_mono_ms() < l->until)
    return;
  if (rc != SSH_OK || ssh_pump_add_lines(l->pump, l->channel, on_line, on_end, l, &l->carried) != SMPL_OK) {
    give_up(l);
    return;
  }
  l->channel = NULL;
  tell(true);
}

bool lines_wait(const lines_t *l)
{
  return l->channel != NULL;
}

/* A line that cannot be sent is one that is not answered in time. */
void lines_ask(lines_t *l, const speech_bytes_t *line)
{
  if (l->carried)
    ssh_pump_send_line(l->carried, (const char *)line->bytes, line->len);
}
