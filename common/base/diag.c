/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/diag.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

static void set_text(diag_t *d, const char *fmt, va_list ap)
{
  char raw[DIAG_TEXT_MAX];
  int n = vsnprintf(raw, sizeof raw, fmt, ap);
  size_t len = n < 0 ? 0 : (size_t)n;
  if (len >= sizeof raw)
    len = sizeof raw - 1;
  text_printable(d->text, sizeof d->text, raw, len);
}

#undef diag_fail
int diag_fail(diag_t *d, int err, const char *fmt, ...)
{
  if (d == NULL || d->text[0] != '\0')
    return err;
  va_list ap;
  va_start(ap, fmt);
  set_text(d, fmt, ap);
  va_end(ap);
  return err;
}

#undef diag_fail_errno
int diag_fail_errno(diag_t *d, const char *fmt, ...)
{
  int saved = errno;
  if (d == NULL || d->text[0] != '\0')
    return SMPL_ESYS;
  va_list ap;
  va_start(ap, fmt);
  set_text(d, fmt, ap);
  va_end(ap);
  size_t used = strlen(d->text);
  snprintf(d->text + used, sizeof d->text - used, ": %s", strerror(saved));
  errno = saved;
  return SMPL_ESYS;
}
