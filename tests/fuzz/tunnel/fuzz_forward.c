/* SPDX-License-Identifier: Apache-2.0 */
/* Forwards and bastions from the command line: any bytes are taken or refused, and what is taken keeps its
 * bounds. */
#include <stdlib.h>
#include <string.h>

#include "tunnel/local/forward.h"
#include "tunnel/session/destination.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What others than this machine can reach is marked as such: that is what -g is asked for. */
static bool is_told_wide(const forward_t *forward)
{
  return !forward->bind_given || forward->wide == !ip_is_loopback(&forward->bind);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char *text = malloc(size + 1);
  memcpy(text, data, size);
  text[size] = '\0';
  diag_t diag = {0};
  forward_t forward;
  if (forward_parse(text, &forward, &diag) == 0 && (forward.target[0] == '\0' || !is_told_wide(&forward)))
    abort();
  if (forward_parse_socks(text, &forward, &diag) == 0 && !is_told_wide(&forward))
    abort();
  char user[USER_MAX];
  char host[HOST_MAX];
  uint16_t port;
  if (destination_parse(text, user, host, &port, &diag) == 0 && host[0] == '\0')
    abort();
  free(text);
  return 0;
}
