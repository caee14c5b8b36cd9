/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver/cli/commands.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/conf/completion.h"
#include "common/net/bind.h"
#include "common/net/control.h"
#include "common/net/control_conf.h"
#include "common/base/error.h"
#include "common/base/text.h"
#include "resolver/cli/inspect.h"
#include "resolver/view/snapshot.h"
#include "resolver/control/walls.h"

enum {
  ASK_TIMEOUT_MS = 5000,
  LOOK_TIMEOUT_MS = 60000, /* a big table takes its time */
  VIEW_NETS_SHOWN = 8,     /* networks of a view that check prints */
};

const char commands_default_socket[] = "resolver.sock";

/* ---- check ---- */

static void print_warning(void *ctx, const char *text)
{
  (void)ctx;
  printf("warning: %s\n", text);
}

static void print_view(const snapshot_t *s, const view_conf_t *v)
{
  printf("  view %s: clients", v->name);
  for (size_t i = 0; i < v->clients.count && i < VIEW_NETS_SHOWN; i++) {
    char net[IP_NET_TEXT_MAX];
    printf(" %s", ip_net_format(settings_client_at(v, i), net));
  }
  if (v->clients.count > VIEW_NETS_SHOWN)
    printf(" and %zu more", v->clients.count - VIEW_NETS_SHOWN);
  printf("\n");
  for (size_t i = 0; i < v->zones.count; i++) {
    size_t number = settings_zone(snapshot_settings(s), settings_name_at(&v->zones, i));
    const zone_conf_t *conf = settings_zone_at(snapshot_settings(s), number);
    const zone_t *z = snapshot_zone(s, number);
    zone_facts_t f = zone_facts(z);
    printf("    zone %s: serial %" PRIu32 ", %" PRIu32 " names, %" PRIu32 " records%s%s\n", zone_name(z),
           f.serial, f.names, f.records, conf->base != NULL ? ", what it lacks from " : "",
           conf->base != NULL ? conf->base : "");
  }
  if (v->zones.count == 0)
    printf("    no zones: every question is refused\n");
}

/* The folder of a file that the start would make. */
static int check_folder(const settings_t *settings, const char *key, const char *path, const void *at,
                        diag_t *diag)
{
  struct stat st;
  const char *slash = strrchr(path, '/');
  char *folder = slash == NULL   ? strdup(".")
                 : slash == path ? strdup("/")
                                 : strndup(path, (size_t)(slash - path));
  int err = SMPL_OK;
  if (folder == NULL)
    err = diag_fail(diag, SMPL_ENOMEM, "out of memory");
  else if (stat(folder, &st) < 0)
    err = conf_fail(settings->conf, diag, at, "%s: folder '%s': %s", key, folder, strerror(errno));
  else if (!S_ISDIR(st.st_mode))
    err = conf_fail(settings->conf, diag, at, "%s: '%s' is not a folder", key, folder);
  free(folder);
  return err;
}

/* What would keep the control socket from being opened at start. */
static int check_control(const settings_t *settings, diag_t *diag)
{
  struct stat st;
  const char *path = settings->control;
  const void *at = &settings->control;
  int err = control_conf_check(settings->conf, &settings->control, diag);
  if (err)
    return err;
  if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
    return conf_fail(settings->conf, diag, at, "control: '%s' exists and is not a socket", path);
  return check_folder(settings, "control", path, at, diag);
}

static int check_user(const settings_t *settings, diag_t *diag)
{
  account_conf_t account = walls_account(settings);
  bool ours; /* whose the check is does not matter: it may be another machine's configuration */
  return account_check(&account, &ours, diag);
}

static int check_query_log(const settings_t *settings, diag_t *diag)
{
  struct stat st;
  const char *path = settings->query_log.file;
  const void *at = &settings->query_log.file;
  if (path == NULL)
    return SMPL_OK;
  if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode))
    return conf_fail(settings->conf, diag, at, "query_log: %s is not a regular file", path);
  return check_folder(settings, "query_log", path, at, diag);
}

/* It may be another machine's configuration: no fault. */
static void print_absent(const snapshot_t *s)
{
  for (size_t i = 0; i < snapshot_listener_count(s); i++) {
    char text[ENDPOINT_TEXT_MAX];
    endpoint_t at = snapshot_listener(s, i);
    if (!bind_is_here(&at.ip))
      printf("warning: dns listener %s: this machine has no such address now\n", endpoint_format(&at, text));
  }
}

