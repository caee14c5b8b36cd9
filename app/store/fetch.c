/* SPDX-License-Identifier: Apache-2.0 */
#include "app/store/fetch.h"

#include <stdlib.h>

#include "app/http/json_text.h"
#include "common/base/error.h"

void fetch_begin(fetch_t *f)
{
  free(f->problem);
  f->problem = NULL;
  f->parameter = NULL;
  f->document = NULL;
  f->text = NULL;
}

int fetch_refuse(fetch_t *f, const problem_t *problem, int err)
{
  if (problem->status == 0)
    return err;
  f->problem = malloc(sizeof *f->problem);
  if (f->problem == NULL)
    return SMPL_ENOMEM;
  *f->problem = *problem;
  return err;
}

int fetch_end(fetch_t *f, int err)
{
  if (!err && f->document == NULL)
    err = SMPL_ENOMEM;
  if (!err && f->keep_document)
    return SMPL_OK;
  if (!err && (f->text = json_text(f->document)) == NULL)
    err = SMPL_ENOMEM;
  json_decref(f->document);
  f->document = NULL;
  return err;
}
