/* SPDX-License-Identifier: Apache-2.0 */
#include "tunnel/session/ssh_config.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/text.h"
#include "tunnel/base/capture.h"

enum { WORD_MAX = 4096 };

static const char *keep(ssh_config_t *s, const char *text)
{
  if (s->string_count == SSH_CONFIG_STRINGS_MAX)
    return NULL;
  char *copy = strdup(text);
  if (copy)
    s->strings[s->string_count++] = copy;
  return copy;
}

void ssh_config_free(ssh_config_t *s)
{
  if (!s)
    return;
  for (size_t i = 0; i < s->string_count; i++)
    free(s->strings[i]);
  *s = (ssh_config_t){0};
}

/* ---- what counts only where it is not the default ---- */

/* By ssh_config_compared_t. Those behind SSH_CONFIG_OBEYED are told of as not heeded. */
static const struct {
  const char *key;  /* as ssh -G has it */
  const char *name; /* as people write it */
} compared[SSH_CONFIG_COMPARED] = {
    [SSH_CONFIG_KEX] = {"kexalgorithms", "KexAlgorithms"},
    [SSH_CONFIG_HOST_KEYS] = {"hostkeyalgorithms", "HostKeyAlgorithms"},
    [SSH_CONFIG_CIPHERS] = {"ciphers", "Ciphers"},
    [SSH_CONFIG_MACS] = {"macs", "MACs"},
    [SSH_CONFIG_RSA_SIZE] = {"requiredrsasize", "RequiredRSASize"},
    [SSH_CONFIG_SIGNATURES] = {"pubkeyacceptedalgorithms", "PubkeyAcceptedAlgorithms"},
    [SSH_CONFIG_CA_SIGNATURES] = {"casignaturealgorithms", "CASignatureAlgorithms"},
    [SSH_CONFIG_HOST_KEY_DNS] = {"verifyhostkeydns", "VerifyHostKeyDNS"},
    [SSH_CONFIG_REKEY] = {"rekeylimit", "RekeyLimit"},
    [SSH_CONFIG_COMPRESSION] = {"compression", "Compression"},
};

/* Its place in the table; -1. */
static int find_compared(const char *key)
{
  for (int i = 0; i < SSH_CONFIG_COMPARED; i++) {
    if (text_equal_nocase(key, compared[i].key))
      return i;
  }
  return -1;
}

/* ---- is ssh -G worth its time? ---- */

static const char *const keys_that_matter[] = {
    "hostname",
    "port",
    "user",
    "identityfile",
    "identitiesonly",
    "certificatefile",
    "proxyjump",
    "proxycommand",
    "userknownhostsfile",
    "globalknownhostsfile",
    "identityagent",
    "hostkeyalias",
    "addressfamily",
    "serveraliveinterval",
    "serveralivecountmax",
    "bindaddress",
    "bindinterface",
    "connecttimeout",
    "stricthostkeychecking",
    "knownhostscommand",
    "revokedhostkeys",
    "canonicalizehostname",
};

static unsigned matters(const char *path, unsigned *files);

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

static unsigned include_matters(const char *pattern, unsigned *files)
{
  char full[WORD_MAX];
  const char *home = getenv("HOME");
  if (pattern[0] == '~' && home)
    snprintf(full, sizeof full, "%s%s", home, pattern + 1);
  else if (pattern[0] == '/')
    snprintf(full, sizeof full, "%s", pattern);
  else
    return SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS; /* relative to where the file lies: ssh knows */
  glob_t found;
  unsigned what = 0;
  if (glob(full, 0, NULL, &found) == 0) {
    for (size_t i = 0; i < found.gl_pathc; i++)
      what |= matters(found.gl_pathv[i], files);
  }
  globfree(&found);
  return what;
}

static unsigned line_matters(char *line, unsigned *files)
{
  line += strspn(line, " \t\r");
  size_t len = strcspn(line, " \t=\"");
  char *value = line + len;
  value += strspn(value, " \t=\"");
  value[strcspn(value, "\"\r")] = '\0';
  line[len] = '\0';
  unsigned what = 0;
  if (text_equal_nocase(line, "include")) {
    for (char *word; (word = next_word(&value));)
      what |= include_matters(word, files);
    return what;
  }
  if (text_equal_nocase(line,
                        "match")) /* which may run programs, and whose answers cost nothing to ask for */
    return SSH_CONFIG_MATTERS;
  if (find_compared(line) >= 0)
    return SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS;
  for (size_t i = 0; i < sizeof keys_that_matter / sizeof *keys_that_matter; i++) {
    if (text_equal_nocase(line, keys_that_matter[i]))
      return SSH_CONFIG_MATTERS;
  }
  return 0;
}

