/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to one DNS server. c-ares sends them and waits, on a libuv loop; the differences between its
 * versions stay in dns_channel.c. The caller decides which server is asked, when, and how good an answer is
 * (lookup.h). All calls on the loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "common/dns/dns_wire.h"
#include "common/base/ip.h"

enum {
  DNS_CHANNEL_PORTS = 4,    /* UDP sockets, taken in turn: each has a source port of its own while in use */
  DNS_CHANNEL_TRIES = 2,    /* packets for one question by UDP */
  DNS_CHANNEL_EDNS = 1232,  /* bytes of UDP answer that we take */
  DNS_CHANNEL_TICK_MS = 50, /* how often c-ares may look at its time-outs */
};

typedef struct dns_channel dns_channel_t;

typedef struct dns_channel_conf {
  endpoint_t server;
  const ip_t *source; /* address to ask from; NULL: the system's choice */
  /* For the first packet. The second waits twice as long; c-ares 1.34 waits less for a server that it
   * knows as quick. */
  uint64_t timeout_ms;
} dns_channel_conf_t;

/* Called once for each question, also from inside dns_channel_ask. err: SMPL_OK (msg answers a question
 * with this id, name but for its letter case, and type; nothing else is checked, its rcode neither),
 * SMPL_ETIMEOUT, SMPL_ECLOSED (nobody listens there), SMPL_EPROTO (malformed answer), SMPL_ENOMEM. msg is
 * borrowed for the call. */
typedef void (*dns_channel_cb)(void *ctx, int err, const uint8_t *msg, size_t len);

/* SMPL_ENOMEM, SMPL_EINVAL. */
int dns_channel_new(uv_loop_t *loop, const dns_channel_conf_t *conf, dns_channel_t **out);
/* Questions under way are dropped, not called. NULL allowed. */
void dns_channel_free(dns_channel_t *channel);

/* Asks for name, in its letter case, class IN, with a random id. By UDP a truncated answer comes back as
 * it is. */
void dns_channel_ask(dns_channel_t *channel, const dns_name_t *name, uint16_t type, bool tcp,
                     dns_channel_cb cb, void *ctx);
