/* SPDX-License-Identifier: Apache-2.0 */
#include "app/program/app.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/program/client.h"
#include "app/program/openapi.h"
#include "app/program/run.h"
#include "app/program/settings.h"
#include "app/program/tools.h"
#include "common/net/bind.h"
#include "common/process/crash.h"
#include "common/base/error.h"
#include "common/process/harden.h"
#include "common/base/log.h"
#include "common/base/text.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

static const char usage[] =
    "usage: smpl-app -c FILE                     run the service that FILE configures\n"
    "       smpl-app check -c FILE               check FILE and say what follows from it\n"
    "       smpl-app reload -c FILE              have the running service read FILE anew, wait, say the "
    "result\n"
    "       smpl-app status -c FILE              what the running service says of itself and of its last "
    "reload\n"
    "       smpl-app openapi -c FILE             print the service's OpenAPI document\n"
    "       smpl-app openapi --service SERVICE   the same without a configuration\n"
    "       smpl-app internal-key                print a new internal key, and its line for "
    "internal_keys\n" TOOLS_USAGE "       smpl-app -h | --help | --version\n"
    "\n"
    "reload and status find the service by `control:` in FILE, or by --socket PATH; --json prints its answer "
    "as it is.\n"
    "Exit status: 0; 1 with the reason; 2 wrong usage; 3 (reload, status) no service runs there.\n";

typedef enum command {
  COMMAND_RUN,
  COMMAND_CHECK,
  COMMAND_OPENAPI,
  COMMAND_INTERNAL_KEY,
  COMMAND_RELOAD,
  COMMAND_STATUS,
  COMMAND_HELP,
  COMMAND_VERSION
} command_t;

typedef struct arguments {
  command_t command;
  const char *file;
  const char *service;
  const char *socket;
  bool json;
} arguments_t;

static const struct word {
  const char *word;
  command_t command;
} words[] = {
    {"check", COMMAND_CHECK},   {"openapi", COMMAND_OPENAPI}, {"internal-key", COMMAND_INTERNAL_KEY},
    {"reload", COMMAND_RELOAD}, {"status", COMMAND_STATUS},
};

/* False: there is no such command. */
static bool find_command(const char *word, command_t *out)
{
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (strcmp(words[i].word, word) != 0)
      continue;
    *out = words[i].command;
    return true;
  }
  return false;
}

static int usage_error(const char *what, const char *word)
{
  fprintf(stderr, "smpl-app: %s%s; try: smpl-app --help\n", what, word);
  return STATUS_USAGE;
}

/* The value of an option, from the next argument; NULL if there is none. */
static const char *option_value(int argc, char **argv, int *i)
{
  if (*i + 1 >= argc)
    return NULL;
  *i += 1;
  return argv[*i];
}

/* Where an option's value goes; NULL: it is none that has one. */
static const char **value_of(arguments_t *out, const char *option)
{
  return strcmp(option, "-c") == 0          ? &out->file
         : strcmp(option, "--service") == 0 ? &out->service
         : strcmp(option, "--socket") == 0  ? &out->socket
                                            : NULL;
}

/* What goes with what. */
static int check_arguments(const arguments_t *a)
{
  bool asks = a->command == COMMAND_RELOAD || a->command == COMMAND_STATUS;
  if (a->service != NULL && a->command != COMMAND_OPENAPI)
    return usage_error("--service goes with openapi only", "");
  if ((a->socket != NULL || a->json) && !asks)
    return usage_error("--socket and --json go with reload and status only", "");
  if (a->command == COMMAND_INTERNAL_KEY)
    return a->file != NULL ? usage_error("internal-key has no options", "") : STATUS_OK;
  bool named = (a->command == COMMAND_OPENAPI && a->service != NULL) || (asks && a->socket != NULL);
  return a->file == NULL && !named ? usage_error("a configuration file is missing: -c FILE", "") : STATUS_OK;
}

static int read_arguments(int argc, char **argv, arguments_t *out)
{
  bool command_given = false;
  for (int i = 1; i < argc; i++) {
    const char **value = value_of(out, argv[i]);
    if (value != NULL) {
      *value = option_value(argc, argv, &i);
      if (*value == NULL)
        return usage_error("a value is missing after ", argv[i]);
    } else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      out->command = COMMAND_HELP;
      return STATUS_OK;
    } else if (strcmp(argv[i], "--version") == 0) {
      out->command = COMMAND_VERSION;
      return STATUS_OK;
    } else if (strcmp(argv[i], "--json") == 0) {
      out->json = true;
    } else if (!command_given && find_command(argv[i], &out->command)) {
      command_given = true;
    } else {
      return usage_error(argv[i][0] == '-' ? "unknown option " : "unknown command ", argv[i]);
    }
  }
  return check_arguments(out);
}