static unsigned matters(const char *path, unsigned *files)
{
  char *data = NULL;
  size_t len;
  diag_t diag = {0};
  if (++*files > SSH_CONFIG_FILES_MAX)
    return SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS;
  int err = file_read(path, SSH_CONFIG_FILE_MAX, &data, &len, &diag);
  if (err) /* let ssh say what is wrong with it */
    return err != SMPL_ENOENT ? SSH_CONFIG_MATTERS | SSH_CONFIG_DIFFERS : 0;
  unsigned what = 0;
  for (char *line = data, *end; line < data + len; line = end + 1) { /* the data end with a NUL */
    end = line + strcspn(line, "\n");
    *end = '\0';
    what |= line_matters(line, files);
  }
  free(data);
  return what;
}

unsigned ssh_config_file_matters(const char *path)
{
  unsigned files = 0;
  return matters(path, &files);
}

static unsigned what_is_needed(const destination_t *o)
{
  if (o->ssh_config)
    return strcmp(o->ssh_config, "none") == 0 ? 0
                                              : SSH_CONFIG_MATTERS | ssh_config_file_matters(o->ssh_config);
  char path[PATH_TEXT_MAX];
  const char *home = getenv("HOME");
  snprintf(path, sizeof path, "%s/.ssh/config", home ? home : "");
  return (home ? ssh_config_file_matters(path) : 0) | ssh_config_file_matters("/etc/ssh/ssh_config");
}

/* ---- its report ---- */

static void take_text(char *dst, size_t cap, const char *value)
{
  if (value[0] && strlen(value) < cap)
    text_copy(dst, cap, value);
}

/* "~/x" as ssh -G leaves it. */
static const char *keep_path(ssh_config_t *s, const char *value)
{
  char full[PATH_TEXT_MAX];
  const char *home = getenv("HOME");
  if (value[0] != '~' || value[1] != '/' || !home)
    return keep(s, value);
  int n = snprintf(full, sizeof full, "%s%s", home, value + 1);
  return n > 0 && (size_t)n < sizeof full ? keep(s, full) : NULL;
}

static void add_path(ssh_config_t *s, const char **list, size_t *count, size_t max, const char *value)
{
  const char *path = *count < max && strcmp(value, "none") != 0 ? keep_path(s, value) : NULL;
  if (path)
    list[(*count)++] = path;
}

static bool is_there(const char *path)
{
  char full[PATH_TEXT_MAX];
  const char *home = getenv("HOME");
  snprintf(full, sizeof full, "%s%s", path[0] == '~' && path[1] == '/' && home ? home : "",
           path[0] == '~' && path[1] == '/' && home ? path + 1 : path);
  return access(full, F_OK) == 0;
}

/* The end of the path at the start of text: ssh -G joins paths with spaces and quotes none of them, so of
 * what may be meant the longest that is there, or the first word. */
static size_t path_length(char *text)
{
  size_t first = strcspn(text, " "), best = first;
  for (size_t len = first; text[len]; len += 1 + strcspn(text + len + 1, " ")) {
    char kept = text[len];
    text[len] = '\0';
    if (is_there(text))
      best = len;
    text[len] = kept;
  }
  return is_there(text) ? strlen(text) : best;
}

static void add_paths(ssh_config_t *s, const char **list, size_t *count, size_t max, const char *value)
{
  char words[WORD_MAX];
  if (text_copy(words, sizeof words, value) != SMPL_OK)
    return;
  for (char *at = words; *(at += strspn(at, " "));) {
    size_t len = path_length(at);
    bool last = at[len] == '\0';
    at[len] = '\0';
    add_path(s, list, count, max, at);
    at += len + (last ? 0 : 1);
  }
}

/* In front of the system's, whichever ssh -G names first: the first is the one that is written to. */
static void take_user_files(ssh_config_t *s, const char *value)
{
  const char *global[KNOWN_HOSTS_MAX];
  size_t count = s->known_hosts_count;
  if (s->user_known_hosts)
    return; /* one line has them all */
  s->user_known_hosts = true;
  memcpy(global, s->known_hosts, sizeof global);
  s->known_hosts_count = 0;
  add_paths(s, s->known_hosts, &s->known_hosts_count, KNOWN_HOSTS_MAX, value);
  for (size_t i = 0; i < count && s->known_hosts_count < KNOWN_HOSTS_MAX; i++)
    s->known_hosts[s->known_hosts_count++] = global[i];
}

