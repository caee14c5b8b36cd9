/* SPDX-License-Identifier: Apache-2.0 */
/* What each of a few DNS servers did lately, and which of them is asked first. Pure: times come from the
 * caller, in milliseconds of the monotonic clock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  DNS_SERVERS_MAX = 4,
  DNS_SERVERS_STEP_MS = 16, /* answer times up to it are alike; above, those between two doublings of it */
  DNS_SERVERS_FAILED_MS =
      128, /* one that refuses, fails or is not there is served as one that takes so long */
  /* One that was never asked, as one that takes so long: a quick one is not left to try it. */
  DNS_SERVERS_UNKNOWN_MS = 64,
  DNS_SERVERS_PROBE_MS =
      5000, /* how often one that is not first for what it did gets a question nevertheless */
};

typedef struct dns_server_past {
  uint64_t time_ms;  /* of its answers; or how long none came. 0: not known */
  uint64_t probe_at; /* not before */
  bool late;         /* time_ms is a wait that no answer ended */
  bool failing;      /* since its last good answer */
} dns_server_past_t;

typedef struct dns_servers {
  size_t count; /* in the order of the configuration */
  dns_server_past_t past[DNS_SERVERS_MAX];
} dns_servers_t;

/* It gave a good answer after so long. */
void dns_servers_answered(dns_servers_t *s, size_t server, uint64_t took_ms, uint64_t now);
/* It was asked so long ago and said nothing, while another one answered or the wait ended. */
void dns_servers_outrun(dns_servers_t *s, size_t server, uint64_t waited_ms, uint64_t now);
/* It refused, failed, answered malformed, or nobody listens there. */
void dns_servers_failed(dns_servers_t *s, size_t server, uint64_t now);

/* The best of those whose bit is not in but_not; of equals the first. count: none is left. */
size_t dns_servers_best(const dns_servers_t *s, unsigned but_not);
/* One that did worse than server and has not been tried for DNS_SERVERS_PROBE_MS: it counts as tried from
 * now on. count: none. */
size_t dns_servers_probe(dns_servers_t *s, size_t server, uint64_t now);
