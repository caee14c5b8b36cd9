/* SPDX-License-Identifier: Apache-2.0 */
/* smpl-bastion: the broker, and the commands of the people who run it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bastion/broker/account.h"
#include "bastion/audit/audit.h"
#include "bastion/session/blocks.h"
#include "bastion/broker/broker.h"
#include "bastion/cli/client.h"
#include "bastion/policy/config.h"
#include "bastion/policy/explain.h"
#include "bastion/broker/library.h"
#include "common/net/bind.h"
#include "common/process/crash.h"
#include "common/net/control.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };
static const char default_socket[] = "bastion.sock";

enum { WATCH_S = 2, PATH_CAP = 4096 };

static const char usage_text[] =
    "smpl-bastion -c FILE                      run in the foreground\n"
    "smpl-bastion check -c FILE                validate the configuration and the keys it names\n"
    "smpl-bastion explain USER TARGET[:PORT]   the decision and its reason; with -c FILE without a running "
    "bastion\n"
    "smpl-bastion sessions [--watch[=SECONDS]] [--json]\n"
    "                                          live sessions\n"
    "smpl-bastion history [--user U] [--target T] [--since T] [--until T] [--json]\n"
    "                                          sessions and failed logins of the audit; T: 2h, 2026-11-23\n"
    "smpl-bastion audit verify [--head HASH] [FILE...] [--json]\n"
    "                                          check the audit's chain; HASH: one that was kept elsewhere\n"
    "smpl-bastion terminate ID|--user U|--target T[:PORT] [--reason TEXT]\n"
    "                                          end sessions now\n"
    "                                          (no block: they can sign in again)\n"
    "smpl-bastion block USER|FINGERPRINT --reason TEXT\n"
    "                                          end their sessions and keep them out, restarts or not\n"
    "smpl-bastion unblock USER|FINGERPRINT [--reason TEXT]\n"
    "smpl-bastion blocks [--json]              who is blocked, since when, by whom, why\n"
    "smpl-bastion status [--json]              walls, counts, audit\n"
    "smpl-bastion reload                       read the configuration again; live sessions are judged by it\n"
    "\n"
    "  -c, --config FILE    bastion.yaml; control commands find their socket in it\n"
    "      --socket PATH    control socket, without a configuration (default ./bastion.sock)\n"
    "  -v, --verbose        log more\n"
    "  -h, --help           this\n"
    "      --version\n"
    "\n"
    "Exit status: 0; 1 with the reason (a reload that failed has changed nothing); 2 wrong usage; 3 no "
    "bastion runs there.\n";

typedef struct options {
  const char *config;
  bool verbose;
  const char *head;
  client_args_t client;
} options_t;

enum {
  OPT_SOCKET = 256,
  OPT_JSON,
  OPT_USER,
  OPT_SINCE,
  OPT_REASON,
  OPT_TARGET,
  OPT_UNTIL,
  OPT_WATCH,
  OPT_HEAD,
  OPT_VERSION
};

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'},
    {"socket", required_argument, NULL, OPT_SOCKET},
    {"json", no_argument, NULL, OPT_JSON},
    {"user", required_argument, NULL, OPT_USER},
    {"since", required_argument, NULL, OPT_SINCE},
    {"reason", required_argument, NULL, OPT_REASON},
    {"target", required_argument, NULL, OPT_TARGET},
    {"until", required_argument, NULL, OPT_UNTIL},
    {"watch", optional_argument, NULL, OPT_WATCH},
    {"head", required_argument, NULL, OPT_HEAD},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPT_VERSION},
    {NULL, 0, NULL, 0},
};

static int fail_usage(const char *text)
{
  fprintf(stderr, "smpl-bastion: %s (see --help)\n", text);
  return EXIT_USAGE;
}

static int fail(const diag_t *diag)
{
  fprintf(stderr, "smpl-bastion: %s\n", diag->text);
  return EXIT_FAILED;
}

/* ---- commands without a running bastion ---- */

static void print_host_keys(const config_t *c)
{
  bool other = false;
  for (size_t i = 0; i < hostkeys_count(c->keys); i++) {
    const hostkey_t *key = hostkeys_get(c->keys, i);
    printf("  host key   %s %s\n", hostkey_kind(key), hostkey_fingerprint(key));
    other = other || strcmp(hostkey_kind(key), "ssh-ed25519") != 0;
  }
  printf("  algorithms %s\n", config_algorithms(c));
  if (c->algorithms == MSG_ALGORITHMS_COMPATIBLE && !other)
    puts("  note       clients that know no ed25519 need a host key of kind ecdsa or rsa too (ssh-keygen -t "
         "ecdsa)");
}

