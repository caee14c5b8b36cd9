/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in: first the identity files that need no passphrase, then the agent, then the files that need
 * one. The service is asked for before anything is offered: with its answer it is known which signatures the
 * server takes (RFC 8308), and libssh chooses an RSA key's by that. */
#include "tunnel/session/auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "tunnel/base/blob.h"
#include "tunnel/session/agent.h"
#include "tunnel/session/certificate.h"
#include "tunnel/session/identity.h"
#include "tunnel/session/permit.h"
#include "tunnel/session/private_key.h"
#include "tunnel/session/words.h"
#include "tunnel/trust/trust.h"

enum { TRIED_MAX = 800 };

typedef struct attempt {
  talk_t *talk; /* with whom has the session */
  int socket;   /* the session's */
  const ssh_config_t *config;
  permit_t permit;
  memory_t *memory;
  say_t *say;
  speech_t m;                   /* the last question, and then its answer */
  int err;                      /* of the talk */
  bool late;                    /* the server has not answered in time */
  bool connected;               /* as the last answer has it */
  char error[SPEECH_ERROR_MAX]; /* libssh's */
  bool agent_failed;
  char refused[AGENT_NAME_MAX];    /* the agent's key with which it did not want to sign; "": none */
  char tried[TRIED_MAX];           /* what was offered, for the message when nothing was accepted */
  bool locked[IDENTITIES_MAX];     /* needs a passphrase */
  char *complaint[IDENTITIES_MAX]; /* why the file is of no use, unless the agent has its key */
} attempt_t;

typedef enum outcome { ACCEPTED, DENIED, LOST } outcome_t;

/* Cut where there is no more room. */
static void add_tried(attempt_t *a, const char *what, const char *more)
{
  size_t used = strlen(a->tried);
  int n = snprintf(a->tried + used, sizeof a->tried - used, "%s%s%s", used ? ", " : "", what, more);
  if (n < 0)
    a->tried[used] = '\0';
}

static void add_tried_key(attempt_t *a, const char *path, ssh_key key)
{
  char print[TRUST_FINGERPRINT_MAX];
  char what[PATH_TEXT_MAX + TRUST_FINGERPRINT_MAX + 8];
  snprintf(what, sizeof what, "%s (%s)", path, trust_fingerprint(key, print));
  add_tried(a, what, "");
}

/* ---- what the server says ---- */

/* Whether libssh is to be called again: the server has not answered yet. */
/* ---- steps of the speaker ---- */

static outcome_t outcome_of(attempt_t *a)
{
  const speech_done_t *done = &a->m.done;
  a->late = done->result == SPEECH_RESULT_LATE;
  a->connected = done->connected != 0;
  text_copy(a->error, sizeof a->error, done->error);
  if (!a->connected || a->late)
    return LOST;
  if (done->result == SPEECH_RESULT_FINE)
    return ACCEPTED;
  return done->result == SPEECH_RESULT_FAILED ? LOST : DENIED;
}

/* Asks what stands in a->m. */
static outcome_t ask(attempt_t *a, int ms, talk_sign_cb sign, void *ctx)
{
  a->err = talk_ask(a->talk, &a->m, -1, ms + TALK_LATE_MS, sign, ctx);
  if (!a->err)
    return outcome_of(a);
  a->connected = a->late = false;
  a->error[0] = '\0';
  return LOST;
}

static outcome_t ask_plain(attempt_t *a, speech_type_t type, int ms)
{
  speech_init(&a->m, type, 0);
  return ask(a, ms, NULL, NULL);
}

/* Before something is looked for: a server that has hung up meanwhile, at a prompt or a token, has said why.
 */
static bool is_over(attempt_t *a)
{
  return ask_plain(a, SPEECH_HEAR, SESSION_STEP_MS) == LOST;
}

/* What an offer's signature is made with. */
typedef struct offered {
  attempt_t *attempt;
  ssh_key key;
  cursor_t blob; /* as it stands in the request: the certificate's, where there is one */
} offered_t;

static size_t sign(void *ctx, const uint8_t *data, size_t len, uint8_t *out)
{
  const offered_t *o = ctx;
  signedreq_t request;
  size_t made = 0;
  if (!permit_allows(&o->attempt->permit, (cursor_t){data, len}, o->blob, &request) ||
      private_key_sign(o->key, request.algorithm, data, len, out, SPEECH_SIGNATURE_MAX, &made) != SMPL_OK)
    return 0;
  return made;
}

static bool send_certificate(attempt_t *a, cursor_t blob)
{
  if (speech_init_bytes(&a->m, SPEECH_CERTIFICATE, blob.data, blob.len) != SMPL_OK)
    return false;
  a->err = talk_tell(a->talk, &a->m, -1);
  return true;
}

