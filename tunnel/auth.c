/* Signing in: first the identity files that need no passphrase, then the agent, then the files that need one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/text.h"
#include "tunnel/agent.h"
#include "tunnel/certificate.h"
#include "tunnel/session.h"
#include "tunnel/trust.h"

enum { PASSPHRASE_MAX = 1024, TRIED_MAX = 800, PASSPHRASE_TRIES = 3 };

typedef struct attempt {
  ssh_session session;
  const settings_t *options;
  session_memory_t *memory;
  say_t *say;
  bool agent_failed;
  char tried[TRIED_MAX];               /* what was offered, for the message when nothing was accepted */
  bool locked[OPTIONS_IDENTITIES_MAX]; /* needs a passphrase */
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
  char what[OPTIONS_PATH_MAX + TRUST_FINGERPRINT_MAX + 8];
  snprintf(what, sizeof what, "%s (%s)", path, trust_fingerprint(key, print));
  add_tried(a, what, "");
}

static outcome_t outcome_of(attempt_t *a, int rc)
{
  if (rc == SSH_AUTH_SUCCESS)
    return ACCEPTED;
  return rc == SSH_AUTH_ERROR || !ssh_is_connected(a->session) ? LOST : DENIED;
}

static outcome_t offer_key(attempt_t *a, ssh_key key)
{
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  while ((rc = ssh_userauth_publickey(a->session, NULL, key)) == SSH_AUTH_AGAIN) {
    if (session_wait(a->session, until) != SMPL_OK)
      return LOST;
  }
  return outcome_of(a, rc);
}

/* libssh asks for a passphrase: the file is locked. Told by the flag; none is given here. */
static int on_passphrase_wanted(const char *prompt, char *buf, size_t len, int echo, int verify, void *locked)
{
  (void)prompt;
  (void)buf;
  (void)len;
  (void)echo;
  (void)verify;
  *(bool *)locked = true;
  return -1;
}

static ssh_key load_key(const char *path, const char *passphrase, bool *locked, diag_t *diag)
{
  char *pem = NULL;
  size_t len = 0;
  ssh_key key = NULL;
  *locked = false;
  if (file_read_secret(path, SESSION_PEM_MAX, &pem, &len, diag) != SMPL_OK)
    return NULL;
  if (ssh_pki_import_privkey_base64(pem, passphrase, passphrase ? NULL : on_passphrase_wanted, locked,
                                    &key) != SSH_OK)
    key = NULL;
  explicit_bzero(pem, len);
  free(pem);
  if (!key && !*locked)
    diag_fail(diag, SMPL_EINVAL, "%s: not a private key that can be read", path);
  return key;
}

/* The key with its certificate, if there is one, and then by itself. Takes over key: what was accepted is kept for the
 * next session. */
