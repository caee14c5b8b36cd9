/* SPDX-License-Identifier: Apache-2.0 */
/* authorized_keys text, base64 and key blobs behind it. */
#include <stdint.h>
#include <stdlib.h>

#include "bastion/policy/authkeys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  authkeys_t keys;
  faults_t faults = {0};
  if (authkeys_parse("fuzz", (const char *)data, size, &keys, &faults) != 0)
    abort();
  for (size_t i = 0; i < keys.count; i++) {
    size_t len;
    const uint8_t *blob = userkey_blob(keys.keys[i].key, &len);
    if (authkeys_find(&keys, blob, len) != &keys.keys[i])
      abort();
  }
  for (size_t i = 0; i < faults.count; i++)
    if (faults.list[i].text[0] == '\0')
      abort();
  authkeys_free(&keys);
  faults_free(&faults);
  return 0;
}
