/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/accounts.h"

#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

static const char *const account_sorts[] = {"name", "key", "created_at", NULL};
static const char *const account_filters[] = {"filter[search]", NULL};

const jsonapi_list_spec_t account_list_spec = {account_sorts, 0, false, account_filters};

static const char *const key_sorts[] = {"name", "created_at", "expires_at", "last_used_at", "status", NULL};
static const char *const key_filters[] = {"filter[status]", "filter[search]", NULL};

const jsonapi_list_spec_t key_list_spec = {key_sorts, 0, false, key_filters};

void account_key_of(const char *name, char *out)
{
  size_t used = 0;
  /* Room is left for a number behind it. */
  for (; *name != '\0' && used < ACCOUNT_KEY_MAX - 16; name++) {
    char c = text_lower(*name);
    bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (plain)
      out[used++] = c;
    else if (used > 0 && out[used - 1] != '_')
      out[used++] = '_';
  }
  while (used > 0 && out[used - 1] == '_')
    used--;
  out[used] = '\0';
  if (used == 0)
    text_copy(out, ACCOUNT_KEY_MAX, "account");
}

int key_make(key_new_t *key)
{
  int err = uuid_generate(key->id);
  if (!err)
    err = key_generate(key->text);
  if (!err)
    err = key_hash(key->text, key->hash);
  return err;
}

sister_news_t sister_judge(const sister_note_t *now, const sister_note_t *then, const identity_t *report)
{
  if (now->generation != then->generation)
    return SISTER_LATE;
  if (now->epoch[0] == '\0')
    return SISTER_FIRST;
  if (strcmp(now->epoch, report->epoch) != 0)
    return SISTER_ANOTHER;
  /* Not less than `now`: an answer may be overtaken by that to a later call. */
  return report->heard < then->heard ? SISTER_OLDER : SISTER_SAME;
}
