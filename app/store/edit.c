/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/edit.h"

#include "app/http/json_text.h"
#include "common/base/error.h"

int edit_end(edit_t *e, int err)
{
  if (!err && e->status != 204 && e->document == NULL)
    err = SMPL_ENOMEM;
  if (!err && e->keep_document)
    return SMPL_OK;
  if (!err && e->document != NULL && (e->text = json_text(e->document)) == NULL)
    err = SMPL_ENOMEM;
  json_decref(e->document);
  e->document = NULL;
  return err;
}
