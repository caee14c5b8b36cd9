#include "tunnel/settings.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/error.h"
#include "common/file.h"
#include "common/text.h"
#include "tunnel/capture.h"

enum { CONFIG_MAX = 1 << 20, WORD_MAX = 4096 };

static const char *keep(settings_t *s, const char *text)
{
  if (s->string_count == SETTINGS_STRINGS_MAX)
    return NULL;
  char *copy = strdup(text);
  if (copy)
    s->strings[s->string_count++] = copy;
  return copy;
}

void settings_free(settings_t *s)
{
  if (!s)
    return;
  for (size_t i = 0; i < s->string_count; i++)
    free(s->strings[i]);
  *s = (settings_t){0};
}

/* ---- is ssh -G worth its time? ---- */

static const char *const keys_that_matter[] = {"hostname",
                                               "port",
                                               "user",
                                               "identityfile",
                                               "identitiesonly",
                                               "certificatefile",
                                               "proxyjump",
                                               "proxycommand",
                                               "match",
                                               "userknownhostsfile",
                                               "globalknownhostsfile",
                                               "serveraliveinterval",
                                               "serveralivecountmax",
                                               "hostkeyalias",
                                               "identityagent",
                                               "canonicalizehostname"};

static bool matters(const char *path, unsigned *files);

/* The next word of *rest, ended in place; NULL at the end. */
static char *next_word(char **rest)
{
  char *word = *rest + strspn(*rest, " \t");
  size_t len = strcspn(word, " \t");
  if (len == 0)
    return NULL;
  *rest = word + len + (word[len] != '\0');
  word[len] = '\0';
  return word;
}

static bool include_matters(const char *pattern, unsigned *files)
{
  char full[WORD_MAX];
  const char *home = getenv("HOME");
  if (pattern[0] == '~' && home)
    snprintf(full, sizeof full, "%s%s", home, pattern + 1);
  else if (pattern[0] == '/')
    snprintf(full, sizeof full, "%s", pattern);
  else
    return true; /* relative to where the file lies: ssh knows */
  glob_t found;
  bool yes = false;
  if (glob(full, 0, NULL, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc && !yes; i++)
      yes = matters(found.gl_pathv[i], files);
  }
  globfree(&found);
  return yes;
}

static bool line_matters(char *line, unsigned *files)
{
  line += strspn(line, " \t\r");
  size_t len = strcspn(line, " \t=\"");
  char *value = line + len;
  value += strspn(value, " \t=\"");
  value[strcspn(value, "\"\r")] = '\0';
  line[len] = '\0';
  if (text_equal_nocase(line, "include")) {
    bool yes = false;
    for (char *word; !yes && (word = next_word(&value));)
      yes = include_matters(word, files);
    return yes;
  }
  for (size_t i = 0; i < sizeof keys_that_matter / sizeof *keys_that_matter; i++) {
    if (text_equal_nocase(line, keys_that_matter[i]))
      return true;
  }
  return false;
}

static bool matters(const char *path, unsigned *files)
{
  char *data = NULL;
  size_t len;
  diag_t diag = {0};
  if (++*files > SETTINGS_FILES_MAX)
    return true;
  int err = file_read(path, CONFIG_MAX, &data, &len, &diag);
  if (err)
    return err != SMPL_ENOENT; /* let ssh say what is wrong with it */
  bool yes = false;
  for (char *line = data, *end; line < data + len && !yes; line = end + 1) { /* the data end with a NUL */
    end = line + strcspn(line, "\n");
    *end = '\0';
    yes = line_matters(line, files);
  }
  free(data);
  return yes;
}

bool settings_file_matters(const char *path)
{
  unsigned files = 0;
  return matters(path, &files);
}

static bool is_needed(const options_t *o)
{
  if (o->ssh_config)
    return strcmp(o->ssh_config, "none") != 0;
  char path[OPTIONS_PATH_MAX];
  const char *home = getenv("HOME");
  snprintf(path, sizeof path, "%s/.ssh/config", home ? home : "");
  return (home && settings_file_matters(path)) || settings_file_matters("/etc/ssh/ssh_config");
}

/* ---- its report ---- */

static void take_text(char *dst, size_t cap, const char *value)
{
  if (value[0] && strlen(value) < cap)
    text_copy(dst, cap, value);
}

