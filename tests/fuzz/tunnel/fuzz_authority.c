/* SPDX-License-Identifier: Apache-2.0 */
/* A host certificate: whatever it says, its signer lies within it, and it speaks for the key that was asked
 * about alone. */
#include <stdlib.h>
#include <string.h>

#include "tunnel/trust/authority.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const uint8_t key[] = "\0\0\0\13ssh-ed25519\0\0\0\4key.";
  const uint8_t *signer;
  size_t len;
  const char *why = authority_read(data, size, key, sizeof key - 1, "host", 1000, &signer, &len);
  if (!why &&
      (signer < data || len > size || signer + len > data + size || memmem(data, size, "key.", 4) == NULL))
    abort();
  return 0;
}
