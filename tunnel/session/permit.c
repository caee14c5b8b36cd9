/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/permit.h"

#include <string.h>

#include "common/base/error.h"
#include "tunnel/session/host_proof.h"

static bool same(cursor_t a, const void *data, size_t len)
{
  return a.len == len && memcmp(a.data, data, len) == 0;
}

/* The session's id is the one that the host has signed, whoever asks. */
static bool is_session(permit_t *p, cursor_t hash)
{
  if (p->session_len > 0)
    return same(hash, p->session, p->session_len);
  if (!host_proof_holds(p->host_key, p->proof, hash))
    return false;
  memcpy(p->session, hash.data, hash.len);
  p->session_len = hash.len;
  return true;
}

bool permit_allows(permit_t *p, cursor_t data, cursor_t key, signedreq_t *request)
{
  return signedreq_parse(data.data, data.len, request) == SMPL_OK && request->session_hash.len > 0 &&
         strcmp(request->user, p->user) == 0 && same(request->key, key.data, key.len) &&
         is_session(p, request->session_hash);
}
