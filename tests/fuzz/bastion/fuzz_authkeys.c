/* authorized_keys text, base64 and key blobs behind it. */
#include <stdint.h>
#include <stdlib.h>

#include "bastion/authkeys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  authkeys_t keys;
  diag_t diag = {""};
  if (authkeys_parse("fuzz", (const char *)data, size, &keys, &diag) == 0) {
    for (size_t i = 0; i < keys.count; i++) {
      size_t len;
      const uint8_t *blob = userkey_blob(keys.keys[i].key, &len);
      if (authkeys_find(&keys, blob, len) != &keys.keys[i])
        abort();
    }
  } else if (diag.text[0] == '\0' || keys.count != 0) {
    abort();
  }
  authkeys_free(&keys);
  return 0;
}