/* "~/x" as ssh -G leaves it; %d and the like in a file's name are left to those who need them. */
static const char *keep_path(settings_t *s, const char *value)
{
  char full[OPTIONS_PATH_MAX];
  const char *home = getenv("HOME");
  if (value[0] != '~' || value[1] != '/' || !home)
    return keep(s, value);
  int n = snprintf(full, sizeof full, "%s%s", home, value + 1);
  return n > 0 && (size_t)n < sizeof full ? keep(s, full) : NULL;
}

static void add_path(settings_t *s, const char **list, size_t *count, size_t max, const char *value)
{
  const char *path = *count < max && strcmp(value, "none") != 0 ? keep_path(s, value) : NULL;
  if (path)
    list[(*count)++] = path;
}

static void add_paths(settings_t *s, const char **list, size_t *count, size_t max, const char *value)
{
  char words[WORD_MAX];
  if (text_copy(words, sizeof words, value) != SMPL_OK)
    return;
  for (char *word, *rest = words; (word = next_word(&rest));)
    add_path(s, list, count, max, word);
}

static unsigned number(const char *value, unsigned max)
{
  uint64_t n = 0;
  return text_parse_u64(value, strlen(value), max, &n) == SMPL_OK ? (unsigned)n : 0;
}

void settings_take_line(const options_t *o, settings_t *s, const char *line)
{
  size_t len = strcspn(line, " ");
  const char *value = line[len] ? line + len + 1 : "";
  char key[64];
  if (len == 0 || len >= sizeof key)
    return;
  memcpy(key, line, len);
  key[len] = '\0';
  if (strcmp(key, "hostname") == 0)
    take_text(s->host, sizeof s->host, value);
  else if (strcmp(key, "hostkeyalias") == 0)
    take_text(s->key_name, sizeof s->key_name, value);
  else if (strcmp(key, "user") == 0 && !o->user_given)
    take_text(s->user, sizeof s->user, value);
  else if (strcmp(key, "port") == 0 && !o->port_given && number(value, UINT16_MAX))
    s->port = (uint16_t)number(value, UINT16_MAX);
  else if (strcmp(key, "identityfile") == 0 && !o->identities_given)
    add_path(s, s->identities, &s->identity_count, OPTIONS_IDENTITIES_MAX, value);
  else if (strcmp(key, "identitiesonly") == 0)
    s->identities_only = strcmp(value, "yes") == 0;
  else if (strcmp(key, "certificatefile") == 0)
    add_path(s, s->certificates, &s->certificate_count, OPTIONS_IDENTITIES_MAX, value);
  else if ((strcmp(key, "userknownhostsfile") == 0 || strcmp(key, "globalknownhostsfile") == 0) &&
           !o->known_hosts_given)
    add_paths(s, s->known_hosts, &s->known_hosts_count, OPTIONS_KNOWN_HOSTS_MAX, value);
  else if (strcmp(key, "identityagent") == 0 && strcmp(value, "SSH_AUTH_SOCK") != 0)
    s->agent = keep_path(s, value);
  else if (strcmp(key, "serveraliveinterval") == 0)
    s->alive_interval_s = number(value, SETTINGS_ALIVE_MAX_S);
  else if (strcmp(key, "serveralivecountmax") == 0)
    s->alive_count = number(value, 1000);
  else if (strcmp(key, "proxycommand") == 0 && strcmp(value, "none") != 0)
    s->proxy_command = keep(s, value);
  else if (strcmp(key, "proxyjump") == 0 && strcmp(value, "none") != 0)
    s->proxy_jump = keep(s, value);
}

/* ---- running it ---- */

static int ask_ssh(const options_t *o, settings_t *s, diag_t *diag)
{
  char port[8];
  snprintf(port, sizeof port, "%u", o->port);
  const char *argv[12] = {"ssh", "-T", "-G"};
  size_t n = 3;
  if (o->ssh_config) {
    argv[n++] = "-F";
    argv[n++] = o->ssh_config;
  }
  if (o->port_given) {
    argv[n++] = "-p";
    argv[n++] = port;
  }
  if (o->user_given) {
    argv[n++] = "-l";
    argv[n++] = o->user;
  }
  argv[n++] = "--";
  argv[n++] = o->host;
  char *report;
  bool fine;
  int error =
      capture_run(&(capture_t){.argv = argv, .in = -1, .most = SETTINGS_REPORT_MAX, .ms = SETTINGS_REPORT_MS},
                  &report, &fine);
  if (error == ENOENT)
    return SMPL_OK; /* no ssh here: nobody expects its configuration to be heeded */
  if (error)
    return diag_fail(diag, SMPL_ESYS, "ssh -G cannot be run to read ssh_config: %s", strerror(error));
  if (!report)
    return diag_fail(diag, SMPL_ETIMEOUT, "ssh -G does not say within %d s what ssh_config holds for %s",
                     SETTINGS_REPORT_MS / 1000, o->host);
  for (char *line = report; fine && line;) {
    char *end = strchr(line, '\n');
    if (end)
      *end = '\0';
    settings_take_line(o, s, line);
    line = end ? end + 1 : NULL;
  }
  free(report);
  return fine ? SMPL_OK
              : diag_fail(diag, SMPL_EINVAL,
                          "ssh_config cannot be read (ssh -G says what is wrong above); -F none "
                          "leaves it out");
}