/* A name of the environment's instead of a path: "$NAME". */
static void take_agent(ssh_config_t *s, const char *value)
{
  const char *path = value[0] == '$' && value[1] != '{' ? getenv(value + 1) : value;
  if (strcmp(value, "SSH_AUTH_SOCK") != 0)
    s->agent = path && path[0] ? keep_path(s, path) : "none";
}

static ssh_config_strict_t strict_of(const char *value)
{
  if (strcmp(value, "true") == 0 || strcmp(value, "yes") == 0)
    return SSH_CONFIG_STRICT;
  /* "no" would connect to a changed key as well; but ssh forwards nothing then, so that nothing is lost. */
  if (strcmp(value, "accept-new") == 0 || strcmp(value, "false") == 0 || strcmp(value, "no") == 0 ||
      strcmp(value, "off") == 0)
    return SSH_CONFIG_ACCEPT_NEW;
  return SSH_CONFIG_ASK;
}

static unsigned number(const char *value, unsigned max)
{
  uint64_t n = 0;
  return text_parse_u64(value, strlen(value), max, &n) == SMPL_OK ? (unsigned)n : 0;
}

void ssh_config_take_line(const destination_t *o, ssh_config_t *s, const char *line)
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
  else if (find_compared(key) >= 0)
    s->compared[find_compared(key)] = keep(s, value);
  else if (strcmp(key, "user") == 0 && !o->user_given)
    take_text(s->user, sizeof s->user, value);
  else if (strcmp(key, "port") == 0 && !o->port_given && number(value, UINT16_MAX))
    s->port = (uint16_t)number(value, UINT16_MAX);
  else if (strcmp(key, "identityfile") == 0 && !o->identities_given)
    add_path(s, s->identities, &s->identity_count, IDENTITIES_MAX, value);
  else if (strcmp(key, "identitiesonly") == 0)
    s->identities_only = strcmp(value, "yes") == 0;
  else if (strcmp(key, "certificatefile") == 0)
    add_path(s, s->certificates, &s->certificate_count, IDENTITIES_MAX, value);
  else if (strcmp(key, "userknownhostsfile") == 0 && !o->known_hosts_given)
    take_user_files(s, value);
  else if (strcmp(key, "globalknownhostsfile") == 0 && !o->known_hosts_given)
    add_paths(s, s->known_hosts, &s->known_hosts_count, KNOWN_HOSTS_MAX, value);
  else if (strcmp(key, "identityagent") == 0)
    take_agent(s, value);
  else if (strcmp(key, "stricthostkeychecking") == 0)
    s->strict = strict_of(value);
  else if (strcmp(key, "knownhostscommand") == 0 && strcmp(value, "none") != 0)
    s->known_hosts_command = keep(s, value);
  else if (strcmp(key, "revokedhostkeys") == 0 && strcmp(value, "none") != 0)
    s->revoked_host_keys = keep_path(s, value);
  else if (strcmp(key, "bindaddress") == 0)
    s->dial.bind_address = keep(s, value);
  else if (strcmp(key, "bindinterface") == 0)
    s->dial.bind_interface = keep(s, value);
  else if (strcmp(key, "addressfamily") == 0)
    s->dial.family = strcmp(value, "inet") == 0    ? AF_INET
                     : strcmp(value, "inet6") == 0 ? AF_INET6
                                                   : AF_UNSPEC;
  else if (strcmp(key, "connecttimeout") == 0)
    s->dial.timeout_s = number(value, SSH_CONFIG_CONNECT_MAX_S);
  else if (strcmp(key, "serveraliveinterval") == 0)
    s->alive_interval_s = number(value, SSH_CONFIG_ALIVE_MAX_S);
  else if (strcmp(key, "serveralivecountmax") == 0)
    s->alive_count = number(value, 1000);
  else if (strcmp(key, "proxycommand") == 0 && strcmp(value, "none") != 0)
    s->proxy_command = keep(s, value);
  else if (strcmp(key, "proxyjump") == 0 && strcmp(value, "none") != 0)
    s->proxy_jump = keep(s, value);
}

/* ---- running it ---- */

/* ssh -G's report, to be freed; NULL without an error: there is no ssh here, and nobody expects its
 * configuration to be heeded. */
