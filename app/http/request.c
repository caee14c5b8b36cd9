/* SPDX-License-Identifier: Apache-2.0 */
#include "app/http/request.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"

enum { BLOCK_SIZE = 8 << 10 };

struct memory_block {
  memory_block_t *next;
  size_t used, size;
  _Alignas(max_align_t) uint8_t data[];
};

void request_init(request_t *request)
{
  memset(request, 0, offsetof(request_t, head));
  request->head.method = GATE_GET;
  request->head.minor = 1;
  request->head.header_count = 0;
  request->head.length = 0;
}

void request_clear(request_t *request)
{
  while (request->blocks != NULL) {
    memory_block_t *next = request->blocks->next;
    free(request->blocks);
    request->blocks = next;
  }
  free(request->body_bytes);
  json_decref(request->body);
  request->body_bytes = NULL;
  request->body = NULL;
}

/* From a block list that grows up to LIMIT_REQUEST_MEMORY. */
static void *allocate_block(request_t *request, size_t size)
{
  memory_block_t *block = request->blocks;
  if (block == NULL || block->size - block->used < size) {
    size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    if (room > LIMIT_REQUEST_MEMORY - request->memory_used)
      return NULL;
    block = malloc(sizeof *block + room);
    if (block == NULL)
      return NULL;
    *block = (memory_block_t){.next = request->blocks, .size = room};
    request->memory_used += room;
    request->blocks = block;
  }
  void *memory = block->data + block->used;
  block->used += size;
  return memset(memory, 0, size);
}

void *request_alloc(request_t *request, size_t size)
{
  size_t align = _Alignof(max_align_t);
  if (size > LIMIT_REQUEST_MEMORY)
    return NULL;
  size = size == 0 ? align : (size + align - 1) / align * align;
  if (size <= sizeof request->first - request->first_used) {
    void *memory = request->first + request->first_used;
    request->first_used += size;
    return memset(memory, 0, size);
  }
  return allocate_block(request, size);
}