static void print_checked(const config_t *c)
{
  char place[1024];
  const user_conf_t *users = c->users.items;
  printf("%s: ok\n", conf_path_of(c->conf));
  print_host_keys(c);
  size_t keys = 0, uncovered = 0;
  for (size_t i = 0; i < c->users.count; i++) {
    grant_subject_t subject = config_subject(&users[i]);
    bool covered = false;
    for (size_t g = 0; g < config_grant_count(c) && !covered; g++)
      covered = grant_covers_subject(&c->grants[g], &subject);
    keys += users[i].keys.count;
    uncovered += !covered;
  }
  printf("  users      %zu with %zu keys\n", c->users.count, keys);
  for (size_t g = 0; g < config_grant_count(c); g++) {
    const grant_conf_t *conf = &((const grant_conf_t *)c->grant_confs.items)[g];
    const target_conf_t *targets = conf->targets.items;
    size_t reached = 0;
    for (size_t i = 0; i < c->users.count; i++) {
      grant_subject_t subject = config_subject(&users[i]);
      reached += grant_covers_subject(&c->grants[g], &subject);
    }
    printf("  grant %zu    %s%s for %zu users (%s)\n", g + 1, targets[0].text,
           conf->targets.count > 1 ? " and others" : "", reached,
           config_grant_place(c, g, place, sizeof place));
  }
  if (uncovered > 0)
    printf("  note       %zu users are covered by no grant and can reach nothing\n", uncovered);
  const endpoint_t *listen = c->listen.items;
  for (size_t i = 0; i < c->listen.count; i++)
    if (!bind_is_here(&listen[i].ip))
      printf("  warning    listen: %s: this machine has no such address now\n",
             endpoint_format(&listen[i], place));
  if (config_grant_count(c) == 0)
    puts("  no grants: nobody can reach anything");
}

/* All of them: what `check` is for. */
static void print_faults(const faults_t *f)
{
  for (size_t i = 0; i < f->count; i++)
    fprintf(stderr, "smpl-bastion: %s%s\n", f->list[i].level == FAULT_WARNING ? "warning: " : "",
            f->list[i].text);
  if (f->errors + f->warnings > f->count)
    fprintf(stderr, "smpl-bastion: %zu more\n", f->errors + f->warnings - f->count);
}

/* As the account that will serve, where this process may become it. */
static int load_to_check(const char *path, config_t **out, bool *as_served, diag_t *diag)
{
  config_t *first;
  int err = config_load_paths(path, &first, diag);
  if (err)
    return err;
  err = account_check(first, as_served, diag);
  if (!err && *as_served)
    err = account_become(first, diag);
  config_free(first);
  return err ? err : config_load(path, out, diag);
}

static int run_check(const options_t *o)
{
  diag_t diag = {""};
  config_t *c = NULL;
  bool as_served;
  if (o->config == NULL)
    return fail_usage("check needs -c FILE");
  char worker[PATH_CAP], library[LIBSSH_VERSION_MAX] = "";
  int err = broker_find_worker(worker, sizeof worker, &diag);
  if (!err)
    library_ask(worker, library);
  if (!err)
    err = load_to_check(o->config, &c, &as_served, &diag);
  if (!err)
    err = library_check(library, &c->libssh, o->config, &diag);
  if (!err && as_served)
    err = account_can_write(c, &diag);
  size_t blocked = 0;
  if (!err && c->state != NULL && (as_served || c->user == NULL))
    err = blocks_check(c->state, &blocked, &diag);
  bool absent = !err && c->faults.errors > 0;
  if (!err)
    print_faults(&c->faults);
  if (!err && !absent) {
    print_checked(c);
    if (blocked > 0)
      printf("  blocked    %zu users and keys\n", blocked);
    if (c->user != NULL)
      printf(as_served ? "  user       %s, who can read and write what it needs\n"
                       : "  note       only root can tell whether user %s can read and write what it needs\n",
             c->user);
  }
  config_free(c);
  return err ? fail(&diag) : absent ? EXIT_FAILED : EXIT_FINE;
}

