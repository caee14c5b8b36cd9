/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/contract/signedreq.h"

#include "common/base/error.h"

enum { SSH_MSG_USERAUTH_REQUEST = 50 };

static const char service_name[] = "ssh-connection";
static const char method_name[] = "publickey";

int signedreq_parse(const uint8_t *data, size_t len, signedreq_t *out)
{
  wire_t w = wire_of(data, len);
  uint8_t type, has_signature;
  wire_slice_t user, service, method;
  if (wire_string(&w, &out->session_hash) || out->session_hash.len > SESSION_HASH_MAX || wire_u8(&w, &type) ||
      type != SSH_MSG_USERAUTH_REQUEST)
    return SMPL_EPROTO;
  if (wire_string(&w, &user) || wire_text(user, out->user, sizeof out->user) || wire_string(&w, &service) ||
      !wire_is(service, service_name) || wire_string(&w, &method) || !wire_is(method, method_name))
    return SMPL_EPROTO;
  if (wire_u8(&w, &has_signature) || has_signature != 1 || wire_string(&w, &out->algorithm) ||
      wire_string(&w, &out->key) || wire_left(&w) > 0)
    return SMPL_EPROTO;
  return SMPL_OK;
}

int signedreq_build(wire_slice_t session_hash, const char *user, const char *algorithm, wire_slice_t key,
                    uint8_t *out, size_t cap, size_t *len)
{
  wire_out_t w = wire_into(out, cap);
  wire_put_string(&w, session_hash.data, session_hash.len);
  wire_put_u8(&w, SSH_MSG_USERAUTH_REQUEST);
  wire_put_text(&w, user);
  wire_put_text(&w, service_name);
  wire_put_text(&w, method_name);
  wire_put_u8(&w, 1);
  wire_put_text(&w, algorithm);
  wire_put_string(&w, key.data, key.len);
  *len = w.len;
  return w.full ? SMPL_ELIMIT : SMPL_OK;
}
