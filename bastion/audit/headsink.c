/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/audit/headsink.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/count.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum {
  MESSAGE_CAP = 1024,
  SYSLOG_PRIORITY = 10 * 8 + 5, /* authpriv.notice, RFC 5424 §6.2.1 */
};

struct headsink {
  headsink_conf_t conf;
  const char *audit_path;
  int fd;
  uint64_t told; /* number of the record whose hash was told last */
  uint64_t tried_at;
  bool failing;
};

int headsink_parse(const char *text, size_t len, headsink_conf_t *out)
{
  static const struct {
    const char *name, *path;
    headsink_kind_t kind;
  } kinds[] = {{"syslog", "/dev/log", HEADSINK_SYSLOG},
               {"journald", "/run/systemd/journal/socket", HEADSINK_JOURNALD}};
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    size_t n = strlen(kinds[i].name);
    if (len < n || memcmp(text, kinds[i].name, n) != 0 || (len > n && text[n] != ':'))
      continue;
    const char *path = len > n ? text + n + 1 : kinds[i].path;
    out->kind = kinds[i].kind;
    return path[0] == '/' && text_copy(out->path, sizeof out->path, path) == SMPL_OK ? SMPL_OK : SMPL_EINVAL;
  }
  return SMPL_EINVAL;
}

headsink_t *headsink_new(const headsink_conf_t *conf, const char *audit_path)
{
  headsink_t *s = conf->kind != HEADSINK_NONE ? calloc(1, sizeof *s) : NULL;
  if (s == NULL)
    return NULL;
  s->conf = *conf;
  s->audit_path = audit_path;
  s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return s;
}

void headsink_free(headsink_t *s)
{
  if (s == NULL)
    return;
  if (s->fd >= 0)
    close(s->fd);
  free(s);
}

/* syslog's form is RFC 3164 as every local daemon takes it; journald's is its native one, so that the fields
 * can be asked for by name. */
static int compose(const headsink_t *s, const audit_status_t *a, char *buf, size_t cap)
{
  char path[256];
  unsigned long long seq = (unsigned long long)a->written;
  text_printable(path, sizeof path, s->audit_path, strlen(s->audit_path));
  if (s->conf.kind == HEADSINK_SYSLOG)
    return snprintf(buf, cap, "<%d>smpl-bastion[%d]: audit head seq=%llu hash=%s file=%s", SYSLOG_PRIORITY,
                    (int)getpid(), seq, a->head, path);
  return snprintf(buf, cap,
                  "MESSAGE=audit head seq=%llu hash=%s file=%s\nPRIORITY=5\nSYSLOG_IDENTIFIER=smpl-bastion\n"
                  "SMPL_AUDIT_SEQ=%llu\nSMPL_AUDIT_HEAD=%s\n",
                  seq, a->head, path, seq, a->head);
}

static bool deliver(headsink_t *s, const char *message, size_t len)
{
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  memcpy(sa.sun_path, s->conf.path, strlen(s->conf.path) + 1);
  return sendto(s->fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&sa, sizeof sa) ==
         (ssize_t)len;
}

void headsink_tell(headsink_t *s, audit_t *audit, bool last)
{
  char message[MESSAGE_CAP];
  audit_status_t a;
  uint64_t now = clock_mono_ms();
  if (s == NULL || (!last && now - s->tried_at < HEADSINK_MS))
    return;
  audit_status(audit, &a);
  if (a.written == s->told)
    return;
  s->tried_at = now;
  int n = compose(s, &a, message, sizeof message);
  bool taken = n > 0 && n < (int)sizeof message && deliver(s, message, (size_t)n);
  if (taken)
    s->told = a.written;
  else if (!s->failing)
    log_error("audit_sink: %s does not take the audit's head: %s", s->conf.path, strerror(errno));
  else
    log_debug("audit_sink: %s: %s", s->conf.path, strerror(errno));
  if (taken && s->failing)
    log_info("audit_sink: %s takes the audit's head again", s->conf.path);
  s->failing = !taken;
}

bool headsink_works(const headsink_t *s)
{
  return s != NULL && !s->failing;
}