static int fail(const diag_t *diag)
{
  fprintf(stderr, "smpl-app: %s\n", diag->text);
  return STATUS_FAILED;
}

static const service_t *service_named(const service_t *const *services, const char *name)
{
  for (size_t i = 0; services[i] != NULL; i++)
    if (strcmp(services[i]->name, name) == 0)
      return services[i];
  return NULL;
}

static int print_openapi(const service_t *service)
{
  diag_t diag = {.text = ""};
  json_t *document = NULL;
  route_source_t sources[SERVICE_SOURCES];
  built_in_sources(NULL, service, NULL, sources);
  if (openapi_document(service, sources, SERVICE_SOURCES, &document, &diag))
    return fail(&diag);
  int err = json_dumpf(document, stdout, JSON_INDENT(2));
  json_decref(document);
  putchar('\n');
  if (err != 0 || fflush(stdout) != 0) {
    fprintf(stderr, "smpl-app: the document could not be written\n");
    return STATUS_FAILED;
  }
  return STATUS_OK;
}

static void print_rules(const listener_conf_t *listener)
{
  for (size_t i = 0; i < listener->admit.rule_count; i++)
    printf("%s%s", i > 0 ? ", " : "", listener->admit.rules[i].text);
}

static void print_listener(const listener_conf_t *listener)
{
  char address[ENDPOINT_TEXT_MAX], net[IP_NET_TEXT_MAX];
  size_t count = router_count(listener->admit.router);
  printf("  http listener %s: %s, %s, rules ", listener->name, endpoint_format(&listener->address, address),
         listener->admit.internal ? "internal" : "public");
  print_rules(listener);
  printf(": %zu route%s\n", count, count == 1 ? "" : "s");
  if (!bind_is_here(&listener->address.ip))
    printf("    warning: this machine has no such address now\n");
  if (listener->tls != NULL)
    printf("    TLS: certificate of %s, good until %s%s\n", tls_subject(listener->tls),
           tls_until(listener->tls), tls_days_left(listener->tls) < 0 ? "; warning: it has expired" : "");
  if (listener->client_count > 0) {
    printf("    clients:");
    for (size_t i = 0; i < listener->client_count; i++)
      printf(" %s", ip_net_format(&listener->clients[i], net));
    printf("\n");
  }
  if (listener->admit.internal) {
    printf("    answers for Host:");
    for (size_t i = 0; i < listener->admit.host_count; i++)
      printf(" %s", listener->admit.hosts[i]);
    printf(" %s localhost *.localhost 127.0.0.1 [::1]\n", listener->admit.own_address);
  }
  if (count == 0)
    printf("    warning: its rules admit no route; every request is answered with 404\n");
}

static void print_balancers(const settings_t *settings)
{
  const ip_net_t *all = settings->balancers.items;
  char net[IP_NET_TEXT_MAX];
  if (settings->balancers.count == 0)
    return;
  printf("  balancers, whose X-Forwarded-For is believed:");
  for (size_t i = 0; i < settings->balancers.count; i++)
    printf(" %s", ip_net_format(&all[i], net));
  printf("\n");
}

static void print_internal_keys(const settings_t *settings)
{
  for (size_t i = 0; i < settings->internal_key_count; i++) {
    const internal_key_t *key = &settings->internal_keys[i];
    printf("  internal key of %s:", key->name);
    for (int operation = OPERATION_FIRST; operation < OPERATION_COUNT; operation++)
      if ((key->operations >> operation & 1) != 0)
        printf(" %s", operation_name((operation_t)operation));
    printf("\n");
  }
}

static void print_warning(void *ctx, const char *text)
{
  (void)ctx;
  printf("  warning: %s\n", text);
}

static bool never(void *ctx)
{
  (void)ctx;
  return false;
}

/* What the database itself has to tell. */
static void print_notices(const settings_t *settings)
{
  tool_call_t call = {.verb = TOOL_NOTICES,
                      .database = settings->database,
                      .revocations = settings->revocations,
                      .say = print_warning,
                      .stop = never};
  if (settings->service->tool != NULL)
    settings->service->tool(&call, NULL);
}