static int run_ssh(const destination_t *o, atomic_int *group, const char *config, bool quiet, char **report,
                   diag_t *diag)
{
  char port[8];
  snprintf(port, sizeof port, "%u", o->port);
  const char *argv[12] = {"ssh", "-T", "-G"};
  size_t n = 3;
  if (config) {
    argv[n++] = "-F";
    argv[n++] = config;
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
  bool fine;
  *report = NULL;
  int error = capture_run(&(capture_t){.argv = argv,
                                       .in = -1,
                                       .quiet = quiet,
                                       .most = SSH_CONFIG_REPORT_MAX,
                                       .ms = SSH_CONFIG_REPORT_MS,
                                       .group = group},
                          report, &fine);
  if (error == ENOENT)
    return SMPL_OK;
  if (error)
    return diag_fail(diag, SMPL_ESYS, "ssh -G cannot be run to read ssh_config: %s", strerror(error));
  if (!*report)
    return diag_fail(diag, SMPL_ETIMEOUT, "ssh -G does not say within %d s what ssh_config holds for %s",
                     SSH_CONFIG_REPORT_MS / 1000, o->host);
  if (fine)
    return SMPL_OK;
  free(*report);
  *report = NULL;
  return diag_fail(diag, SMPL_EINVAL,
                   "ssh_config cannot be read (ssh -G says what is wrong above); -F none "
                   "leaves it out");
}

/* Takes a line off *report; NULL at the end. */
static char *next_line(char **report)
{
  char *line = *report;
  if (!line || !*line)
    return NULL;
  char *end = strchr(line, '\n');
  *report = end ? end + 1 : NULL;
  if (end)
    *end = '\0';
  return line;
}

void ssh_config_compare_line(ssh_config_t *s, const char *line)
{
  char key[64];
  size_t len = strcspn(line, " ");
  if (len >= sizeof key)
    return;
  memcpy(key, line, len);
  key[len] = '\0';
  int i = find_compared(key);
  if (i >= 0 && s->compared[i] && strcmp(s->compared[i], line[len] ? line + len + 1 : "") == 0)
    s->compared[i] = NULL;
}

void ssh_config_name_ignored(ssh_config_t *s)
{
  size_t used = 0;
  for (int i = SSH_CONFIG_OBEYED; i < SSH_CONFIG_COMPARED; i++) {
    if (s->compared[i] && used < sizeof s->ignored)
      used += (size_t)snprintf(s->ignored + used, sizeof s->ignored - used, "%s%s", used ? ", " : "",
                               compared[i].name);
  }
}

/* What ssh would report with no file at all is the defaults. */
static int drop_defaults(const destination_t *o, ssh_config_t *s, unsigned needed, diag_t *diag)
{
  if (!(needed & SSH_CONFIG_DIFFERS)) {
    memset(s->compared, 0, sizeof s->compared);
    return SMPL_OK;
  }
  char *report;
  int err = run_ssh(o, s->group, "none", true, &report, diag);
  char *rest = report;
  for (char *line; (line = next_line(&rest));)
    ssh_config_compare_line(s, line);
  free(report);
  ssh_config_name_ignored(s);
  return err;
}

static int ask_ssh(const destination_t *o, ssh_config_t *s, unsigned needed, diag_t *diag)
{
  char *report;
  int err = run_ssh(o, s->group, o->ssh_config, false, &report, diag);
  if (err || !report)
    return err;
  char *rest = report;
  for (char *line; (line = next_line(&rest));)
    ssh_config_take_line(o, s, line);
  free(report);
  return drop_defaults(o, s, needed, diag);
}

/* ---- together ---- */

static void local_name(char *buf, size_t cap)
{
  if (gethostname(buf, cap) != 0)
    buf[0] = '\0';
  buf[cap - 1] = '\0';
}

/* What stands behind a percent sign of a file's name (ssh_config(5), TOKENS); NULL: nothing that is known. */
static const char *token(const ssh_config_t *s, const destination_t *o, const token_t *extra, char c,
                         char *buf, size_t cap)
{
  for (; extra && extra->letter; extra++) {
    if (extra->letter == c)
      return extra->value;
  }
  const struct passwd *pw = c == 'u' || c == 'd' ? getpwuid(getuid()) : NULL;
  const char *home = getenv("HOME");
  switch (c) {
  case '%':
    return "%";
  case 'h':
    return s->host;
  case 'n':
    return o->host;
  case 'k':
    return s->key_alias ? s->key_name : o->host;
  case 'r':
    return s->user;
  case 'p':
    snprintf(buf, cap, "%u", s->port);
    return buf;
  case 'i':
    snprintf(buf, cap, "%u", (unsigned)getuid());
    return buf;
  case 'u':
    return pw ? pw->pw_name : NULL;
  case 'd':
    return home && home[0] ? home : pw ? pw->pw_dir : NULL;
  case 'l':
    local_name(buf, cap);
    return buf;
  case 'L':
    local_name(buf, cap);
    buf[strcspn(buf, ".")] = '\0';
    return buf;
  default:
    return NULL;
  }
}

/* "${NAME}" at text: its value, and how long it is there. NULL: no such thing, or not set. */
static const char *variable(const char *text, size_t *len)
{
  char name[128];
  *len = strcspn(text, "}") + 1;
  if (text[1] != '{' || text[*len - 1] != '}' || *len < 4 || *len - 3 >= sizeof name)
    return NULL;
  memcpy(name, text + 2, *len - 3);
  name[*len - 3] = '\0';
  return getenv(name);
}

const char *ssh_config_expand(ssh_config_t *s, const destination_t *o, const char *what, const char *text,
                              const token_t *extra, diag_t *diag)
{
  char full[WORD_MAX], buf[256];
  size_t used = 0, len = 1;
  for (const char *c = text; *c; c += len) {
    const char *put = NULL;
    bool special = *c == '%' || (*c == '$' && c[1] == '{');
    len = 1;
    if (*c == '%') {
      put = token(s, o, extra, c[1], buf, sizeof buf);
      len = 2;
    } else if (special) {
      put = variable(c, &len);
    }
    if (special && !put) {
      diag_fail(diag, SMPL_EINVAL, "ssh_config: %s %s: '%.*s' %s", what, text,
                (int)(*c == '%' && !c[1] ? 1 : len), c,
                *c == '%' ? "is not known here" : "is not set in the environment");
      return NULL;
    }
    int n = put ? snprintf(full + used, sizeof full - used, "%s", put)
                : snprintf(full + used, sizeof full - used, "%c", *c);
    used += n > 0 ? (size_t)n : 0;
    if (used >= sizeof full) {
      diag_fail(diag, SMPL_ELIMIT, "ssh_config: %s %s: too long", what, text);
      return NULL;
    }
  }
  const char *kept = keep(s, full);
  if (!kept)
    diag_fail(diag, SMPL_ELIMIT, "ssh_config: %s: more than %d values", what, SSH_CONFIG_STRINGS_MAX);
  return kept;
}

/* Of ssh_config: what ssh -G shows as it was written. */
static int expand_paths(ssh_config_t *s, const destination_t *o, const char *what, const char **list,
                        size_t count, diag_t *diag)
{
  for (size_t i = 0; i < count; i++) {
    if (!strpbrk(list[i], "%$"))
      continue;
    list[i] = ssh_config_expand(s, o, what, list[i], NULL, diag);
    if (!list[i])
      return SMPL_EINVAL;
  }
  return SMPL_OK;
}

/* %h, %p, %r, %n and %% of a ProxyCommand. */
static const char *expand(ssh_config_t *s, const destination_t *o, const char *text)
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
static int jump_command(ssh_config_t *s, const destination_t *o, diag_t *diag)
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

static void lower(char *text)
{
  for (; *text; text++)
    *text = text_lower(*text);
}

static void from_options(const destination_t *o, ssh_config_t *s)
{
  text_copy(s->host, sizeof s->host, o->host);
  lower(s->host); /* ssh_config knows it as it was typed, everybody else like this */
  text_copy(s->user, sizeof s->user, o->user);
  s->port = o->port;
  s->identities_given = o->identities_given;
}

/* What neither the user nor ssh_config has said. */
static void from_defaults(const destination_t *o, ssh_config_t *s)
{
  if (s->identity_count == 0) {
    memcpy(s->identities, o->identities, sizeof s->identities);
    s->identity_count = o->identity_count;
  }
  if (s->known_hosts_count == 0) {
    memcpy(s->known_hosts, o->known_hosts, sizeof s->known_hosts);
    s->known_hosts_count = o->known_hosts_count;
  }
  s->key_alias = s->key_name[0] != '\0';
  if (!s->key_alias)
    text_copy(s->key_name, sizeof s->key_name, s->host);
}

int ssh_config_load(const destination_t *o, atomic_int *group, ssh_config_t *s, diag_t *diag)
{
  *s = (ssh_config_t){.group = group};
  from_options(o, s);
  unsigned needed = what_is_needed(o);
  int err = needed ? ask_ssh(o, s, needed, diag) : SMPL_OK;
  size_t theirs = s->identity_count; /* those of the command line are taken as they are */
  if (!err)
    from_defaults(o, s);
  if (!err)
    err = expand_paths(s, o, "IdentityFile", s->identities, theirs, diag);
  if (!err)
    err = expand_paths(s, o, "CertificateFile", s->certificates, s->certificate_count, diag);
  if (err)
    return err;
  if (s->proxy_command)
    s->proxy_command = expand(s, o, s->proxy_command);
  else if (s->proxy_jump)
    err = jump_command(s, o, diag);
  if (!err && s->alive_interval_s && !s->alive_count)
    s->alive_count = 3;
  return err;
}
