/* SPDX-License-Identifier: Apache-2.0 */
#include "app/services/listing.h"

#include <stdlib.h>

#include "app/http/json_text.h"
#include "app/services/ident.h"
#include "app/services/problem.h"
#include "common/base/error.h"
#include "common/base/text.h"

/* Lives in its request. */
typedef struct listing {
  storage_job_t job; /* first */
  request_t *request;
  char account[UUID_TEXT_MAX]; /* empty: none */
  jsonapi_list_t asked;
  listing_read read;
  char *text;
} listing_t;

static int run(storage_db_t *db, storage_job_t *job)
{
  listing_t *l = (listing_t *)job;
  json_t *data = NULL;
  int64_t total = 0;
  int err = l->read(db, l->account[0] != '\0' ? l->account : NULL, &l->asked, &data, &total);
  if (err) {
    json_decref(data);
    return err;
  }
  json_t *document = jsonapi_list_document(data, &l->asked, total);
  l->text = json_text(document);
  json_decref(document);
  return l->text != NULL ? SMPL_OK : SMPL_ENOMEM;
}

static void reply(listing_t *l, int err)
{
  if (err == SMPL_ELIMIT)
    reply_unavailable(l->request, "too many reads are waiting; try again");
  else if (err == SMPL_ETIMEOUT)
    reply_unavailable(l->request, "this read took too long and was given up; try again");
  else if (err)
    reply_storage_error(l->request, err);
  else
    request_reply_text(l->request, 200, l->text);
}

static void done(storage_job_t *job, int err)
{
  listing_t *l = (listing_t *)job; /* gone once it is answered */
  if (err)
    free(l->text);
  reply(l, err);
}

void listing_start(storage_t *storage, request_t *request, const char *account, const jsonapi_list_t *asked,
                   listing_read read)
{
  listing_t *l = request_alloc(request, sizeof *l);
  if (l == NULL) {
    reply_storage_error(request, SMPL_ENOMEM);
    return;
  }
  l->request = request;
  l->asked = *asked;
  l->read = read;
  if (account != NULL) {
    text_copy(l->account, sizeof l->account, account);
    request_is_of(request, account);
  }
  l->job = (storage_job_t){.run = run, .done = done, .key = request_share(request)};
  int err = storage_read(storage, &l->job);
  if (err)
    reply(l, err);
}
