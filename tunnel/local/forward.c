/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/local/forward.h"

#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

enum { PARTS_MAX = 4 };

typedef struct part {
  char text[FORWARD_TARGET_MAX];
  bool bracketed;
} part_t;

/* Splits at colons outside brackets. Returns the number of parts, or 0. */
static size_t split(const char *text, part_t *parts)
{
  size_t count = 0;
  const char *p = text;
  for (;;) {
    if (count == PARTS_MAX)
      return 0;
    part_t *part = &parts[count++];
    part->bracketed = *p == '[';
    size_t len = part->bracketed ? strcspn(++p, "]") : strcspn(p, ":");
    if (len == 0 || len >= sizeof part->text || (part->bracketed && p[len] != ']'))
      return 0;
    memcpy(part->text, p, len);
    part->text[len] = '\0';
    p += len + (part->bracketed ? 1 : 0);
    if (*p == '\0')
      return count;
    if (*p++ != ':')
      return 0;
  }
}

static bool all_digits(const part_t *part)
{
  return !part->bracketed && part->text[strspn(part->text, "0123456789")] == '\0';
}

/* Behind a message that says what form is expected: more colons than it has may be an address's. */
static const char *hint(const char *text)
{
  size_t colons = 0;
  for (const char *c = text; *c; c++)
    colons += *c == ':';
  return colons > 1 && !strchr(text, '[') && (strstr(text, "::") || colons > 3)
             ? "; an IPv6 address stands in brackets, as in [::1]"
             : "";
}

bool forward_lacks_port(const char *text)
{
  part_t parts[PARTS_MAX];
  size_t count = split(text, parts);
  return (count == 2 && !all_digits(&parts[0]) && all_digits(&parts[1])) ||
         (count == 1 && parts[0].bracketed);
}

static int parse_port(const char *text, const part_t *part, bool zero_allowed, uint16_t *out, diag_t *diag)
{
  uint64_t value = 0;
  if (part->bracketed || text_parse_u64(part->text, strlen(part->text), UINT16_MAX, &value) != SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "'%s': '%s' is not a port (1 to 65535)", text, part->text);
  if (value == 0 && !zero_allowed)
    return diag_fail(diag, SMPL_EINVAL, "'%s': a target's port cannot be 0", text);
  *out = (uint16_t)value;
  return SMPL_OK;
}

static int parse_bind(const char *text, const part_t *part, forward_t *out, diag_t *diag)
{
  out->bind_given = true;
  if (strcmp(part->text, "localhost") == 0) {
    out->bind_given = false;
    return SMPL_OK;
  }
  if (ip_parse(part->text, &out->bind) != SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "'%s': '%s' is not an address to listen on", text, part->text);
  out->wide = !ip_is_loopback(&out->bind);
  return SMPL_OK;
}

static int parse_target(const char *text, const part_t *part, forward_t *out, diag_t *diag)
{
  ip_t ip;
  if (part->bracketed && ip_parse(part->text, &ip) != SMPL_OK)
    return diag_fail(diag, SMPL_EINVAL, "'%s': '%s' is not an IPv6 address", text, part->text);
  if (all_digits(part))
    return diag_fail(diag, SMPL_EINVAL,
                     "'%s': '%s' is not a target's name; the form is [BIND:]PORT:TARGET[:PORT]", text,
                     part->text);
  for (const char *c = part->text; *c; c++) {
    if (*c <= ' ' || *c > '~' || strchr("/@\"'\\", *c))
      return diag_fail(diag, SMPL_EINVAL, "'%s': '%s' cannot be a target's name", text, part->text);
  }
  return text_copy(out->target, sizeof out->target, part->text);
}

/* parts[at...]: TARGET[:PORT] */
static int parse_end(const char *text, const part_t *parts, size_t count, forward_t *out, diag_t *diag)
{
  int err = parse_target(text, &parts[0], out, diag);
  if (!err && count > 1)
    err = parse_port(text, &parts[1], false, &out->target_port, diag);
  return err;
}

/* PATH:TARGET[:PORT]: a path has a slash before its first colon, which no port or address has. */
static int parse_socket(const char *text, size_t len, forward_t *out, diag_t *diag)
{
  part_t parts[PARTS_MAX];
  out->kind = FORWARD_SOCKET;
  if (len >= sizeof out->path)
    return diag_fail(diag, SMPL_EINVAL, "'%s': a unix socket's path has at most %d bytes", text,
                     FORWARD_PATH_MAX - 1);
  memcpy(out->path, text, len);
  out->path[len] = '\0';
  size_t count = text[len] == ':' ? split(text + len + 1, parts) : 0;
  if (count < 1 || count > 2 || out->path[len - 1] == '/')
    return diag_fail(
        diag, SMPL_EINVAL,
        "'%s' is not a forward; the form is PATH:TARGET[:PORT], as in /tmp/x.sock:config.internal%s", text,
        hint(text));
  return parse_end(text, parts, count, out, diag);
}

int forward_parse(const char *text, forward_t *out, diag_t *diag)
{
  *out = (forward_t){0};
  part_t parts[PARTS_MAX];
  size_t first = strcspn(text, ":");
  if (memchr(text, '/', first) && !(text[first] == ':' && strncmp(text + first, "://", 3) == 0))
    return parse_socket(text, first, out, diag);
  size_t count = split(text, parts);
  if (count < 2)
    return diag_fail(
        diag, SMPL_EINVAL,
        "'%s' is not a forward; the form is [BIND:]PORT:TARGET[:PORT], as in 8080:config.internal%s", text,
        hint(text));
  /* Three parts: what comes first decides, since no address is a bare number. */
  bool has_bind = count == 4 || (count == 3 && !all_digits(&parts[0]));
  size_t at = has_bind ? 1 : 0;
  int err = has_bind ? parse_bind(text, &parts[0], out, diag) : SMPL_OK;
  if (!err)
    err = parse_port(text, &parts[at], true, &out->port, diag);
  if (!err)
    err = parse_end(text, &parts[at + 1], count - at - 1, out, diag);
  return err;
}

int forward_parse_socks(const char *text, forward_t *out, diag_t *diag)
{
  *out = (forward_t){.kind = FORWARD_SOCKS};
  part_t parts[PARTS_MAX];
  size_t count = split(text, parts);
  if (count < 1 || count > 2)
    return diag_fail(diag, SMPL_EINVAL, "'%s': expected [BIND:]PORT, as in -D 1080%s", text, hint(text));
  int err = count == 2 ? parse_bind(text, &parts[0], out, diag) : SMPL_OK;
  return err ? err : parse_port(text, &parts[count - 1], true, &out->port, diag);
}

int forward_parse_target(const char *text, forward_t *out, diag_t *diag)
{
  *out = (forward_t){0};
  part_t parts[PARTS_MAX];
  size_t count = split(text, parts);
  if (count < 1 || count > 2)
    return diag_fail(diag, SMPL_EINVAL, "'%s': expected TARGET[:PORT], as in config.internal%s", text,
                     hint(text));
  return parse_end(text, parts, count, out, diag);
}
