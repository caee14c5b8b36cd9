/* SPDX-License-Identifier: Apache-2.0 */
/* Signing in: first the identity files that need no passphrase, then the agent, then the files that need
 * one. The service is asked for before anything is offered: with its answer it is known which signatures the
 * server takes (RFC 8308), and libssh chooses an RSA key's by that. */
#include "tunnel/session/auth.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "tunnel/session/agent.h"
#include "tunnel/session/certificate.h"
#include "tunnel/session/identity.h"
#include "tunnel/session/server.h"
#include "tunnel/trust/trust.h"

enum { TRIED_MAX = 800 };

typedef struct attempt {
  ssh_session session;
  const ssh_config_t *config;
  const proof_t *server;
  memory_t *memory;
  say_t *say;
  bool late; /* the server has not answered in time */
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
static bool wait_more(attempt_t *a, uint64_t until)
{
  int waited = server_wait(a->session, until);
  a->late = waited == SMPL_ETIMEOUT;
  return waited == SMPL_OK;
}

static outcome_t outcome_of(attempt_t *a, int rc)
{
  if (!ssh_is_connected(a->session) || rc == SSH_AUTH_AGAIN)
    return LOST;
  if (rc == SSH_AUTH_SUCCESS)
    return ACCEPTED;
  return rc == SSH_AUTH_ERROR ? LOST : DENIED;
}

/* Before something is offered: a server that has hung up meanwhile, at a prompt or a token, has said why, and
 * libssh reads it only if it is not made to write first. */
static bool is_over(attempt_t *a)
{
  if (server_hung_up(a->session))
    server_hear(a->session);
  return !ssh_is_connected(a->session);
}

static bool request_service(attempt_t *a)
{
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  if (is_over(a))
    return false;
  while ((rc = ssh_service_request(a->session, "ssh-userauth")) == SSH_AGAIN) {
    if (!wait_more(a, until))
      return false;
  }
  return rc == SSH_OK && ssh_is_connected(a->session);
}

static outcome_t offer_key(attempt_t *a, ssh_key key)
{
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  if (is_over(a))
    return LOST;
  while ((rc = ssh_userauth_publickey(a->session, NULL, key)) == SSH_AUTH_AGAIN) {
    if (!wait_more(a, until))
      break;
  }
  return outcome_of(a, rc);
}

/* ---- files ---- */

/* The key with its certificate, if there is one, and then by itself. Takes over key: what was accepted is
 * kept for the next session. */
static outcome_t offer_file(attempt_t *a, const char *path, ssh_key key)
{
  outcome_t outcome = DENIED;
  ssh_key cert = certificate_find(a->config, path, key);
  ssh_key both = cert ? ssh_key_dup(key) : NULL;
  if (both && ssh_pki_copy_cert_to_privkey(cert, both) == SSH_OK) {
    say_step(a->say, "offering %s with its certificate", path);
    add_tried(a, path, " (with its certificate)");
    outcome = offer_key(a, both);
  }
  ssh_key_free(cert);
  if (outcome == ACCEPTED) {
    ssh_key_free(key);
    key = both;
    both = NULL;
  } else if (outcome == DENIED) {
    say_step(a->say, "offering %s", path);
    add_tried_key(a, path, key);
    outcome = offer_key(a, key);
  }
  ssh_key_free(both);
  if (outcome == ACCEPTED) {
    ssh_key_free(a->memory->key);
    a->memory->key = key;
    text_copy(a->memory->key_path, sizeof a->memory->key_path, path);
  } else {
    ssh_key_free(key);
  }
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
                      .session = ssh_get_fd(a->session),
                      .server = a->server};
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
    server_hear(a->session);
    return LOST;
  case AGENT_NOTHING:
  case AGENT_SIGNED:
    return outcome;
  }
  return ssh_is_connected(a->session) ? DENIED
                                      : LOST; /* to libssh it is an error like one of the session's */
}

static outcome_t offer_agent_key(attempt_t *a, agent_t *agent, size_t i)
{
  uint64_t until = clock_mono_ms() + AGENT_SIGN_MS + SESSION_STEP_MS;
  int rc;
  if (is_over(a))
    return LOST;
  say_step(a->say, "offering %s", agent_name(agent, i));
  add_tried(a, agent_name(agent, i), "");
  agent_show(agent, i);
  while ((rc = ssh_userauth_agent(a->session, NULL)) == SSH_AUTH_AGAIN) {
    if (!wait_more(a, until))
      break;
  }
  outcome_t outcome = outcome_of(a, rc);
  return outcome == ACCEPTED ? ACCEPTED : judge_agent(a, agent, i, outcome);
}

static outcome_t try_agent(attempt_t *a)
{
  agent_t *agent = open_agent(a);
  outcome_t outcome = DENIED;
  say_complaints(a, agent);
  if (agent && ssh_set_agent_socket(a->session, agent_take_fd(agent)) == SSH_OK) {
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
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  while ((rc = ssh_userauth_try_publickey(a->session, NULL, key)) == SSH_AUTH_AGAIN) {
    if (!wait_more(a, until))
      break;
  }
  ssh_key_free(key);
  return outcome_of(a, rc);
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
                                              true, ssh_get_fd(a->session));
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
  if (!request_service(a))
    return LOST;
  if (a->memory->key) { /* it opened the last session */
    say_step(a->say, "offering %s", a->memory->key_path);
    outcome = offer_key(a, a->memory->key);
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
  const char *words = server_last_words(a->session);
  const char *tried = a->tried[0] ? a->tried : "nothing yet";
  if (outcome == LOST && words[0])
    diag_fail(diag, SMPL_EDENIED, "%s is not let in at %s: %s (offered: %s)", o->user, o->host, words, tried);
  else if (outcome == LOST && a->late)
    diag_fail(diag, SMPL_ETIMEOUT, "signing in at %s failed: it has not answered for %d s (offered: %s)",
              o->host, SESSION_STEP_MS / 1000, tried);
  else if (outcome == LOST && !ssh_is_connected(a->session))
    diag_fail(diag, SMPL_ECLOSED,
              "signing in at %s failed: it closed the connection without a word (offered: %s)", o->host,
              tried);
  else if (outcome == LOST)
    diag_fail(diag, SMPL_ECLOSED, "signing in at %s failed: %s (offered: %s)", o->host,
              server_error(a->session), tried);
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

exit_code_t auth_sign_in(ssh_session session, const ssh_config_t *config, const proof_t *server,
                         memory_t *memory, say_t *say, bool *may_pass, diag_t *diag)
{
  attempt_t a = {.session = session, .config = config, .server = server, .memory = memory, .say = say};
  outcome_t outcome = try_all(&a);
  for (size_t i = 0; i < IDENTITIES_MAX; i++)
    free(a.complaint[i]);
  *may_pass = outcome == LOST || a.agent_failed || a.refused[0];
  if (outcome != ACCEPTED) {
    explain(&a, outcome, diag);
    return EXIT_NOT_SIGNED_IN;
  }
  say_step(say, "signed in as %s", config->user);
  char *banner = ssh_get_issue_banner(session);
  if (banner)
    banner[strcspn(banner, "\r\n")] = '\0';
  if (banner && banner[0])
    say_step(say, "the bastion says: %s", banner);
  ssh_string_free_char(banner);
  return EXIT_ENDED;
}
