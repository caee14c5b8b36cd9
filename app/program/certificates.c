/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/certificates.h"

#include "common/base/log.h"

void certificates_tell(const listener_conf_t *listener, bool fresh)
{
  if (listener->tls == NULL)
    return;
  int days = tls_days_left(listener->tls);
  if (fresh)
    log_info("http listener %s: new certificate of %s, good until %s", listener->name,
             tls_subject(listener->tls), tls_until(listener->tls));
  if (days < TLS_WARN_DAYS)
    log_warn("http listener %s: the certificate of %s %s %s", listener->name, tls_subject(listener->tls),
             days < 0 ? "has expired at" : "expires at", tls_until(listener->tls));
}

void certificates_refresh(const listener_conf_t *listeners, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    diag_t diag = {.text = ""};
    int changed = listeners[i].tls != NULL ? tls_refresh(listeners[i].tls, &diag) : 0;
    if (changed < 0)
      log_error("http listener %s keeps its certificate: %s", listeners[i].name, diag.text);
    if (changed > 0)
      certificates_tell(&listeners[i], true);
  }
}
