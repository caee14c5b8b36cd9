/* From what a client wrote to a connected socket: found by finder.h, connected to the checked addresses in their order,
 * from the configured source, and judged once more by the policy in force when the connection stands. */
#pragma once

#include "bastion/finder.h"

enum {
  OPENING_ADDRESS_MS = 5000, /* for one address while there is another */
  OPENING_TOTAL_MS = 15000,  /* for all, lookups not counted */
};

typedef struct opening_result {
  reason_t reason; /* REASON_NONE: connected */
  bool is_ip;
  char name[GRANT_NAME_MAX];
  endpoint_t address; /* connected to, or tried last */
  int fd;             /* nonblocking, TCP_NODELAY; the receiver's. -1 without */
} opening_result_t;

typedef struct opening opening_t;
typedef void (*opening_cb)(void *ctx, const opening_result_t *result);

/* cb may run before this returns: then *out is NULL. */
void opening_start(const finder_world_t *world, const char *user, const char *host, uint16_t port,
                   opening_cb cb, void *ctx, opening_t **out);
/* cb will not be called. NULL allowed. */
void opening_cancel(opening_t *opening);