/* ---- together ---- */

/* %h, %p, %r, %n and %% of a ProxyCommand. */
static const char *expand(settings_t *s, const options_t *o, const char *text)
{
  char full[WORD_MAX];
  char port[8];
  size_t used = 0;
  snprintf(port, sizeof port, "%u", s->port);
  for (const char *c = text; *c && used + 1 < sizeof full; c++) {
    const char *put = NULL;
    if (*c == '%' && c[1]) {
      c++;
      put = *c == 'h'   ? s->host
            : *c == 'p' ? port
            : *c == 'r' ? s->user
            : *c == 'n' ? o->host
            : *c == '%' ? "%"
                        : "";
    }
    int n = put ? snprintf(full + used, sizeof full - used, "%s", put)
                : snprintf(full + used, sizeof full - used, "%c", *c);
    used += n > 0 ? (size_t)n : 0;
  }
  return used + 1 < sizeof full ? keep(s, full) : NULL;
}

/* A name that goes into a command line: nothing that a shell would take for more. */
static bool is_plain(const char *text)
{
  for (const char *c = text; *c; c++) {
    if (!isalnum((unsigned char)*c) && !strchr("@:.-_[]%,/", *c))
      return false;
  }
  return text[0] != '-' && text[0] != '\0';
}

/* ProxyJump by ssh itself, as ssh does it: the last jump connects us, the others are its own jumps. */
static int jump_command(settings_t *s, const options_t *o, diag_t *diag)
{
  const char *last = strrchr(s->proxy_jump, ',');
  const char *hop = last ? last + 1 : s->proxy_jump;
  char command[WORD_MAX];
  if (!is_plain(s->proxy_jump) || !is_plain(s->host) || (o->ssh_config && !is_plain(o->ssh_config)))
    return diag_fail(diag, SMPL_EINVAL, "ProxyJump %s: not [USER@]HOST[:PORT]", s->proxy_jump);
  bool uri = strncmp(hop, "ssh://", 6) == 0;
  int n =
      snprintf(command, sizeof command, "ssh%s%s%s%.*s -W '[%s]:%u' -- %s%s", o->ssh_config ? " -F " : "",
               o->ssh_config ? o->ssh_config : "", last ? " -J " : "", last ? (int)(last - s->proxy_jump) : 0,
               s->proxy_jump, s->host, s->port, uri ? "" : "ssh://", hop);
  if (n < 0 || (size_t)n >= sizeof command)
    return diag_fail(diag, SMPL_ELIMIT, "ProxyJump is too long");
  s->proxy_command = keep(s, command);
  return SMPL_OK;
}

static void from_options(const options_t *o, settings_t *s)
{
  text_copy(s->host, sizeof s->host, o->host);
  text_copy(s->user, sizeof s->user, o->user);
  s->port = o->port;
  s->identities_given = o->identities_given;
}

/* What neither the user nor ssh_config has said. */
static void from_defaults(const options_t *o, settings_t *s)
{
  if (s->identity_count == 0) {
    memcpy(s->identities, o->identities, sizeof s->identities);
    s->identity_count = o->identity_count;
  }
  if (s->known_hosts_count == 0) {
    memcpy(s->known_hosts, o->known_hosts, sizeof s->known_hosts);
    s->known_hosts_count = o->known_hosts_count;
  }
  if (!s->key_name[0])
    text_copy(s->key_name, sizeof s->key_name, s->host);
}

int settings_load(const options_t *o, settings_t *s, diag_t *diag)
{
  *s = (settings_t){0};
  from_options(o, s);
  int err = is_needed(o) ? ask_ssh(o, s, diag) : SMPL_OK;
  if (err)
    return err;
  from_defaults(o, s);
  if (s->proxy_command)
    s->proxy_command = expand(s, o, s->proxy_command);
  else if (s->proxy_jump)
    err = jump_command(s, o, diag);
  if (!err && s->alive_interval_s && !s->alive_count)
    s->alive_count = 3;
  return err;
}