/* certificate NULL: none. A key that is of no use to the speaker is one that is denied. */
static outcome_t offer_key(attempt_t *a, ssh_key key, ssh_key certificate)
{
  char text[HOLLOW_TEXT_MAX];
  size_t plain_len, certified_len;
  uint8_t *plain = blob_of(key, &plain_len), *certified = blob_of(certificate, &certified_len);
  offered_t offered = {a, key,
                       certificate ? (cursor_t){certified, certified_len} : (cursor_t){plain, plain_len}};
  outcome_t outcome = DENIED;
  bool fine = hollow_text(plain, plain_len, text, sizeof text) == SMPL_OK && offered.blob.len > 0 &&
              (!certificate || send_certificate(a, offered.blob)) &&
              speech_init_bytes(&a->m, SPEECH_OFFER, text, strlen(text)) == SMPL_OK;
  if (fine)
    outcome = ask(a, SESSION_STEP_MS, sign, &offered);
  free(plain);
  free(certified);
  return outcome;
}

/* ---- files ---- */

static void remember(attempt_t *a, const char *path, ssh_key key, ssh_key certificate)
{
  memory_forget_key(a->memory);
  a->memory->key = key;
  a->memory->certificate = certificate;
  text_copy(a->memory->key_path, sizeof a->memory->key_path, path);
}

/* The key with its certificate, if there is one, and then by itself. Takes over key: what was accepted is
 * kept for the next session. */
static outcome_t offer_file(attempt_t *a, const char *path, ssh_key key)
{
  outcome_t outcome = DENIED;
  ssh_key certificate = certificate_find(a->config, path, key);
  if (certificate) {
    say_step(a->say, "offering %s with its certificate", path);
    add_tried(a, path, " (with its certificate)");
    outcome = offer_key(a, key, certificate);
  }
  if (outcome != ACCEPTED) {
    ssh_key_free(certificate);
    certificate = NULL;
  }
  if (outcome == DENIED) {
    say_step(a->say, "offering %s", path);
    add_tried_key(a, path, key);
    outcome = offer_key(a, key, NULL);
  }
  if (outcome == ACCEPTED)
    remember(a, path, key, certificate);
  else
    ssh_key_free(key);
  return outcome;
}

static void complain(attempt_t *a, size_t i, const char *text)
{
  if (!a->complaint[i])
    a->complaint[i] = strdup(text);
}

/* What is wrong with the files is said once it is known that the agent does not make up for it. NULL: there
 * is no agent. */
static void say_complaints(attempt_t *a, const agent_t *agent)
{
  for (size_t i = 0; i < a->config->identity_count; i++) {
    ssh_key key = a->complaint[i] && agent ? identity_public_half(a->config->identities[i]) : NULL;
    if (a->complaint[i] && !(key && agent_has(agent, key)))
      say_note(a->say, "%s", a->complaint[i]);
    ssh_key_free(key);
    free(a->complaint[i]);
    a->complaint[i] = NULL;
  }
}

static outcome_t try_file(attempt_t *a, size_t i)
{
  const char *path = a->config->identities[i];
  char text[DIAG_TEXT_MAX];
  if (!a->config->identities_given && access(path, F_OK) != 0)
    return DENIED;
  if (identity_is_public(path)) {
    snprintf(text, sizeof text, "%s is a public key; give the private one, %.*s", path,
             (int)(strlen(path) - 4), path);
    complain(a, i, text);
    return DENIED;
  }
  diag_t diag = {0};
  ssh_key key = identity_load(path, NULL, &a->locked[i], &diag);
  if (key)
    return offer_file(a, path, key);
  if (!a->locked[i])
    complain(a, i, diag.text);
  return DENIED;
}

/* ---- the agent ---- */

static agent_t *open_agent(attempt_t *a)
{
  ssh_key mine[IDENTITIES_MAX];
  size_t count = 0;
  const ssh_config_t *o = a->config;
  const char *why = NULL;
  for (size_t i = 0; i < o->identity_count; i++) {
    ssh_key key = identity_public_half(o->identities[i]);
    if (key)
      mine[count++] = key;
  }
  agent_for_t whom = {.path = o->agent,
                      .mine = mine,
                      .mine_count = count,
                      .only_mine = o->identities_only,
                      .session = a->socket,
                      .permit = &a->permit};
  agent_t *agent = agent_open(&whom, &why, &a->agent_failed);
  for (size_t i = 0; i < count; i++)
    ssh_key_free(mine[i]);
  if (!agent && why)
    say_step(a->say, "%s", why);
  return agent;
}

