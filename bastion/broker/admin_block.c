/* SPDX-License-Identifier: Apache-2.0 */
/* block, unblock, blocks: who is kept out whatever the configuration says. A block holds before anything
 * is written; it is acknowledged once the disk has it and the audit too. An unblock is the other way
 * round: nobody gets in before the audit says so. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/broker/admin.h"
#include "bastion/broker/broker_state.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { TROUBLE_MAX = DIAG_TEXT_MAX + BLOCKS_WHO_MAX + 128 }; /* bytes of an answer that is an error */

/* An answer that waits for its record. */
typedef struct pending {
  broker_t *broker;
  control_request_t *request;
  json_t *record; /* of a block: appended again, for later, if it cannot be written now */
  json_t *reply;
  char who[BLOCKS_WHO_MAX];
  char trouble[TROUBLE_MAX]; /* the answer is this error; "" for none */
} pending_t;

static void free_pending(pending_t *p)
{
  json_decref(p->record);
  json_decref(p->reply);
  free(p);
}

/* NULL, and the client is told, if it is nobody who could be blocked. */
static const char *take_who(const broker_t *b, control_request_t *request, const json_t *body, bool *is_key)
{
  const char *who = json_string_value(json_object_get(body, "who"));
  if (b->host.blocks == NULL)
    control_reply_error(
        request,
        "there is no place to keep a block in: put `state: FOLDER` into %s (a folder of its own, "
        "mode 700) and restart; until then take the user out of `users`, or the line out of the "
        "keys file, and reload",
        conf_path_of(b->config->conf));
  else if (who == NULL || !blocks_can_be(who, is_key))
    control_reply_error(request, "'%s' is neither a user's name nor a key's fingerprint (SHA256:...)",
                        who != NULL ? who : "");
  else
    return who;
  return NULL;
}

static bool is_known(const config_t *c, const char *who, bool is_key)
{
  char fingerprint[USERKEY_FINGERPRINT_MAX];
  const user_conf_t *users = c->users.items;
  for (size_t u = 0; is_key && u < c->users.count; u++)
    for (size_t k = 0; k < users[u].keys.count; k++) {
      size_t len;
      const uint8_t *blob = userkey_blob(users[u].keys.keys[k].key, &len);
      if (strcmp(userkey_fingerprint(blob, len, fingerprint), who) == 0)
        return true;
    }
  return !is_key && config_user(c, who) != NULL;
}

static json_t *end_sessions(broker_t *b, const char *who)
{
  json_t *ended = json_array();
  LIST_EACH(session_t, s, &b->sessions.list, link) {
    if (!s->signed_in || s->state == STATE_ENDING ||
        (strcmp(s->who.user, who) != 0 && strcmp(s->who.fingerprint, who) != 0))
      continue;
    json_array_append_new(ended, json_string(s->id));
    session_end(s, REASON_BLOCKED, NULL);
  }
  return ended;
}

/* ---- block ---- */

static void on_block_recorded(void *ctx, int err)
{
  pending_t *p = ctx;
  if (err)
    audit_append(p->broker->host.audit, json_incref(p->record), NULL,
                 NULL); /* kept until the disk takes it */
  if (p->trouble[0] != '\0')
    control_reply_error(p->request, "%s", p->trouble);
  else if (err)
    control_reply_error(
        p->request, "'%s' is blocked, but this is not on record: the audit cannot be written (see status)",
        p->who);
  else
    control_reply(p->request, json_incref(p->reply));
  free_pending(p);
}

/* Takes over ended. */
static void record_block(broker_t *b, control_request_t *request, const block_t *block, bool is_key,
                         bool already, json_t *ended, const char *trouble)
{
  pending_t *p = calloc(1, sizeof *p);
  json_t *record = json_pack("{s:s, s:s, s:I, s:s, s:I}", "event", "block", is_key ? "key" : "user",
                             block->who, "by_uid", (json_int_t)block->by_uid, "text", block->reason, "ended",
                             (json_int_t)json_array_size(ended));
  json_t *reply =
      json_pack("{s:b, s:s, s:b, s:b, s:b, s:o}", "ok", 1, "who", block->who, "key", is_key, "known",
                is_known(b->config, block->who, is_key), "already", already, "ended", ended);
  if (p == NULL || record == NULL || reply == NULL) {
    control_reply_error(request, "'%s' is blocked, but this is not on record: out of memory", block->who);
    json_decref(record);
    json_decref(reply);
    free(p);
    return;
  }
  *p = (pending_t){.broker = b, .request = request, .record = json_deep_copy(record), .reply = reply};
  memcpy(p->who, block->who, sizeof p->who);
  text_copy(p->trouble, sizeof p->trouble, trouble);
  if (audit_append(b->host.audit, record, on_block_recorded, p))
    on_block_recorded(p, SMPL_ELIMIT);
}