/* One line for each, with what a start would do; the last one is the error. */
static int tell_bad_zones(const snapshot_t *s, diag_t *diag)
{
  diag_t line = {""};
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    const snapshot_origin_t *o = snapshot_zone_origin(s, i);
    if (o->source == SNAPSHOT_FILE)
      continue;
    if (line.text[0] != '\0')
      fprintf(stderr, "smpl-resolver: %s\n", line.text);
    line = (diag_t){""};
    if (o->source == SNAPSHOT_COPY)
      diag_fail(&line, SMPL_EINVAL, "%s; a start would serve its last good copy, serial %u", o->why,
                (unsigned)o->copy.serial);
    else
      diag_fail(&line, SMPL_EINVAL, "%s: a start would answer SERVFAIL for zone '%s'", o->why,
                zone_name(snapshot_zone(s, i)));
  }
  *diag = line;
  return SMPL_EINVAL;
}

static int run_check(const command_t *c, const arguments_t *a, diag_t *diag)
{
  const char *config = a->config;
  (void)c;
  snapshot_t *s;
  int err = snapshot_load_start(config, 1, &s, diag);
  if (err)
    return err;
  const settings_t *settings = snapshot_settings(s);
  if (!snapshot_all_from_files(s)) {
    err = tell_bad_zones(s, diag);
    snapshot_free(s);
    return err;
  }
  err = check_control(settings, diag);
  if (!err)
    err = check_query_log(settings, diag);
  if (!err)
    err = check_user(settings, diag);
  if (err) {
    snapshot_free(s);
    return err;
  }
  printf("%s: ok: %zu dns listeners, %zu views, %zu zones\n", config, snapshot_listener_count(s),
         snapshot_view_count(s), snapshot_zone_count(s));
  for (size_t i = 0; i < snapshot_listener_count(s); i++) {
    char text[ENDPOINT_TEXT_MAX];
    endpoint_t at = snapshot_listener(s, i);
    const listener_conf_t *l = snapshot_listener_conf(s, i);
    printf("dns listener %s: the most specific network of a client decides, no match is refused\n",
           endpoint_format(&at, text));
    for (size_t j = 0; j < l->views.count; j++)
      print_view(s, settings_view_at(settings, settings_view(settings, settings_name_at(&l->views, j))));
  }
  for (size_t i = 0; i < snapshot_zone_count(s); i++) {
    zone_facts_t f = zone_facts(snapshot_zone(s, i));
    if (f.warnings > 0)
      printf("warning: zone %s: %" PRIu32
             " rrsets have records of different TTLs: the lowest of each is used\n",
             zone_name(snapshot_zone(s, i)), f.warnings);
  }
  settings_warnings(settings, print_warning, NULL);
  print_absent(s);
  for (size_t i = 0; settings->state != NULL && i < snapshot_zone_count(s); i++)
    snapshot_warn_of_copy(s, i, print_warning, NULL);
  snapshot_free(s);
  return SMPL_OK;
}

/* ---- asking ---- */

static json_int_t number(const json_t *object, const char *key)
{
  return json_integer_value(json_object_get(object, key));
}

static const char *string(const json_t *object, const char *key)
{
  const char *s = json_string_value(json_object_get(object, key));
  return s != NULL ? s : "";
}

static void print_names(const json_t *list)
{
  size_t i;
  json_t *item;
  json_array_foreach(list, i, item) printf("%s%s", i > 0 ? ", " : "", json_string_value(item));
  printf("\n");
}

static void print_sizes(const json_t *data)
{
  printf("%" JSON_INTEGER_FORMAT " zones, %" JSON_INTEGER_FORMAT " names, %" JSON_INTEGER_FORMAT
         " records, %.1f MB\n",
         number(data, "zones"), number(data, "names"), number(data, "records"),
         (double)number(data, "bytes") / 1e6);
}