/* What the agent had to do with it that the key did not let in. */
static outcome_t judge_agent(attempt_t *a, const agent_t *agent, size_t i, outcome_t outcome)
{
  switch (agent_said(agent)) {
  case AGENT_REFUSED:
    say_step(a->say, "the agent does not want to sign with it");
    if (!a->refused[0])
      text_copy(a->refused, sizeof a->refused, agent_name(agent, i));
    break;
  case AGENT_SILENT:
    if (!a->agent_failed)
      say_note(a->say, "the agent did not sign (is it locked, or waiting for a touch?)");
    a->agent_failed = true;
    break;
  case AGENT_SESSION_ENDED:
    is_over(a);
    return LOST;
  case AGENT_NOTHING:
  case AGENT_SIGNED:
    return outcome;
  }
  return a->connected ? DENIED : LOST; /* to libssh it is an error like one of the session's */
}

static outcome_t offer_agent_key(attempt_t *a, agent_t *agent, size_t i)
{
  if (is_over(a))
    return LOST;
  say_step(a->say, "offering %s", agent_name(agent, i));
  add_tried(a, agent_name(agent, i), "");
  agent_show(agent, i);
  outcome_t outcome = ask_plain(a, SPEECH_OFFER_AGENT, AGENT_SIGN_MS + SESSION_STEP_MS);
  return outcome == ACCEPTED ? ACCEPTED : judge_agent(a, agent, i, outcome);
}

/* Its far end is the speaker's. */
static bool hand_over(attempt_t *a, agent_t *agent)
{
  int fd = agent_take_fd(agent);
  speech_init(&a->m, SPEECH_AGENT, 0);
  a->err = talk_tell(a->talk, &a->m, fd);
  close(fd);
  return a->err == SMPL_OK;
}

static outcome_t try_agent(attempt_t *a)
{
  agent_t *agent = open_agent(a);
  outcome_t outcome = DENIED;
  say_complaints(a, agent);
  if (agent && hand_over(a, agent)) {
    for (size_t i = 0; i < agent_count(agent) && outcome == DENIED && agent_said(agent) != AGENT_SILENT; i++)
      outcome = offer_agent_key(a, agent, i);
  }
  agent_close(agent);
  return outcome;
}

/* ---- files with a passphrase ---- */

/* Whether the server would take the key, from its public half beside it: no passphrase is asked for in vain.
 * ACCEPTED: it would, or nobody knows. */
static outcome_t ask_for(attempt_t *a, const char *path)
{
  char pub[PATH_TEXT_MAX];
  ssh_key key = NULL;
  int n = snprintf(pub, sizeof pub, "%s.pub", path);
  if (is_over(a))
    return LOST;
  if (n > 0 && (size_t)n < sizeof pub)
    key = identity_read_public(pub);
  if (!key)
    return ACCEPTED;
  size_t len;
  uint8_t *blob = blob_of(key, &len);
  outcome_t outcome = ACCEPTED;
  if (blob && speech_init_bytes(&a->m, SPEECH_PROBE, blob, len) == SMPL_OK)
    outcome = ask(a, SESSION_STEP_MS, NULL, NULL);
  free(blob);
  ssh_key_free(key);
  return outcome;
}

/* NULL: nobody knows the passphrase, the file cannot be read, or the session has ended meanwhile. */
static ssh_key unlock(attempt_t *a, const char *path)
{
  char question[PATH_TEXT_MAX + 32];
  char passphrase[PASSPHRASE_MAX];
  ssh_key key = NULL;
  snprintf(question, sizeof question, "Passphrase for %s: ", path);
  for (int i = 0; i < PASSPHRASE_TRIES && !key; i++) {
    int asked = a->memory->again ? PROMPT_NOBODY
                                 : prompt_ask(&a->memory->prompt, question, passphrase, sizeof passphrase,
                                              true, a->socket);
    if (asked == PROMPT_ENDED)
      break;
    if (asked <= 0) {
      say_note(a->say,
               "%s needs its passphrase, and there is no terminal to ask on: load it into an agent (ssh-add)",
               path);
      break;
    }
    bool locked;
    diag_t diag = {0};
    key = identity_load(path, passphrase, &locked, &diag);
    if (!key && !locked) {
      say_note(a->say, "%s", diag.text);
      break;
    }
    if (!key)
      say_note(a->say, "that is not the passphrase of %s", path);
  }
  explicit_bzero(passphrase, sizeof passphrase);
  return key;
}

static outcome_t try_locked(attempt_t *a, const char *path)
{
  outcome_t wanted = ask_for(a, path);
  ssh_key key = wanted == ACCEPTED ? unlock(a, path) : NULL;
  if (key)
    return offer_file(a, path, key);
  add_tried(a, path, "");
  return wanted == LOST || is_over(a) ? LOST : DENIED;
}

