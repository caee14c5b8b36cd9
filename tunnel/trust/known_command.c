/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/trust/known_command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "tunnel/base/capture.h"

enum { COMMAND_MAX = 4096 };

static const char name[] = "KnownHostsCommand";

/* The next word of *rest, without its quotes and backslashes, ended in place. NULL: there is none, or its
 * quote has no end, and then *rest is not at its end. */
static char *next_word(char **rest)
{
  char *from = *rest + strspn(*rest, " \t");
  char *word = from, *to = from, quote = '\0';
  if (!*from)
    return NULL;
  for (; *from && (quote || (*from != ' ' && *from != '\t')); from++) {
    if (quote ? *from == quote : *from == '"' || *from == '\'')
      quote = quote ? '\0' : *from;
    else if (*from == '\\' && from[1] && strchr("\\\"' ", from[1]))
      *to++ = *++from;
    else
      *to++ = *from;
  }
  if (quote) {
    *rest = word;
    return NULL;
  }
  *rest = from + (*from != '\0');
  *to = '\0';
  return word;
}

static int split(const known_command_t *c, const token_t *tokens, char *command, const char **argv,
                 diag_t *diag)
{
  size_t count = 0;
  char *rest = command;
  for (char *word; (word = next_word(&rest));) {
    if (count == KNOWN_COMMAND_WORDS_MAX)
      return diag_fail(diag, SMPL_ELIMIT, "%s: more than %d words", name, KNOWN_COMMAND_WORDS_MAX);
    argv[count] = c->expand(c->ctx, name, word, tokens, diag);
    if (!argv[count++])
      return SMPL_EINVAL;
  }
  argv[count] = NULL;
  if (count == 0 || argv[0][0] != '/' || *rest)
    return diag_fail(diag, SMPL_EINVAL, "%s %s: not a program's whole path and its arguments", name,
                     c->command);
  return SMPL_OK;
}

static int run(const char *const *argv, atomic_int *group, trust_t *trust, diag_t *diag)
{
  char *text;
  bool fine;
  int error = capture_run(&(capture_t){.argv = argv,
                                       .in = -1,
                                       .most = KNOWN_COMMAND_MOST,
                                       .ms = KNOWN_COMMAND_MS,
                                       .group = group},
                          &text, &fine);
  if (error)
    return diag_fail(diag, SMPL_ESYS, "%s %s cannot be run: %s", name, argv[0], strerror(error));
  int err = !text ? diag_fail(diag, SMPL_ETIMEOUT, "%s %s takes longer than %d s, or prints more than %d MiB",
                              name, argv[0], KNOWN_COMMAND_MS / 1000, KNOWN_COMMAND_MOST >> 20)
            : !fine ? diag_fail(diag, SMPL_ESYS, "%s %s failed", name, argv[0])
                    : trust_add(trust, text, name, diag);
  free(text);
  return err;
}

int known_command_ask(const known_command_t *c, ssh_key key, trust_t *trust, diag_t *diag)
{
  char command[COMMAND_MAX], print[TRUST_FINGERPRINT_MAX] = "NONE";
  const char *argv[KNOWN_COMMAND_WORDS_MAX + 1];
  char *base64 = NULL;
  if (!c->command)
    return SMPL_OK;
  if (text_copy(command, sizeof command, c->command) != SMPL_OK)
    return diag_fail(diag, SMPL_ELIMIT, "%s: longer than %d bytes", name, COMMAND_MAX - 1);
  if (key && ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
    return diag_fail(diag, SMPL_ENOMEM, "out of memory");
  if (key)
    trust_fingerprint(key, print);
  const token_t tokens[] = {
      {'f', print},
      {'H', trust_host(trust)},
      {'I', key ? "HOSTNAME" : "ORDER"},
      {'K', base64 ? base64 : "NONE"},
      {'t', key ? ssh_key_type_to_char(ssh_key_type(key)) : "NONE"},
      {'\0', NULL},
  };
  int err = split(c, tokens, command, argv, diag);
  if (!err)
    err = run(argv, c->group, trust, diag);
  ssh_string_free_char(base64);
  return err;
}
