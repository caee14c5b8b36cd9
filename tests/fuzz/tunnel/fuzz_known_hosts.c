/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a known_hosts file. The module is included whole: its reader of one line takes no file. */
#include "tunnel/trust/trust.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static bool started;
  if (!started)
    ssh_init();
  started = true;
  trust_t *trust = calloc(1, sizeof *trust);
  name_host(&trust->own, "bastion", 2222);
  name_host(&trust->plain, "bastion", 22);
  char *text = malloc(size + 1);
  memcpy(text, data, size);
  text[size] = '\0';
  unsigned number = 0;
  char *rest = NULL;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
    (void)read_line(trust, line, "known_hosts", ++number, NULL);
  char known[256];
  trust_describe_known(trust, known, sizeof known);
  list_algorithms(trust);
  const lines_t *const both[] = {&trust->own, &trust->plain};
  for (size_t i = 0; i < 2; i++)
    if (both[i]->count > 0 && trust_judge(trust, both[i]->keys[0].key) == TRUST_UNKNOWN)
      abort();
  trust_free(trust);
  free(text);
  return 0;
}
