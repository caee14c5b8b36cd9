/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/http_head.h"

#include <string.h>
#include <strings.h>

#include "common/base/error.h"

enum { PORT_DIGITS_MAX = 5 };

size_t http_head_end(const char *data, size_t len)
{
  const char *end = memmem(data, len, "\r\n\r\n", 4);
  return end != NULL ? (size_t)(end - data) + 4 : 0;
}

bool http_text_is(http_text_t text, const char *word)
{
  return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

/* RFC 9110 section 5.6.2 */
static bool is_token(http_text_t t)
{
  static const char others[] = "!#$%&'*+-.^_`|~";
  for (size_t i = 0; i < t.len; i++) {
    char c = t.at[i];
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!letter && (c == '\0' || strchr(others, c) == NULL))
      return false;
  }
  return t.len > 0;
}

/* Bytes above the controls and below DEL; spaces and tabs too where that is said. */
static bool is_plain(http_text_t t, bool spaces)
{
  for (size_t i = 0; i < t.len; i++) {
    unsigned char c = (unsigned char)t.at[i];
    if (c == 0x7f || (c <= ' ' && !(spaces && (c == ' ' || c == '\t'))))
      return false;
  }
  return true;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t';
}

static http_text_t trimmed(http_text_t t)
{
  while (t.len > 0 && is_blank(t.at[0])) {
    t.at++;
    t.len--;
  }
  while (t.len > 0 && is_blank(t.at[t.len - 1]))
    t.len--;
  return t;
}

/* Cuts what is before the mark from *rest, and the mark. False if there is none. */
static bool cut(http_text_t *rest, const char *mark, http_text_t *out)
{
  size_t n = strlen(mark);
  const char *at = memmem(rest->at, rest->len, mark, n);
  if (at == NULL)
    return false;
  *out = (http_text_t){rest->at, (size_t)(at - rest->at)};
  rest->at = at + n;
  rest->len -= out->len + n;
  return true;
}

static int read_request_line(http_text_t line, http_head_t *out, bool *host_needed)
{
  if (!cut(&line, " ", &out->method) || !cut(&line, " ", &out->target) || !is_token(out->method) ||
      out->target.len == 0 || !is_plain(out->target, false))
    return SMPL_EINVAL;
  *host_needed = http_text_is(line, "HTTP/1.1");
  return *host_needed || http_text_is(line, "HTTP/1.0") ? SMPL_OK : SMPL_EINVAL;
}

static int read_header(http_text_t line, http_head_t *out)
{
  http_text_t name;
  if (!cut(&line, ":", &name) || !is_token(name) || !is_plain(line, true))
    return SMPL_EINVAL;
  if (name.len != 4 || strncasecmp(name.at, "host", 4) != 0)
    return SMPL_OK;
  if (out->has_host)
    return SMPL_EINVAL;
  out->has_host = true;
  out->host = trimmed(line);
  return SMPL_OK;
}

int http_head_read(const char *data, size_t len, http_head_t *out)
{
  http_text_t rest = {data, len};
  http_text_t line;
  bool host_needed;
  *out = (http_head_t){0};
  if (!cut(&rest, "\r\n", &line) || read_request_line(line, out, &host_needed))
    return SMPL_EINVAL;
  while (cut(&rest, "\r\n", &line) && line.len > 0)
    if (read_header(line, out))
      return SMPL_EINVAL;
  if (line.len != 0 || rest.len != 0)
    return SMPL_EINVAL;
  return host_needed && !out->has_host ? SMPL_EINVAL : SMPL_OK;
}

static int read_port(http_text_t digits, uint16_t *out)
{
  uint32_t port = 0;
  if (digits.len == 0 || digits.len > PORT_DIGITS_MAX)
    return SMPL_EINVAL;
  for (size_t i = 0; i < digits.len; i++) {
    if (digits.at[i] < '0' || digits.at[i] > '9')
      return SMPL_EINVAL;
    port = port * 10 + (uint32_t)(digits.at[i] - '0');
  }
  *out = (uint16_t)port;
  return port > 0 && port <= UINT16_MAX ? SMPL_OK : SMPL_EINVAL;
}

int http_host_split(http_text_t host, http_text_t *name, uint16_t *port)
{
  const char *from = host.at; /* a colon within brackets is the address's */
  *port = 0;
  if (host.len == 0 || !is_plain(host, false))
    return SMPL_EINVAL;
  if (host.at[0] == '[' && (from = memchr(host.at, ']', host.len)) == NULL)
    return SMPL_EINVAL;
  size_t skipped = (size_t)(from - host.at);
  const char *colon = memchr(from, ':', host.len - skipped);
  *name = (http_text_t){host.at, colon != NULL ? (size_t)(colon - host.at) : host.len};
  if (name->len == 0 || (host.at[0] == '[' && name->at[name->len - 1] != ']'))
    return SMPL_EINVAL;
  return colon == NULL ? SMPL_OK : read_port((http_text_t){colon + 1, host.len - name->len - 1}, port);
}

bool http_host_address(http_text_t name, ip_t *out)
{
  char text[IP_TEXT_MAX];
  bool v6 = name.len > 2 && name.at[0] == '[';
  http_text_t inner = v6 ? (http_text_t){name.at + 1, name.len - 2} : name;
  if (inner.len >= sizeof text)
    return false;
  memcpy(text, inner.at, inner.len);
  text[inner.len] = '\0';
  return (strchr(text, ':') != NULL) == v6 && ip_parse(text, out) == SMPL_OK;
}

bool http_host_same(http_text_t name, const char *other)
{
  size_t len = strlen(other);
  if (name.len > 1 && name.at[name.len - 1] == '.')
    name.len--;
  return name.len == len && strncasecmp(name.at, other, len) == 0;
}