static void print_status(const json_t *reply)
{
  size_t i;
  json_t *item;
  char uptime[32];
  text_format_duration(uptime, sizeof uptime, (uint64_t)number(reply, "uptime_ms") / 1000 * 1000);
  printf("smpl-resolver %s, process %" JSON_INTEGER_FORMAT ", up %s, %" JSON_INTEGER_FORMAT " workers\n",
         string(reply, "version"), number(reply, "pid"), uptime, number(reply, "workers"));
  printf("configuration  %s, loaded %s\n", string(reply, "config"), string(reply, "loaded"));
  printf("data           ");
  print_sizes(json_object_get(reply, "data"));
  printf("reloads        %" JSON_INTEGER_FORMAT ", failed %" JSON_INTEGER_FORMAT "\n",
         number(reply, "reloads"), number(reply, "failed_reloads"));
  if (string(reply, "last_error")[0] != '\0')
    printf("last reload    failed: %s\n", string(reply, "last_error"));
  json_array_foreach(json_object_get(reply, "bad_zones"), i, item)
      printf("BAD ZONE       %s: %s: %s\n", string(item, "name"),
             strcmp(string(item, "source"), "copy") == 0 ? "served from its last good copy" : "not available",
             string(item, "why"));
  if (json_is_false(json_object_get(reply, "copies_kept")))
    printf("copies         CANNOT BE KEPT under state, see the log\n");
  printf("tcp            %" JSON_INTEGER_FORMAT " connections\n", number(reply, "tcp_connections"));
  const json_t *log = json_object_get(reply, "query_log");
  if (json_is_object(log))
    printf("query log      %" JSON_INTEGER_FORMAT " lines written, %" JSON_INTEGER_FORMAT " dropped\n",
           number(log, "written"), number(log, "dropped"));
  printf("walls          ");
  print_names(json_object_get(reply, "walls"));
  json_array_foreach(json_object_get(reply, "listeners"), i, item)
  {
    printf("dns listener   %s, views ", string(item, "address"));
    print_names(json_object_get(item, "views"));
  }
}

static void print_zones(const json_t *reply)
{
  size_t i;
  json_t *item;
  printf("%-40s %10s %9s %9s %12s  %s\n", "ZONE", "SERIAL", "NAMES", "RECORDS", "QUERIES", "VIEWS");
  json_array_foreach(json_object_get(reply, "zones"), i, item)
  {
    printf("%-40s %10" JSON_INTEGER_FORMAT " %9" JSON_INTEGER_FORMAT " %9" JSON_INTEGER_FORMAT
           " %12" JSON_INTEGER_FORMAT "  ",
           string(item, "name"), number(item, "serial"), number(item, "names"), number(item, "records"),
           number(item, "queries"));
    print_names(json_object_get(item, "views"));
  }
}

static void print_counts(const char *who, const json_t *item)
{
  printf("%-24s %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT " %9" JSON_INTEGER_FORMAT
         " %9" JSON_INTEGER_FORMAT " %9" JSON_INTEGER_FORMAT " ",
         who, number(item, "udp"), number(item, "tcp"), number(item, "dropped"), number(item, "truncated"),
         number(item, "limited"));
  const char *rcode;
  json_t *count;
  json_object_foreach(json_object_get(item, "rcodes"), rcode, count)
      printf(" %s %" JSON_INTEGER_FORMAT, rcode, json_integer_value(count));
  printf("\n");
}

static void print_stats(const json_t *reply)
{
  size_t i;
  json_t *item;
  printf("%-24s %12s %12s %9s %9s %9s  %s\n", "VIEW", "UDP", "TCP", "DROPPED", "TRUNCATED", "LIMITED",
         "ANSWERS");
  json_array_foreach(json_object_get(reply, "views"), i, item)
  {
    const char *name = json_string_value(json_object_get(item, "view"));
    print_counts(name != NULL ? name : "(no view)", item);
  }
  print_counts("(all)", json_object_get(reply, "all"));
}

static void print_reload(const json_t *reply)
{
  printf("reloaded: ");
  print_sizes(json_object_get(reply, "data"));
}

/* The socket's path, malloc'ed. wrong has what is wrong with the file, if anything: the resolver that runs
 * by it is asked all the same, since it alone can say what it made of it. */
static char *find_socket(const char *config, diag_t *wrong)
{
  settings_t settings = {0};
  if (config == NULL)
    return strdup(commands_default_socket);
  if (settings_load(config, &settings, wrong))
    return control_guess(config, commands_default_socket);
  char *path = strdup(settings.control);
  settings_free(&settings);
  return path;
}

