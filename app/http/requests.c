/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/requests.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

int requests_open(requests_t *requests)
{
  uint8_t random[REQUESTS_ID_PREFIX_LEN / 2];
  if (RAND_bytes(random, sizeof random) != 1)
    return SMPL_ESYS;
  text_hex(requests->id_prefix, random, sizeof random);
  return SMPL_OK;
}

void requests_close(requests_t *requests)
{
  while (requests->spare != NULL) {
    request_t *next = requests->spare->next_free;
    free(requests->spare);
    requests->spare = next;
  }
}

/* "5f3a9c1e0b7d4c21-1a": a random part for the process, a number for the request. */
static void mint_id(requests_t *requests, char *id)
{
  char digits[16];
  size_t count = 0;
  uint64_t number = ++requests->id_next;
  memcpy(id, requests->id_prefix, REQUESTS_ID_PREFIX_LEN);
  id[REQUESTS_ID_PREFIX_LEN] = '-';
  do {
    digits[count++] = "0123456789abcdef"[number & 15];
    number >>= 4;
  } while (number > 0);
  char *to = id + REQUESTS_ID_PREFIX_LEN + 1;
  while (count > 0)
    *to++ = digits[--count];
  *to = '\0';
}

request_t *requests_take(requests_t *requests)
{
  request_t *request = requests->spare;
  if (request != NULL) {
    requests->spare = request->next_free;
    requests->spare_count--;
  } else {
    request = malloc(sizeof *request);
    if (request == NULL)
      return NULL;
  }
  request_init(request);
  request->home = requests;
  request->parse = requests->parse;
  mint_id(requests, request->id);
  return request;
}

void requests_give_back(request_t *request)
{
  requests_t *requests = request->home;
  requests_settle(request);
  requests->values -= request->values;
  parse_forget(request);
  request_clear(request);
  if (requests->spare_count == REQUESTS_SPARE) {
    free(request);
    return;
  }
  request->next_free = requests->spare;
  requests->spare = request;
  requests->spare_count++;
}

void requests_owe(request_t *request)
{
  if (request->owed)
    return;
  request->owed = true;
  request->home->owed++;
}

void requests_settle(request_t *request)
{
  if (!request->owed)
    return;
  request->owed = false;
  request->home->owed--;
}