static int hex(uint8_t c)
{
  return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

void request_decode(char *dst, const uint8_t *s, size_t len, bool plus)
{
  size_t used = 0;
  for (size_t i = 0; i < len; i++) {
    if (s[i] == '%' && len - i >= 3) {
      dst[used++] = (char)(hex(s[i + 1]) * 16 + hex(s[i + 2]));
      i += 2;
    } else {
      dst[used++] = plus && s[i] == '+' ? ' ' : (char)s[i];
    }
  }
  dst[used] = '\0';
}

static char *decoded(request_t *request, const uint8_t *s, size_t len, bool plus)
{
  char *text = request_alloc(request, len + 1);
  if (text != NULL)
    request_decode(text, s, len, plus);
  return text;
}

static int take_parameters(request_t *request)
{
  const route_match_t *match = &request->admit.match;
  const uint8_t *path = request->bytes + request->head.path.at;
  for (size_t i = 0; i < match->parameter_count; i++) {
    request->parameters[i] =
        decoded(request, path + match->parameters[i].at, match->parameters[i].len, false);
    if (request->parameters[i] == NULL)
      return SMPL_ENOMEM;
  }
  return SMPL_OK;
}

static int take_query(request_t *request, const uint8_t *at, size_t len)
{
  const uint8_t *equals = memchr(at, '=', len);
  size_t name_len = equals != NULL ? (size_t)(equals - at) : len;
  const uint8_t *value = equals != NULL ? equals + 1 : at + len;
  query_parameter_t *query = &request->queries[request->query_count];
  query->name = decoded(request, at, name_len, true);
  query->value = decoded(request, value, (size_t)(at + len - value), true);
  if (query->name == NULL || query->value == NULL)
    return SMPL_ENOMEM;
  request->query_count++;
  return SMPL_OK;
}

static int take_queries(request_t *request)
{
  const uint8_t *at = request->bytes + request->head.query.at;
  size_t left = request->head.query.len;
  size_t count = 1;
  if (left == 0)
    return SMPL_OK;
  for (size_t i = 0; i < left; i++)
    count += at[i] == '&';
  request->queries = request_alloc(request, count * sizeof *request->queries);
  if (request->queries == NULL)
    return SMPL_ENOMEM;
  int err = SMPL_OK;
  for (;;) {
    const uint8_t *amp = memchr(at, '&', left);
    size_t len = amp != NULL ? (size_t)(amp - at) : left;
    if (len > 0)
      err = take_query(request, at, len);
    if (err || amp == NULL)
      return err;
    at += len + 1;
    left -= len + 1;
  }
}

bool request_id_is_fine(const char *id, size_t len)
{
  if (len == 0 || len > LIMIT_REQUEST_ID)
    return false;
  for (size_t i = 0; i < len; i++) {
    char c = text_lower(id[i]);
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-'))
      return false;
  }
  return true;
}

/* Lower-cases names and ends names and values with NUL, in our copy: a name is followed by ':', a value by
 * white space or CR. */
static void cut_headers(request_t *request)
{
  for (uint32_t i = 0; i < request->head.header_count; i++) {
    const gate_header_t *header = &request->head.headers[i];
    for (uint32_t j = 0; j < header->name.len; j++) {
      uint8_t *c = &request->bytes[header->name.at + j];
      *c = (uint8_t)text_lower((char)*c);
    }
    request->bytes[header->name.at + header->name.len] = '\0';
    request->bytes[header->value.at + header->value.len] = '\0';
  }
}

int request_take_head(request_t *request, const uint8_t *bytes, size_t len)
{
  request->bytes = request_alloc(request, len);
  if (request->bytes == NULL)
    return SMPL_ENOMEM;
  memcpy(request->bytes, bytes, len);
  request->length = len;
  cut_headers(request);
  int err = take_parameters(request);
  return err ? err : take_queries(request);
}

admit_verdict_t request_judge_key(const request_t *request)
{
  if (request->admit.match.route->operation != OPERATION_CUSTOMER)
    return ADMIT_OK;
  const char *key = request_bearer(request);
  if (key == NULL)
    return ADMIT_KEY_MISSING;
  return key_has_form(key) ? ADMIT_OK : ADMIT_KEY_MALFORMED;
}

admit_verdict_t request_judge_caller(request_t *request, const internal_keys_t *keys)
{
  operation_t operation = request->admit.match.route->operation;
  if (operation < OPERATION_FIRST)
    return ADMIT_OK;
  const char *key = request_bearer(request);
  if (key == NULL)
    return ADMIT_CALLER_MISSING;
  switch (internal_keys_judge(keys, key, operation, request->caller)) {
  case INTERNAL_ADMITTED:
    return ADMIT_OK;
  case INTERNAL_FORBIDDEN:
    return ADMIT_CALLER_FORBIDDEN;
  default:
    return ADMIT_CALLER_UNKNOWN;
  }
}

json_extent_t request_json_extent(const uint8_t *text, size_t len)
{
  json_extent_t extent = {.depth = 0, .values = len > 0 ? 1 : 0};
  size_t depth = 0;
  bool quoted = false, opened = false; /* opened: nothing but space since the last bracket opened */
  for (size_t i = 0; i < len; i++) {
    uint8_t c = text[i];
    if (quoted) {
      i += c == '\\';
      quoted = c != '"';
      continue;
    }
    if (c == ' ' || c == '\n' || c == '\r' || c == '\t')
      continue;
    bool closing = c == ']' || c == '}';
    extent.values += opened && !closing; /* the first value inside; each further one has its comma */
    extent.values += c == ',';
    opened = c == '[' || c == '{';
    quoted = c == '"';
    if (opened)
      extent.depth = ++depth > extent.depth ? depth : extent.depth;
    else if (closing && depth > 0)
      depth--;
  }
  return extent;
}

int request_json(const uint8_t *text, size_t len, json_t **out, diag_t *diag)
{
  json_error_t error;
  json_extent_t extent = request_json_extent(text, len);
  *out = NULL;
  if (extent.depth > LIMIT_JSON_DEPTH)
    return diag_fail(diag, SMPL_ELIMIT, "nested deeper than %d levels", LIMIT_JSON_DEPTH);
  if (extent.values > LIMIT_JSON_VALUES)
    return diag_fail(diag, SMPL_ELIMIT, "more than %d values", LIMIT_JSON_VALUES);
  *out = json_loadb((const char *)text, len, JSON_REJECT_DUPLICATES, &error);
  if (*out == NULL)
    return diag_fail(diag, SMPL_EINVAL, "line %d column %d: %s", error.line, error.column, error.text);
  return SMPL_OK;
}

/* handler.h */

const char *request_parameter(const request_t *request, const char *name)
{
  const route_t *route = request->admit.match.route;
  size_t len = strlen(name);
  size_t index = 0;
  for (const char *at = strchr(route->path, '{'); at != NULL; at = strchr(at + 1, '{'), index++)
    if (strncmp(at + 1, name, len) == 0 && at[len + 1] == '}')
      return index < LIMIT_ROUTE_PARAMETERS ? request->parameters[index] : NULL;
  return NULL;
}

const char *request_query(const request_t *request, const char *name)
{
  for (size_t i = 0; i < request->query_count; i++)
    if (strcmp(request->queries[i].name, name) == 0)
      return request->queries[i].value;
  return NULL;
}

int request_query_each(const request_t *request, int (*each)(void *ctx, const char *name, const char *value),
                       void *ctx)
{
  for (size_t i = 0; i < request->query_count; i++) {
    int stop = each(ctx, request->queries[i].name, request->queries[i].value);
    if (stop != 0)
      return stop;
  }
  return 0;
}

const char *request_target(const request_t *request, size_t *len)
{
  const gate_head_t *head = &request->head;
  *len = head->query.len > 0 ? head->query.at + head->query.len - head->path.at : head->path.len;
  return (const char *)request->bytes + head->path.at;
}

const char *request_header(const request_t *request, const char *name)
{
  for (uint32_t i = 0; i < request->head.header_count; i++) {
    const gate_header_t *header = &request->head.headers[i];
    if (strcmp((const char *)request->bytes + header->name.at, name) == 0)
      return (const char *)request->bytes + header->value.at;
  }
  return NULL;
}

const ip_t *request_source(const request_t *request)
{
  return &request->source;
}

void request_set_rate(request_t *request, const rate_t *rate)
{
  request->rate = *rate;
}

bool request_is_rated(const request_t *request)
{
  return request->rate.limit > 0;
}

const char *request_bearer(const request_t *request)
{
  const char *value = request_header(request, "authorization");
  if (value == NULL || strlen(value) < 8 || value[6] != ' ')
    return NULL;
  static const char scheme[] = "bearer";
  for (size_t i = 0; i < 6; i++)
    if (text_lower(value[i]) != scheme[i])
      return NULL;
  value += 7;
  value += strspn(value, " ");
  return *value != '\0' && strpbrk(value, " \t") == NULL ? value : NULL;
}

turns_key_t request_share(const request_t *request)
{
  if (request->account.len > 0)
    return request->account;
  const ip_t *source = &request->source;
  return turns_key(source->b, ip_is_v4(source) ? sizeof source->b : sizeof source->b / 2);
}

void request_is_of(request_t *request, const char *account)
{
  request->account = turns_key(account, strlen(account));
}

const char *request_caller(const request_t *request)
{
  return request->caller[0] != '\0' ? request->caller : NULL;
}

const json_t *request_body(const request_t *request)
{
  return request->body;
}

const char *request_id(const request_t *request)
{
  return request->id;
}