static int explain_offline(const options_t *o)
{
  diag_t diag = {""};
  config_t *c;
  char host[MSG_HOST_MAX];
  uint16_t port;
  if (explain_split(o->client.target, host, sizeof host, &port, &diag) || config_load(o->config, &c, &diag))
    return fail(&diag);
  json_t *d = explain_decision(c, o->client.user, host, port);
  config_free(c);
  int status = EXIT_FAILED;
  if (!json_is_true(json_object_get(d, "ok"))) {
    fprintf(stderr, "smpl-bastion: %s\n", json_string_value(json_object_get(d, "error")));
  } else {
    status = json_is_true(json_object_get(d, "allowed")) ? EXIT_FINE : EXIT_FAILED;
    if (o->client.json) {
      json_dumpf(d, stdout, JSON_INDENT(2));
      putchar('\n');
    } else {
      explain_print(d);
    }
  }
  json_decref(d);
  return status;
}

static int run_explain(options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  bool allowed = false;
  if (argc != 2)
    return fail_usage("explain needs a user and a target");
  o->client.user = argv[0];
  o->client.target = argv[1];
  if (o->client.socket == NULL && o->config != NULL)
    return explain_offline(o);
  if (o->client.socket == NULL)
    o->client.socket = default_socket;
  int err = client_explain(&o->client, &allowed, &diag);
  if (err) {
    fail(&diag);
    return control_exit(err);
  }
  return allowed ? EXIT_FINE : EXIT_FAILED;
}

/* ---- commands of a running one ---- */

typedef enum argument { ARGUMENT_NONE, ARGUMENT_SESSION, ARGUMENT_WHO } argument_t;

typedef struct command {
  const char *name;
  int (*run)(const client_args_t *args, diag_t *diag);
  argument_t argument;
} command_t;

static const command_t commands[] = {
    {"sessions", client_sessions, ARGUMENT_NONE},      {"status", client_status, ARGUMENT_NONE},
    {"terminate", client_terminate, ARGUMENT_SESSION}, {"reload", client_reload, ARGUMENT_NONE},
    {"history", client_history, ARGUMENT_NONE},        {"block", client_block, ARGUMENT_WHO},
    {"unblock", client_unblock, ARGUMENT_WHO},         {"blocks", client_blocks, ARGUMENT_NONE},
};

/* -1: go on; else the exit status. */
static int take_argument(const command_t *command, options_t *o, int argc, char **argv)
{
  if (argc > (command->argument != ARGUMENT_NONE ? 1 : 0))
    return fail_usage("too many arguments");
  if (command->argument == ARGUMENT_WHO) {
    o->client.who = argc == 1 ? argv[0] : NULL;
    if (o->client.who == NULL)
      return fail_usage("whom: a user's name, or a key's fingerprint (SHA256:...)");
    if (command->run == client_block && o->client.reason == NULL)
      return fail_usage("block needs --reason TEXT");
  }
  if (command->argument == ARGUMENT_SESSION) {
    o->client.id = argc == 1 ? argv[0] : NULL;
    if ((o->client.id != NULL) + (o->client.user != NULL) + (o->client.target != NULL) != 1)
      return fail_usage("terminate needs one of a session's id, --user U and --target T");
  }
  return -1;
}

/* The running bastion is not to be out of reach because of a file that it has not taken: it is asked where
 * the file seems to say, and tells itself what is wrong. Only where nobody answers is the file's fault
 * told here. */
static int ask_by_guess(const command_t *command, options_t *o, const diag_t *wrong)
{
  diag_t diag = {""};
  char *path = control_guess(o->config, default_socket);
  if (path == NULL || command->run == client_history) { /* which reads the audit that the file names */
    free(path);
    return fail(wrong);
  }
  o->client.socket = path;
  int err = command->run(&o->client, &diag);
  free(path);
  if (err == SMPL_ECLOSED)
    fail(wrong);
  if (err)
    fail(&diag);
  return control_exit(err);
}

static int run_client(const command_t *command, options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  config_t *c = NULL;
  int status = take_argument(command, o, argc, argv);
  if (status >= 0)
    return status;
  bool broken = o->config != NULL && config_load_paths(o->config, &c, &diag) != SMPL_OK;
  if (broken && o->client.socket == NULL)
    return ask_by_guess(command, o, &diag);
  if (broken && command->run == client_history)
    return fail(&diag);
  diag.text[0] = '\0';
  if (o->client.socket == NULL)
    o->client.socket = c != NULL ? c->control : default_socket;
  o->client.audit = c != NULL ? c->audit : "audit.jsonl";
  int err = command->run(&o->client, &diag);
  config_free(c);
  if (err)
    fail(&diag);
  return control_exit(err);
}

