/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ssh/signedreq.h"

#include "common/base/error.h"

enum { SSH_MSG_USERAUTH_REQUEST = 50 };

static const char service_name[] = "ssh-connection";
static const char method_name[] = "publickey";

int signedreq_parse(const uint8_t *data, size_t len, signedreq_t *out)
{
  cursor_t w = {data, len};
  uint8_t type, has_signature;
  cursor_t user, service, method;
  if (cursor_string(&w, &out->session_hash) || out->session_hash.len > SIGNEDREQ_SESSION_HASH_MAX ||
      cursor_u8(&w, &type) || type != SSH_MSG_USERAUTH_REQUEST)
    return SMPL_EPROTO;
  if (cursor_string(&w, &user) || cursor_text(user, out->user, sizeof out->user) ||
      cursor_string(&w, &service) || !cursor_is(service, service_name) || cursor_string(&w, &method) ||
      !cursor_is(method, method_name))
    return SMPL_EPROTO;
  if (cursor_u8(&w, &has_signature) || has_signature != 1 || cursor_string(&w, &out->algorithm) ||
      cursor_string(&w, &out->key) || w.len > 0)
    return SMPL_EPROTO;
  return SMPL_OK;
}

int signedreq_build(cursor_t session_hash, const char *user, const char *algorithm, cursor_t key,
                    uint8_t *out, size_t cap, size_t *len)
{
  cursor_out_t w = cursor_into(out, cap);
  cursor_put_string(&w, session_hash.data, session_hash.len);
  cursor_put_u8(&w, SSH_MSG_USERAUTH_REQUEST);
  cursor_put_text(&w, user);
  cursor_put_text(&w, service_name);
  cursor_put_text(&w, method_name);
  cursor_put_u8(&w, 1);
  cursor_put_text(&w, algorithm);
  cursor_put_string(&w, key.data, key.len);
  *len = w.len;
  return w.full ? SMPL_ELIMIT : SMPL_OK;
}
