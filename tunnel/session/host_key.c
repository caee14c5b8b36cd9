/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/host_key.h"

#include <stdio.h>
#include <string.h>

#include "common/base/error.h"
#include "tunnel/session/prompt.h"
#include "tunnel/trust/authority.h"
#include "tunnel/trust/known_command.h"
#include "tunnel/trust/revoked.h"

typedef enum consent { CONSENT_YES, CONSENT_NO, CONSENT_NOBODY_THERE } consent_t;

/* authority: as for untrusted(). Somebody at the terminal reads the fingerprint and says yes. */
static consent_t ask(memory_t *memory, ssh_config_strict_t strict, const trust_t *trust,
                     const char *authority, const char *kind, const char *print)
{
  char question[1024];
  char answer[TRUST_FINGERPRINT_MAX + 8];
  if (strict == SSH_CONFIG_ACCEPT_NEW)
    return CONSENT_YES;
  if (memory->again || strict == SSH_CONFIG_STRICT)
    return CONSENT_NOBODY_THERE;
  snprintf(question, sizeof question,
           "The bastion %s is not known here yet%s%s.\nIts %s key has the fingerprint %s.\n"
           "Compare it with the one you were given. Trust it from now on (yes/no/fingerprint)? ",
           trust_host(trust), authority ? "; a @cert-authority is on file for it, but " : "",
           authority ? authority : "", kind, print);
  if (prompt_ask(&memory->prompt, question, answer, sizeof answer, false, -1) < 0)
    return CONSENT_NOBODY_THERE;
  return strcmp(answer, "yes") == 0 || strcmp(answer, print) == 0 ? CONSENT_YES : CONSENT_NO;
}

/* authority: why the host's @cert-authority does not vouch for the key; NULL: it has none. */
static exit_code_t untrusted(const ssh_config_t *o, const trust_t *trust, trust_verdict_t verdict,
                             const char *authority, const char *kind, const char *print, diag_t *diag)
{
  char known[DIAG_TEXT_MAX / 2];
  const char *but = authority ? "; a @cert-authority is on file for it, but " : "";
  trust_describe_known(trust, known, sizeof known);
  const char *file = o->known_hosts_count ? o->known_hosts[0] : "~/.ssh/known_hosts";
  if (verdict == TRUST_REVOKED)
    diag_fail(diag, SMPL_EDENIED, "the %s key of %s, %s, is marked @revoked: not connecting", kind,
              trust_host(trust), print);
  else if (verdict == TRUST_CHANGED)
    diag_fail(
        diag, SMPL_EDENIED,
        "the host key of %s has CHANGED: it now shows %s %s, on file is %s. Either it was replaced (ask its "
        "administrator, then remove the old line) or somebody is in between",
        trust_host(trust), kind, print, known);
  else if (verdict == TRUST_OTHER_KIND)
    diag_fail(diag, SMPL_EDENIED, "%s shows a key of a kind that is not on file: %s %s; on file is %s%s%s",
              trust_host(trust), kind, print, known, but, authority ? authority : "");
  else
    diag_fail(diag, SMPL_EDENIED,
              "the bastion %s is not known: its %s key is %s. Compare it, then run this on a terminal or add "
              "the key to %s "
              "(ssh-keyscan -p %u %s)%s%s",
              trust_host(trust), kind, print, file, o->port, o->host, but, authority ? authority : "");
  return EXIT_NOT_TRUSTED;
}

static exit_code_t check_key(const ssh_config_t *o, say_t *say, memory_t *memory, const trust_t *trust,
                             ssh_key key, diag_t *diag)
{
  char print[TRUST_FINGERPRINT_MAX];
  const char *kind = ssh_key_type_to_char(ssh_key_type(key));
  trust_fingerprint(key, print);
  trust_verdict_t verdict = trust_judge(trust, key);
  if (o->revoked_host_keys && revoked_judge(o->revoked_host_keys, key, diag) != SMPL_OK)
    return EXIT_NOT_TRUSTED;
  if (verdict == TRUST_UNKNOWN && memory->host_key &&
      ssh_key_cmp(memory->host_key, key, SSH_KEY_CMP_PUBLIC) == 0)
    verdict = TRUST_KNOWN;
  if (verdict == TRUST_KNOWN) {
    say_step(say, "host key %s %s is known", kind, print);
    return EXIT_ENDED;
  }
  const char *authority = NULL;
  if ((verdict == TRUST_UNKNOWN || verdict == TRUST_OTHER_KIND) && trust_has_authority(trust)) {
    authority = o->proxy_command
                    ? "behind a proxy it cannot be asked for its certificate"
                    : authority_ask(trust, o->revoked_host_keys, o->host, o->port, o->key_name, key);
    if (!authority) {
      say_step(say, "host key %s %s is vouched for by a @cert-authority", kind, print);
      return EXIT_ENDED;
    }
  }
  consent_t consent =
      verdict == TRUST_UNKNOWN ? ask(memory, o->strict, trust, authority, kind, print) : CONSENT_NOBODY_THERE;
  if (consent == CONSENT_NO) {
    diag_fail(diag, SMPL_EDENIED,
              "the key of %s was not confirmed with 'yes' or its fingerprint: not connecting",
              trust_host(trust));
    return EXIT_NOT_TRUSTED;
  }
  if (consent == CONSENT_NOBODY_THERE)
    return untrusted(o, trust, verdict, authority, kind, print, diag);
  diag_t inner = {0};
  ssh_key_free(memory->host_key);
  memory->host_key = ssh_key_dup(key);
  if (o->known_hosts_count && trust_remember(trust, o->known_hosts[0], key, &inner) == SMPL_OK)
    say_note(say, "the key of %s is written to %s", trust_host(trust), o->known_hosts[0]);
  else
    say_note(say, "the key of %s could not be remembered: %s", trust_host(trust), inner.text);
  return EXIT_ENDED;
}

/* What the files say of the host, and KnownHostsCommand where there is one; key as there. Port 22: an alias
 * goes without. */
typedef struct expansion {
  ssh_config_t *config;
  const destination_t *to;
} expansion_t;

static const char *expand(void *ctx, const char *what, const char *word, const token_t *tokens, diag_t *diag)
{
  const expansion_t *e = ctx;
  return ssh_config_expand(e->config, e->to, what, word, tokens, diag);
}

int host_key_load(ssh_config_t *o, const destination_t *to, ssh_key key, trust_t **trust, diag_t *diag)
{
  uint16_t port = o->key_alias ? 22 : o->port;
  int err = trust_load(o->known_hosts, o->known_hosts_count, o->key_name, port, trust, diag);
  if (err)
    return err;
  expansion_t e = {o, to};
  return known_command_ask(&(known_command_t){o->known_hosts_command, expand, &e, o->group}, key, *trust,
                           diag);
}

exit_code_t host_key_check(ssh_key key, ssh_config_t *o, const destination_t *to, memory_t *memory,
                           say_t *say, trust_t **trust, diag_t *diag)
{
  int err = SMPL_OK;
  if (o->known_hosts_command) {
    trust_free(*trust);
    err = host_key_load(o, to, key, trust, diag);
  }
  return err ? EXIT_NOT_TRUSTED : check_key(o, say, memory, *trust, key, diag);
}