void admin_block(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  bool is_key;
  const char *who = take_who(b, request, body, &is_key);
  const char *reason = json_string_value(json_object_get(body, "reason"));
  diag_t diag = {""};
  char trouble[TROUBLE_MAX] = "";
  block_t block = {.by_uid = (unsigned)peer->uid};
  if (who == NULL)
    return;
  if (reason == NULL || reason[0] == '\0') {
    control_reply_error(request, "block needs a reason (--reason TEXT): who lifts it will want to know");
    return;
  }
  text_copy(block.who, sizeof block.who, who);
  text_printable(block.reason, sizeof block.reason, reason, strlen(reason));
  clock_wall_iso(block.since);
  block_t *there = blocks_find(b->host.blocks, who);
  int err = there == NULL ? blocks_add(b->host.blocks, &block) : SMPL_OK;
  if (err) {
    control_reply_error(request,
                        err == SMPL_ELIMIT ? "%d are blocked, and no more can be: unblock some, or take them "
                                             "out of the configuration"
                                           : "out of memory (%d)",
                        err == SMPL_ELIMIT ? BLOCKS_MAX : err);
    return;
  }
  if (there != NULL)
    there->leaving = false;
  json_t *ended = end_sessions(b, who);
  log_warn("%s is blocked by uid %u; %zu sessions are ended: %s", who, (unsigned)peer->uid,
           json_array_size(ended), block.reason);
  if (!blocks_saved(b->host.blocks) && blocks_save(b->host.blocks, &diag))
    snprintf(trouble, sizeof trouble,
             "'%s' is blocked only until the bastion ends, and it is tried again: %s", who, diag.text);
  record_block(b, request, &block, is_key, there != NULL, ended, trouble);
}

/* ---- unblock ---- */

static void on_unblock_recorded(void *ctx, int err)
{
  pending_t *p = ctx;
  broker_t *b = p->broker;
  diag_t diag = {""};
  block_t *there = blocks_find(b->host.blocks, p->who);
  block_t before;
  if (err) {
    if (there != NULL)
      there->leaving = false;
    control_reply_error(p->request, "'%s' stays blocked: the audit cannot be written (see status)", p->who);
  } else if (there == NULL) {
    control_reply(p->request, json_incref(p->reply));
  } else if (!there->leaving) {
    control_reply_error(p->request, "'%s' was blocked again meanwhile, and stays so", p->who);
  } else {
    before = *there;
    before.leaving = false;
    blocks_remove(b->host.blocks, p->who);
    if (blocks_save(b->host.blocks, &diag)) {
      blocks_add(b->host.blocks, &before); /* there is room: it was here a moment ago */
      audit_append(b->host.audit, json_incref(p->record), NULL, NULL);
      control_reply_error(p->request, "'%s' stays blocked: %s", p->who, diag.text);
    } else {
      log_warn("%s is not blocked any more", p->who);
      control_reply(p->request, json_incref(p->reply));
    }
  }
  free_pending(p);
}

void admin_unblock(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  bool is_key;
  const char *who = take_who(b, request, body, &is_key);
  const char *reason = json_string_value(json_object_get(body, "reason"));
  char text[BLOCKS_TEXT_MAX] = "";
  if (who == NULL)
    return;
  block_t *there = blocks_find(b->host.blocks, who);
  if (there == NULL) {
    control_reply_error(request, "'%s' is not blocked", who);
    return;
  }
  if (reason != NULL)
    text_printable(text, sizeof text, reason, strlen(reason));
  pending_t *p = calloc(1, sizeof *p);
  if (p == NULL) {
    control_reply_error(request, "out of memory");
    return;
  }
  *p = (pending_t){.broker = b, .request = request};
  memcpy(p->who, there->who, sizeof p->who);
  p->reply = json_pack("{s:b, s:s, s:b}", "ok", 1, "who", who, "known", is_known(b->config, who, is_key));
  p->record = json_pack("{s:s, s:s, s:I, s:s}", "event", "block", is_key ? "key" : "user", who, "by_uid",
                        (json_int_t)there->by_uid, "text", there->reason);
  there->leaving = true;
  log_info("uid %u unblocks %s: %s", (unsigned)peer->uid, who, text[0] != '\0' ? text : "no reason given");
  json_t *record = json_pack("{s:s, s:s, s:I, s:s}", "event", "unblock", is_key ? "key" : "user", who,
                             "by_uid", (json_int_t)peer->uid, "text", text);
  if (audit_append(b->host.audit, record, on_unblock_recorded, p))
    on_unblock_recorded(p, SMPL_ELIMIT);
}

/* ---- blocks ---- */

void admin_blocks(broker_t *b, control_request_t *request, const control_peer_t *peer, const json_t *body)
{
  json_t *list = json_array();
  (void)peer;
  (void)body;
  for (size_t i = 0; i < blocks_count(b->host.blocks); i++) {
    const block_t *block = blocks_at(b->host.blocks, i);
    bool is_key;
    blocks_can_be(block->who, &is_key);
    json_array_append_new(list,
                          json_pack("{s:s, s:b, s:b, s:s, s:I, s:s}", "who", block->who, "key", is_key,
                                    "known", is_known(b->config, block->who, is_key), "since", block->since,
                                    "by_uid", (json_int_t)block->by_uid, "reason", block->reason));
  }
  control_reply(request, json_pack("{s:b, s:b, s:b, s:o}", "ok", 1, "state", b->host.blocks != NULL, "kept",
                                   blocks_saved(b->host.blocks), "blocks", list));
}
