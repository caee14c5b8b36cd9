/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/local/socks.h"

#include <arpa/inet.h>
#include <string.h>

enum {
  VERSION = 5,
  CONNECT = 1,
  KIND_V4 = 1,
  KIND_NAME = 3,
  KIND_V6 = 4,
  NO_AUTHENTICATION = 0,
  NO_METHOD = 0xff
};

void socks_start(socks_t *s)
{
  *s = (socks_t){.want = 2};
}

void socks_answer(socks_code_t code, uint8_t *out)
{
  static const uint8_t answer[SOCKS_REPLY_SIZE] = {VERSION, 0, 0, KIND_V4};
  memcpy(out, answer, sizeof answer);
  out[1] = (uint8_t)code;
}

static socks_step_t bad(socks_t *s, const char *fault)
{
  s->fault = fault;
  return SOCKS_BAD;
}

static socks_step_t refuse(socks_t *s, socks_code_t code, const char *fault)
{
  socks_answer(code, s->reply);
  s->reply_len = SOCKS_REPLY_SIZE;
  return bad(s, fault);
}

static socks_step_t next(socks_t *s, int at, size_t want)
{
  s->at = at;
  s->want = want;
  s->have = 0;
  return SOCKS_MORE;
}

static socks_step_t on_greeting(socks_t *s)
{
  if (s->data[0] == 4)
    return bad(s, "SOCKS 4 is spoken, which cannot carry names safely: choose SOCKS 5 (socks5h)");
  if (s->data[0] != VERSION)
    return bad(s, "this is no SOCKS 5; an HTTP proxy is not what is here");
  if (s->data[1] == 0)
    return bad(s, "a SOCKS greeting without methods");
  return next(s, SOCKS_AT_METHODS, s->data[1]);
}

static socks_step_t on_methods(socks_t *s)
{
  bool fits = memchr(s->data, NO_AUTHENTICATION, s->have) != NULL;
  s->reply[0] = VERSION;
  s->reply[1] = fits ? NO_AUTHENTICATION : NO_METHOD;
  s->reply_len = 2;
  return fits ? next(s, SOCKS_AT_REQUEST, 5) : bad(s, "a user and a password are wanted; leave them out");
}

/* Version, command, reserved, kind of address, and the address' first byte: a name's length. */
static socks_step_t on_request(socks_t *s)
{
  const uint8_t *d = s->data;
  if (d[0] != VERSION || d[2] != 0)
    return refuse(s, SOCKS_FAILED, "a malformed SOCKS request");
  if (d[1] != CONNECT)
    return refuse(s, SOCKS_NO_COMMAND, "SOCKS asks for something else than to connect");
  s->kind = d[3];
  s->first = d[4];
  switch (s->kind) {
  case KIND_V4:
    return next(s, SOCKS_AT_ADDRESS, 3 + 2);
  case KIND_V6:
    return next(s, SOCKS_AT_ADDRESS, 15 + 2);
  case KIND_NAME:
    if (s->first == 0 || s->first >= FORWARD_TARGET_MAX)
      return refuse(s, SOCKS_FAILED, "SOCKS names a target of no length that a name has");
    return next(s, SOCKS_AT_ADDRESS, (size_t)s->first + 2);
  default:
    return refuse(s, SOCKS_NO_ADDRESS_TYPE, "SOCKS gives an address of an unknown kind");
  }
}

static bool take_name(socks_t *s)
{
  for (size_t i = 0; i < s->first; i++) {
    uint8_t c = s->data[i];
    if (c <= ' ' || c > '~' || strchr("/@\"'\\", c))
      return false;
  }
  memcpy(s->host, s->data, s->first);
  s->host[s->first] = '\0';
  return true;
}

static socks_step_t on_address(socks_t *s)
{
  uint8_t address[16] = {s->first};
  size_t len = s->have - 2;
  if (s->kind == KIND_NAME && !take_name(s))
    return refuse(s, SOCKS_FAILED, "SOCKS names a target with bytes that no name has");
  if (s->kind != KIND_NAME) {
    memcpy(address + 1, s->data, len);
    inet_ntop(s->kind == KIND_V4 ? AF_INET : AF_INET6, address, s->host, sizeof s->host);
  }
  s->port = (uint16_t)(s->data[len] << 8 | s->data[len + 1]);
  if (s->port == 0)
    return refuse(s, SOCKS_FAILED, "SOCKS names port 0");
  s->want = 0;
  return SOCKS_TARGET;
}

socks_step_t socks_take(socks_t *s, const uint8_t *data, size_t len)
{
  s->reply_len = 0;
  if (len > s->want)
    return bad(s, "more bytes than were asked for");
  memcpy(s->data + s->have, data, len);
  s->have += len;
  s->want -= len;
  if (s->want > 0)
    return SOCKS_MORE;
  switch (s->at) {
  case SOCKS_AT_GREETING:
    return on_greeting(s);
  case SOCKS_AT_METHODS:
    return on_methods(s);
  case SOCKS_AT_REQUEST:
    return on_request(s);
  default:
    return on_address(s);
  }
}