static void print_rate(const settings_t *settings)
{
  if (settings->rate_requests > 0)
    printf("  rate limit: %llu requests a second with one API key, %llu at once\n",
           (unsigned long long)settings->rate_requests, (unsigned long long)settings->rate_burst);
  else
    printf("  rate limit: none\n");
}

static int check(const char *path, const service_t *const *services)
{
  diag_t diag = {.text = ""};
  settings_t settings;
  listener_conf_t *listeners = NULL;
  route_source_t sources[SERVICE_SOURCES];
  if (settings_load(path, services, &settings, &diag))
    return fail(&diag);
  built_in_sources(NULL, settings.service, NULL, sources);
  int err = settings_listeners(&settings, sources, SERVICE_SOURCES, &listeners, &diag);
  if (!err)
    err = settings_check_database(&settings, &diag);
  if (!err)
    err = settings_check_control(&settings, &diag);
  if (!err) {
    printf("%s: ok, %s (%s service)\n", path, settings.service->title, settings.service->name);
    for (size_t i = 0; i < settings.listeners.count; i++)
      print_listener(&listeners[i]);
    print_balancers(&settings);
    print_rate(&settings);
    print_internal_keys(&settings);
    settings_each_warning(&settings, print_warning, NULL);
    print_notices(&settings);
  }
  settings_listeners_free(listeners, settings.listeners.count);
  settings_free(&settings);
  return err ? fail(&diag) : STATUS_OK;
}

static int openapi(const arguments_t *arguments, const service_t *const *services)
{
  diag_t diag = {.text = ""};
  if (arguments->service != NULL) {
    const service_t *service = service_named(services, arguments->service);
    if (service != NULL)
      return print_openapi(service);
    fprintf(stderr, "smpl-app: no service '%s'; there is:", arguments->service);
    for (size_t i = 0; services[i] != NULL; i++)
      fprintf(stderr, " %s", services[i]->name);
    fprintf(stderr, "\n");
    return STATUS_FAILED;
  }
  settings_t settings;
  if (settings_load(arguments->file, services, &settings, &diag))
    return fail(&diag);
  int status = print_openapi(settings.service);
  settings_free(&settings);
  return status;
}

/* The key alone on standard output, so that it can go to a file; the line that accepts it beside it. */
static int make_internal_key(void)
{
  char key[KEY_TEXT_MAX];
  char hex[2 * KEY_HASH_LEN + 1];
  uint8_t hash[KEY_HASH_LEN];
  if (key_generate_internal(key) || key_hash(key, hash)) {
    fprintf(stderr, "smpl-app: no random numbers\n");
    return STATUS_FAILED;
  }
  text_hex(hex, hash, sizeof hash);
  bool written = puts(key) >= 0 && fflush(stdout) == 0;
  explicit_bzero(key, sizeof key);
  fprintf(stderr,
          "accepted by: internal_keys: [{name: NAME, sha256: \"%s\", operations: [provision]}]\n"
          "sent by: internal_key_file: FILE, which holds the key and has mode 0600\n",
          hex);
  return written ? STATUS_OK : STATUS_FAILED;
}

int app_main(int argc, char **argv, const service_t *const *services)
{
  arguments_t arguments = {.command = COMMAND_RUN};
  if (harden_process()) {
    fprintf(stderr, "smpl-app: core dumps cannot be switched off\n");
    return STATUS_FAILED;
  }
  log_init("smpl-app", LOG_LEVEL_INFO);
  crash_catch("smpl-app");
  if (tools_named(argc, argv))
    return tools_main(argc, argv, services);
  int status = read_arguments(argc, argv, &arguments);
  if (status != STATUS_OK)
    return status;
  switch (arguments.command) {
  case COMMAND_HELP:
    fputs(usage, stdout);
    return STATUS_OK;
  case COMMAND_VERSION:
    printf("smpl-app %s\n", SMPL_VERSION);
    return STATUS_OK;
  case COMMAND_CHECK:
    return check(arguments.file, services);
  case COMMAND_INTERNAL_KEY:
    return make_internal_key();
  case COMMAND_RELOAD:
  case COMMAND_STATUS:
    return client_ask(arguments.command == COMMAND_RELOAD ? "reload" : "status", arguments.file,
                      arguments.socket, services, arguments.json);
  case COMMAND_OPENAPI:
    return openapi(&arguments, services);
  default:
    return run(arguments.file, services);
  }
}
