/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/words.h"

#include <string.h>

const char *words_of_error(const char *error)
{
  /* The first is left from the options that were set before; the second is an error that is none. */
  if (!error[0] || strstr(error, "ssh_options_set") || strstr(error, ": Success"))
    return "the connection broke";
  return error;
}

const char *words_of_server(const char *error)
{
  const char *words = strstr(error, "SSH_MSG_DISCONNECT: ");
  words = words ? strchr(words + strlen("SSH_MSG_DISCONNECT: "), ':') : NULL;
  return words ? words + 1 : "";
}