static outcome_t offer_file(attempt_t *a, const char *path, ssh_key key)
{
  outcome_t outcome = DENIED;
  ssh_key cert = certificate_find(a->options, path, key);
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

/* A public key given where the private one belongs. */
static bool is_public(const char *path)
{
  size_t len = strlen(path);
  ssh_key key = NULL;
  if (len < 5 || strcmp(path + len - 4, ".pub") != 0 || ssh_pki_import_pubkey_file(path, &key) != SSH_OK)
    return false;
  ssh_key_free(key);
  return true;
}

static outcome_t try_file(attempt_t *a, size_t i)
{
  const char *path = a->options->identities[i];
  if (!a->options->identities_given && access(path, F_OK) != 0)
    return DENIED;
  if (is_public(path)) {
    say_note(a->say, "%s is a public key; give the private one, %.*s", path, (int)(strlen(path) - 4), path);
    return DENIED;
  }
  diag_t diag = {0};
  ssh_key key = load_key(path, NULL, &a->locked[i], &diag);
  if (!key) {
    if (!a->locked[i])
      say_note(a->say, "%s", diag.text);
    return DENIED;
  }
  return offer_file(a, path, key);
}

/* The public half of an identity file: from the file beside it, or from itself. */
static ssh_key public_half(const char *path)
{
  char pub[OPTIONS_PATH_MAX];
  ssh_key key = NULL;
  int n = snprintf(pub, sizeof pub, "%s.pub", path);
  if (n > 0 && (size_t)n < sizeof pub && ssh_pki_import_pubkey_file(pub, &key) == SSH_OK)
    return key;
  if (ssh_pki_import_pubkey_file(path, &key) == SSH_OK)
    return key;
  bool locked;
  diag_t diag = {0};
  ssh_key private = access(path, F_OK) == 0 ? load_key(path, NULL, &locked, &diag) : NULL;
  if (private && ssh_pki_export_privkey_to_pubkey(private, &key) != SSH_OK)
    key = NULL;
  ssh_key_free(private);
  return key;
}

/* IdentitiesOnly: of the agent's keys those of the identity files. */
static agent_t *open_agent(attempt_t *a, const char **why)
{
  ssh_key only[OPTIONS_IDENTITIES_MAX];
  size_t count = 0;
  const settings_t *o = a->options;
  for (size_t i = 0; o->identities_only && i < o->identity_count; i++) {
    ssh_key key = public_half(o->identities[i]);
    if (key)
      only[count++] = key;
  }
  agent_t *agent = agent_open(o->agent, o->identities_only ? only : NULL, count, why, &a->agent_failed);
  for (size_t i = 0; i < count; i++)
    ssh_key_free(only[i]);
  return agent;
}

static outcome_t try_agent(attempt_t *a)
{
  const char *why;
  agent_t *agent = open_agent(a, &why);
  if (!agent) {
    if (why)
      say_step(a->say, "%s", why);
    return DENIED;
  }
  say_step(a->say, "offering %s", agent_names(agent));
  add_tried(a, agent_names(agent), "");
  outcome_t outcome = DENIED;
  if (ssh_set_agent_socket(a->session, agent_take_fd(agent)) == SSH_OK) {
    uint64_t until = clock_mono_ms() + AGENT_SIGN_MS + SESSION_STEP_MS;
    int rc;
    while ((rc = ssh_userauth_agent(a->session, NULL)) == SSH_AUTH_AGAIN) {
      if (session_wait(a->session, until) != SMPL_OK)
        break;
    }
    outcome = rc == SSH_AUTH_AGAIN ? LOST : outcome_of(a, rc);
    if (outcome == LOST && ssh_is_connected(a->session))
      outcome = DENIED; /* the agent failed, not the session */
  }
  if (outcome != ACCEPTED && agent_failed(agent)) {
    a->agent_failed = true;
    say_note(a->say, "the agent did not sign (is it locked, or waiting for a touch?)");
  }
  agent_close(agent);
  return outcome;
}

/* Whether the server would take the key, from its public half beside it: no passphrase is asked for in vain.
 */
static bool wanted(attempt_t *a, const char *path)
{
  char pub[OPTIONS_PATH_MAX];
  ssh_key key = NULL;
  int n = snprintf(pub, sizeof pub, "%s.pub", path);
  if (n < 0 || (size_t)n >= sizeof pub || ssh_pki_import_pubkey_file(pub, &key) != SSH_OK)
    return true;
  uint64_t until = clock_mono_ms() + SESSION_STEP_MS;
  int rc;
  while ((rc = ssh_userauth_try_publickey(a->session, NULL, key)) == SSH_AUTH_AGAIN) {
    if (session_wait(a->session, until) != SMPL_OK)
      break;
  }
  ssh_key_free(key);
  return rc == SSH_AUTH_SUCCESS;
}

static outcome_t try_locked(attempt_t *a, const char *path)
{
  if (!wanted(a, path)) {
    add_tried(a, path, "");
    return DENIED;
  }
  char question[OPTIONS_PATH_MAX + 32];
  char passphrase[PASSPHRASE_MAX];
  snprintf(question, sizeof question, "Passphrase for %s: ", path);
  outcome_t outcome = DENIED;
  ssh_key key = NULL;
  for (int i = 0; i < PASSPHRASE_TRIES && !key; i++) {
    if (a->memory->again ||
        prompt_ask(&a->memory->prompt, question, passphrase, sizeof passphrase, true) <= 0) {
      say_note(a->say,
               "%s needs its passphrase, and there is no terminal to ask on: load it into an agent (ssh-add)",
               path);
      break;
    }
    bool locked;
    diag_t diag = {0};
    key = load_key(path, passphrase, &locked, &diag);
    if (!key)
      say_note(a->say, "that is not the passphrase of %s", path);
  }
  explicit_bzero(passphrase, sizeof passphrase);
  if (key)
    outcome = offer_file(a, path, key);
  else
    add_tried(a, path, "");
  return outcome;
}

static outcome_t try_all(attempt_t *a)
{
  const settings_t *o = a->options;
  outcome_t outcome = DENIED;
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
static void explain_no_key(const settings_t *o, diag_t *diag)
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

exit_code_t session_sign_in(session_t *s, session_memory_t *memory, say_t *say, diag_t *diag)
{
  ssh_session session = s->ssh;
  const settings_t *options = &s->settings;
  attempt_t a = {.session = session, .options = options, .memory = memory, .say = say};
  outcome_t outcome = try_all(&a);
  s->may_pass = outcome == LOST || a.agent_failed;
  if (outcome == ACCEPTED) {
    say_step(say, "signed in as %s", options->user);
    char *banner = ssh_get_issue_banner(session);
    if (banner)
      banner[strcspn(banner, "\r\n")] = '\0';
    if (banner && banner[0])
      say_step(say, "the bastion says: %s", banner);
    ssh_string_free_char(banner);
    return EXIT_ENDED;
  }
  const char *words = session_last_words(session);
  const char *tried = a.tried[0] ? a.tried : "nothing: no key was found";
  if (outcome == DENIED && !a.tried[0])
    explain_no_key(options, diag);
  else if (outcome == LOST && words[0])
    diag_fail(diag, SMPL_EDENIED, "%s is not let in at %s: %s (offered: %s)", options->user, options->host,
              words, tried);
  else if (outcome == LOST)
    diag_fail(diag, SMPL_ECLOSED, "signing in at %s failed: %s (offered: %s)", options->host,
              ssh_get_error(session), tried);
  else
    diag_fail(diag, SMPL_EDENIED,
              "%s is not let in at %s: no key was accepted (offered: %s); choose a key with -i, a user "
              "with -l",
              options->user, options->host, tried);
  return EXIT_NOT_SIGNED_IN;
}
