/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Prometheus' text format (version 0.0.4), as common/net/metrics_http.h hands them out. */
#pragma once

#include <stddef.h>

#include "common/net/metrics_http.h"
#include "resolver/control/admin.h"

/* malloc'ed, *len bytes; NULL when out of memory. */
char *metrics_text(const admin_state_t *a, size_t *len);
