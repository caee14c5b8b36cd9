/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/identity.h"

#include <string.h>

json_t *identity_report(const identity_t *identity)
{
  return json_pack("{s:s, s:s, s:I}", "database", identity->database, "epoch", identity->epoch, "heard",
                   (json_int_t)identity->heard);
}

bool identity_of_report(const json_t *body, identity_t *out)
{
  const json_t *meta = json_object_get(body, "meta");
  const char *database = json_string_value(json_object_get(meta, "database"));
  const char *epoch = json_string_value(json_object_get(meta, "epoch"));
  const json_t *heard = json_object_get(meta, "heard");
  if (database == NULL || epoch == NULL || !uuid_valid(database) || !uuid_valid(epoch) ||
      !json_is_integer(heard) || json_integer_value(heard) < 0)
    return false;
  memcpy(out->database, database, sizeof out->database);
  memcpy(out->epoch, epoch, sizeof out->epoch);
  out->heard = json_integer_value(heard);
  return true;
}
