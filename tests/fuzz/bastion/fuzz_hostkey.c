/* SPDX-License-Identifier: Apache-2.0 */
/* Host key files: what is accepted can sign and be made hollow. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/policy/hostkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static char hollow[MSG_HOST_KEY_MAX];
  uint8_t signature[MSG_SIGNATURE_MAX];
  size_t len;
  hostkey_t *key;
  if (hostkey_parse("fuzz", (const char *)data, size, &key, NULL) != 0)
    return 0;
  if (hostkey_hollow(key, hollow) != 0 ||
      hostkey_sign(key, strcmp(hostkey_kind(key), "ssh-rsa") == 0 ? 512 : 0, data, 32, signature, &len) != 0)
    abort();
  hostkey_free(key);
  return 0;
}
