/* An agent's answer to "which keys": what is kept never exceeds what came. */
#include <libssh/libssh.h>
#include <stdlib.h>
#include <string.h>

#include "tunnel/agent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static bool started;
  if (!started)
    ssh_init();
  started = true;
  char names[AGENT_NAMES_MAX];
  uint32_t count;
  uint8_t *out = malloc(size + 5);
  size_t len = agent_filter(data, size, NULL, 0, out, names, &count);
  if (len > size + 5 || strlen(names) >= sizeof names || (len == 0 && names[0] && count == 0))
    abort();
  free(out);
  return 0;
}
