/* SPDX-License-Identifier: Apache-2.0 */
/* What the log says of the listeners' certificates, and the look at their files once in a while. Loop's
 * thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "app/http/front.h"

/* Warns if the certificate ends soon; fresh: it is a new one, which is said too. Nothing without TLS. */
void certificates_tell(const listener_conf_t *listener, bool fresh);
/* Reads again what has changed. */
void certificates_refresh(const listener_conf_t *listeners, size_t count);