static bool is_hash(const char *text)
{
  return strlen(text) == AUDIT_HASH_TEXT - 1 && strspn(text, "0123456789abcdefABCDEF") == AUDIT_HASH_TEXT - 1;
}

static int run_audit(options_t *o, int argc, char **argv)
{
  diag_t diag = {""};
  config_t *c = NULL;
  if (argc < 1 || strcmp(argv[0], "verify") != 0)
    return fail_usage("audit verify is all that audit can do");
  if (o->head != NULL && !is_hash(o->head))
    return fail_usage("--head takes a SHA-256 in hex, such as status --json and the metrics tell it");
  if (o->config != NULL && argc == 1 && config_load_paths(o->config, &c, &diag))
    return fail(&diag);
  o->client.audit = c != NULL ? c->audit : "audit.jsonl";
  int err = client_verify(&o->client, o->head, argv + 1, argc - 1, &diag);
  config_free(c);
  return err ? fail(&diag) : EXIT_FINE;
}

/* ---- options ---- */

static int take_watch(options_t *o, const char *text)
{
  uint64_t seconds = WATCH_S;
  if (text != NULL && (text_parse_u64(text, strlen(text), 3600, &seconds) || seconds == 0))
    return fail_usage("--watch takes seconds, from 1 to 3600");
  o->client.watch_s = (unsigned)seconds;
  return -1;
}

/* -1: go on; else the exit status. */
static int take_option(options_t *o, int option)
{
  switch (option) {
  case 'c':
    o->config = optarg;
    return -1;
  case 'v':
    o->verbose = true;
    return -1;
  case OPT_SOCKET:
    o->client.socket = optarg;
    return -1;
  case OPT_JSON:
    o->client.json = true;
    return -1;
  case OPT_USER:
    o->client.user = optarg;
    return -1;
  case OPT_SINCE:
    o->client.since = optarg;
    return -1;
  case OPT_TARGET:
    o->client.target = optarg;
    return -1;
  case OPT_UNTIL:
    o->client.until = optarg;
    return -1;
  case OPT_HEAD:
    o->head = optarg;
    return -1;
  case OPT_WATCH:
    return take_watch(o, optarg);
  case OPT_REASON:
    o->client.reason = optarg;
    return -1;
  case 'h':
    fputs(usage_text, stdout);
    return EXIT_FINE;
  case OPT_VERSION:
    puts("smpl-bastion " SMPL_VERSION);
    return EXIT_FINE;
  default:
    return EXIT_USAGE; /* said already */
  }
}

static void say_wrong_option(int option, const char *word)
{
  fprintf(stderr, "smpl-bastion: %s %s; try: smpl-bastion --help\n",
          option == ':' ? "a value is missing after" : "unknown option", word);
}

static int run_command(options_t *o, int argc, char **argv)
{
  if (strcmp(argv[0], "check") == 0)
    return argc == 1 ? run_check(o) : fail_usage("check takes no argument but -c FILE");
  if (strcmp(argv[0], "explain") == 0)
    return run_explain(o, argc - 1, argv + 1);
  if (strcmp(argv[0], "audit") == 0)
    return run_audit(o, argc - 1, argv + 1);
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    if (strcmp(argv[0], commands[i].name) == 0)
      return run_client(&commands[i], o, argc - 1, argv + 1);
  fprintf(stderr, "smpl-bastion: unknown command '%s' (see --help)\n", argv[0]);
  return EXIT_USAGE;
}

int main(int argc, char **argv)
{
  options_t o = {0};
  int option;
  if (harden_process()) {
    perror("smpl-bastion");
    return EXIT_FAILED;
  }
  log_init("smpl-bastion", LOG_LEVEL_INFO);
  crash_catch("smpl-bastion");
  opterr = 0; /* one line, and ours */
  while ((option = getopt_long(argc, argv, ":c:vh", long_options, NULL)) != -1) {
    if (option == ':' || option == '?')
      say_wrong_option(option, argv[optind - 1]);
    int status = take_option(&o, option);
    if (status >= 0)
      return status;
  }
  if (optind < argc)
    return run_command(&o, argc - optind, argv + optind);
  if (o.config == NULL)
    return fail_usage("a configuration is needed: smpl-bastion -c FILE");
  if (o.verbose)
    log_init("smpl-bastion", LOG_LEVEL_DEBUG);
  return broker_run(o.config);
}