static int run_ask(const command_t *c, const arguments_t *a, diag_t *diag)
{
  const command_row_t *row = &c->served.row;
  json_t *reply = NULL;
  diag_t wrong = {""};
  char *path = a->socket != NULL ? strdup(a->socket) : find_socket(a->config, &wrong);
  json_t *body = json_pack("{s:s}", "cmd", row->name);
  int err = body == NULL || path == NULL ? diag_fail(diag, SMPL_ENOMEM, "out of memory")
                                         : control_call(path, body, row->timeout_ms, &reply, diag);
  if (err == SMPL_ECLOSED && wrong.text[0] != '\0')
    fprintf(stderr, "smpl-resolver: %s\n", wrong.text);
  if (!err && a->json) {
    json_dumpf(reply, stdout, JSON_INDENT(2));
    printf("\n");
  } else if (!err) {
    c->print(reply);
  }
  free(path);
  json_decref(body);
  json_decref(reply);
  return err;
}

/* ---- the options ---- */

enum { OPT_SOCKET = OPTION_LONG, OPT_JSON, OPT_FROM, OPT_LISTENER, OPT_EXPECT, OPT_VERSION };

#define AT(member) .at = offsetof(arguments_t, member)

static const option_row_t own_options[] = {
    {'c', "config", "FILE", AT(config), .help = "the configuration, smpl-resolver.yaml(5)"},
    {OPT_SOCKET, "socket", "PATH", AT(socket),
     .help = "the control socket of a running resolver (default: ./resolver.sock)"},
    {OPT_JSON, "json", NULL, AT(json), .help = "prints the answer as JSON"},
    {OPT_FROM, "from", "ADDR", AT(from)},
    {OPT_LISTENER, "listener", "ADDR:PORT", AT(listener)},
    {OPT_EXPECT, "expect", "FILE", AT(expect)},
    {'h', "help", NULL, AT(help), .help = "prints this"},
    {OPT_VERSION, "version", NULL, AT(version), .help = "prints the version"},
};

const option_set_t option_rows = {OPTION_ROWS(own_options)};

static int run_completion(const command_t *c, const arguments_t *a, diag_t *diag)
{
  const completion_t completion = {.commands = &commands, .options = &option_rows};
  (void)c;
  return completion_print(&completion, a->words[0], stdout, diag);
}

/* ---- the table ---- */

#define ASKED "[-c FILE | --socket PATH] [--json]"

static const command_t rows[] = {
    {{{"check", .options = "-c FILE", .role = COMMANDS_ROLE,
       .help = "reads configuration and zones, and says what each view sees"},
      NULL},
     run_check,
     NULL},
    {{{"status", .options = ASKED, .role = SERVER_ROLE, .timeout_ms = ASK_TIMEOUT_MS,
       .help = "shows process, listeners, data and the last reload"},
      server_answer_status},
     run_ask,
     print_status},
    {{{"reload", .options = ASKED, .role = SERVER_ROLE, .timeout_ms = CONTROL_RELOAD_MS,
       .help = "has configuration and zones read again, as SIGHUP does, and tells the result"},
      server_answer_reload},
     run_ask,
     print_reload},
    {{{"zones", .options = ASKED, .role = SERVER_ROLE, .timeout_ms = ASK_TIMEOUT_MS,
       .help = "lists zones with serial, names, records and views"},
      server_answer_zones},
     run_ask,
     print_zones},
    {{{"stats", .options = ASKED, .role = SERVER_ROLE, .timeout_ms = ASK_TIMEOUT_MS,
       .help = "shows counters by view and answer"},
      server_answer_stats},
     run_ask,
     print_stats},
    {{{"explain", "NAME [TYPE]", 1, 2, .options = "--from ADDR [--listener ADDR:PORT] " ASKED,
       .role = SERVER_ROLE, .timeout_ms = LOOK_TIMEOUT_MS,
       .help = "tells which answer a client gets, why, and what would change it"},
      server_answer_explain},
     inspect_explain,
     NULL},
    {{{"matrix", .options = "[--expect FILE] " ASKED, .role = SERVER_ROLE, .timeout_ms = LOOK_TIMEOUT_MS,
       .help = "shows names by views; --expect compares with what --json wrote, and exits with 1"},
      server_answer_matrix},
     inspect_matrix,
     NULL},
    {{{"completion", "bash|zsh|fish", 1, 1, .role = COMMANDS_ROLE,
       .help = "prints a script that completes commands in your shell", .completes = COMPLETION_SHELLS},
      NULL},
     run_completion,
     NULL},
};

static const char *const roles[] = {[SERVER_ROLE] = "asked", [COMMANDS_ROLE] = "command line"};

const command_set_t commands = {COMMAND_ROWS(rows), .roles = roles, .role_count = COMMANDS_ROLE + 1,
                                .program = "smpl-resolver"};
