/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of ssh -G's report: whatever they hold, every list keeps its bounds. */
#include <stdlib.h>
#include <string.h>

#include "tunnel/session/ssh_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const destination_t to;
  ssh_config_t s = {0};
  char *text = malloc(size + 1);
  memcpy(text, data, size);
  text[size] = '\0';
  for (char *line = text; line;) {
    char *end = strchr(line, '\n');
    if (end)
      *end = '\0';
    ssh_config_take_line(&to, &s, line);
    line = end ? end + 1 : NULL;
  }
  if (s.identity_count > IDENTITIES_MAX || s.certificate_count > IDENTITIES_MAX ||
      s.known_hosts_count > KNOWN_HOSTS_MAX || s.string_count > SSH_CONFIG_STRINGS_MAX)
    abort();
  ssh_config_free(&s);
  free(text);
  return 0;
}
