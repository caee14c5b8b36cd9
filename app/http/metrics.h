/* SPDX-License-Identifier: Apache-2.0 */
/* What the http side counts, as Prometheus reads it (text format 0.0.4). Loop's thread. */
#pragma once

#include <stdio.h>

#include "app/http/front.h"

/* Writes the numbers of all listeners, and those that they have together. */
void metrics_put(FILE *f, const front_t *front);