static outcome_t try_all(attempt_t *a)
{
  const ssh_config_t *o = a->config;
  outcome_t outcome = DENIED;
  if (ask_plain(a, SPEECH_SERVICE, SESSION_STEP_MS) != ACCEPTED)
    return LOST;
  if (a->memory->key) { /* it opened the last session */
    say_step(a->say, "offering %s", a->memory->key_path);
    outcome = offer_key(a, a->memory->key, a->memory->certificate);
  }
  for (size_t i = 0; i < o->identity_count && outcome == DENIED; i++)
    outcome = try_file(a, i);
  if (outcome == DENIED)
    outcome = try_agent(a);
  for (size_t i = 0; i < o->identity_count && outcome == DENIED; i++) {
    if (a->locked[i])
      outcome = try_locked(a, o->identities[i]);
  }
  return outcome;
}

/* Nothing was offered: what was looked for, and what to do. */
static void explain_no_key(const ssh_config_t *o, diag_t *diag)
{
  char files[TRIED_MAX] = "";
  size_t used = 0;
  for (size_t i = 0; i < o->identity_count && used < sizeof files; i++) {
    int n = snprintf(files + used, sizeof files - used, "%s%s", i ? ", " : "", o->identities[i]);
    used += n > 0 ? (size_t)n : 0;
  }
  diag_fail(diag, SMPL_EDENIED,
            "%s is not let in at %s: no key could be offered (looked at %s and the agent); choose one with "
            "-i, or make "
            "one with ssh-keygen -t ed25519 and have its .pub file entered at the bastion",
            o->user, o->host, files);
}

/* Nobody is let in: by whom, and why. */
static void explain(const attempt_t *a, outcome_t outcome, diag_t *diag)
{
  const ssh_config_t *o = a->config;
  const char *words = words_of_server(a->error);
  const char *tried = a->tried[0] ? a->tried : "nothing yet";
  if (a->err)
    talk_explain(a->talk, a->err, diag);
  else if (outcome == LOST && words[0])
    diag_fail(diag, SMPL_EDENIED, "%s is not let in at %s: %s (offered: %s)", o->user, o->host, words, tried);
  else if (outcome == LOST && a->late)
    diag_fail(diag, SMPL_ETIMEOUT, "signing in at %s failed: it has not answered for %d s (offered: %s)",
              o->host, SESSION_STEP_MS / 1000, tried);
  else if (outcome == LOST && !a->connected)
    diag_fail(diag, SMPL_ECLOSED,
              "signing in at %s failed: it closed the connection without a word (offered: %s)", o->host,
              tried);
  else if (outcome == LOST)
    diag_fail(diag, SMPL_ECLOSED, "signing in at %s failed: %s (offered: %s)", o->host,
              words_of_error(a->error), tried);
  else if (!a->tried[0])
    explain_no_key(o, diag);
  else if (a->refused[0])
    diag_fail(diag, SMPL_EDENIED,
              "%s is not let in at %s: the server would take %s, and the agent refuses to sign with it "
              "(declined, or not "
              "meant for this server?) (offered: %s)",
              o->user, o->host, a->refused, tried);
  else
    diag_fail(diag, SMPL_EDENIED,
              "%s is not let in at %s: no key was accepted (offered: %s); choose a key with -i, a user "
              "with -l",
              o->user, o->host, tried);
}

/* What was said at the login, its first line. */
static void say_signed_in(attempt_t *a)
{
  char *banner = a->m.done.banner;
  say_step(a->say, "signed in as %s", a->config->user);
  banner[strcspn(banner, "\r\n")] = '\0';
  if (banner[0])
    say_step(a->say, "the bastion says: %s", banner);
}

exit_code_t auth_sign_in(session_t *session, const speech_exchanged_t *exchanged, memory_t *memory,
                         say_t *say, diag_t *diag)
{
  attempt_t a = {.talk = session->talk,
                 .socket = session->fd,
                 .config = &session->config,
                 .permit = {.user = session->config.user,
                            .host_key = {exchanged->key, exchanged->key_len},
                            .proof = {exchanged->signature, exchanged->signature_len}},
                 .memory = memory,
                 .say = say};
  outcome_t outcome = try_all(&a);
  for (size_t i = 0; i < IDENTITIES_MAX; i++)
    free(a.complaint[i]);
  session->may_pass = outcome == LOST || a.agent_failed || a.refused[0];
  if (outcome == ACCEPTED) {
    say_signed_in(&a);
    return EXIT_ENDED;
  }
  explain(&a, outcome, diag);
  return EXIT_NOT_SIGNED_IN;
}
