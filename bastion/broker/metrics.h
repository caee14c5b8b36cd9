/* SPDX-License-Identifier: Apache-2.0 */
/* Counters in Prometheus' text format, as common/net/metrics_http.h hands them out. */
#pragma once

#include <stddef.h>

#include "bastion/broker/broker_state.h"

/* malloc'ed, *len bytes; NULL when out of memory. The loop's thread. */
char *metrics_text(broker_t *b, size_t *len);
