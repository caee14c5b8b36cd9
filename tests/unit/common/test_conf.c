/* SPDX-License-Identifier: Apache-2.0 */
/* common/conf/conf.h and common/process/file.h: every mistake is one error that names its place. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/conf/conf.h"
#include "common/base/error.h"
#include "common/process/file.h"
#include "common/base/ip.h"

typedef struct view {
  const char *name;
  conf_list_t clients;
} view_t;

typedef struct limits {
  uint64_t grace;
  uint64_t channels;
} limits_t;

typedef struct example {
  conf_list_t views;
  limits_t limits;
  const char *control;
  bool loud;
  endpoint_t listen;
  ip_t hidden;
  conf_list_t names;
} example_t;

static const conf_field_t view_fields[] = {
    {"name", CONF_ONE, offsetof(view_t, name), .scalar = &conf_string, .required = true},
    {"clients", CONF_MANY, offsetof(view_t, clients), .scalar = &conf_ip_net, .required = true},
};
static const conf_map_t view_map = {"a view", sizeof(view_t), view_fields, COUNT_OF(view_fields), NULL};

static const conf_field_t limits_fields[] = {
    {"grace", CONF_ONE, offsetof(limits_t, grace), .scalar = &conf_duration, .min = 1000, .max = 60000},
    {"channels", CONF_ONE, offsetof(limits_t, channels), .scalar = &conf_uint, .min = 1, .max = 256},
};

static void limits_defaults(void *out)
{
  limits_t *l = out;
  l->grace = 30000;
  l->channels = 64;
}

static const conf_map_t limits_map = {"limits", sizeof(limits_t), limits_fields, COUNT_OF(limits_fields),
                                      limits_defaults};

static const conf_field_t example_fields[] = {
    {"views", CONF_MAPS, offsetof(example_t, views), .map = &view_map, .required = true, .most = 3},
    {"limits", CONF_MAP, offsetof(example_t, limits), .map = &limits_map},
    {"control", CONF_ONE, offsetof(example_t, control), .scalar = &conf_path},
    {"loud", CONF_ONE, offsetof(example_t, loud), .scalar = &conf_bool},
    {"listen", CONF_ONE, offsetof(example_t, listen), .scalar = &conf_endpoint},
    {"hidden", CONF_ONE, offsetof(example_t, hidden), .scalar = &conf_ip, .is_private = true},
    {"names", CONF_ONE_OR_MANY, offsetof(example_t, names), .scalar = &conf_string, .allow_empty = true},
};
static const conf_map_t example_map = {"the configuration", sizeof(example_t), example_fields,
                                       COUNT_OF(example_fields), NULL};

static char folder[] = "/tmp/smpl-conf-XXXXXX";
static char path[sizeof folder + 8];

static void write_file(const char *text, size_t len)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, len), (ssize_t)len);
  close(fd);
}

/* Loads text; on failure *diag has the message without the path. */
static int load(const char *text, example_t *out, conf_t **conf, char *message)
{
  diag_t diag = {{0}};
  write_file(text, strlen(text));
  int err = conf_load(path, &example_map, out, conf, &diag);
  message[0] = '\0';
  if (err) {
    assert_null(*conf);
    assert_memory_equal(diag.text, path, strlen(path));
    snprintf(message, DIAG_TEXT_MAX, "%s", diag.text + strlen(path) + 1);
    assert_null(strchr(message, '\n'));
  }
  return err;
}

static void a_good_file_is_decoded_with_defaults_and_places(void **state)
{
  (void)state;
  example_t e;
  conf_t *conf = NULL;
  char message[DIAG_TEXT_MAX], place[DIAG_TEXT_MAX];
  assert_int_equal(load("# comment\n"
                        "views:\n"
                        "  - {name: vpc, clients: [10.0.0.0/8, \"fd00::/8\"]}\n"
                        "  - name: world\n"
                        "    clients: [0.0.0.0/0]\n"
                        "limits: {grace: 20s}\n"
                        "control: x.sock\n"
                        "loud: true\n"
                        "listen: \"[::1]:53\"\n"
                        "names: one\n",
                        &e, &conf, message),
                   SMPL_OK);
  const view_t *views = e.views.items;
  assert_int_equal(e.views.count, 2);
  assert_string_equal(views[0].name, "vpc");
  assert_int_equal(views[0].clients.count, 2);
  assert_string_equal(views[1].name, "world");
  assert_true(e.limits.grace == 20000 && e.limits.channels == 64);
  char beside[sizeof folder + 8];
  snprintf(beside, sizeof beside, "%s/x.sock", folder);
  assert_string_equal(e.control, beside);
  assert_true(e.loud);
  assert_int_equal(e.listen.port, 53);
  assert_int_equal(e.names.count, 1);
  snprintf(message, sizeof message, "%s:4:11", path);
  assert_string_equal(conf_place(conf, &views[1].name, place, sizeof place), message);
  snprintf(message, sizeof message, "%s:3:40", path);
  const ip_net_t *nets = views[0].clients.items;
  assert_string_equal(conf_place(conf, &nets[1], place, sizeof place), message);
  assert_true(conf_given(conf, &e.limits.grace));
  assert_false(conf_given(conf, &e.limits.channels));
  assert_true(conf_given_map(conf, &e.limits));
  diag_t diag = {{0}};
  assert_int_equal(conf_fail(conf, &diag, &views[1], "no %s", "good"), SMPL_EINVAL);
  assert_non_null(strstr(diag.text, ":4:11: no good"));
  conf_free(conf);
}

/* Whoever takes out the last line of a list leaves its key behind. */
static void a_key_with_nothing_behind_it_is_an_empty_list_where_one_may_be_empty(void **state)
{
  (void)state;
  static const char *const nothing[] = {"", " # - one", "\n  # - one"};
  for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
    char text[200], message[DIAG_TEXT_MAX];
    example_t e;
    conf_t *conf = NULL;
    snprintf(text, sizeof text, "views: [{name: a, clients: [10.0.0.0/8]}]\nnames:%s\n", nothing[i]);
    assert_int_equal(load(text, &e, &conf, message), SMPL_OK);
    assert_int_equal(e.names.count, 0);
    assert_true(conf_given(conf, &e.names));
    conf_free(conf);
    snprintf(text, sizeof text, "views:%s\n", nothing[i]);
    assert_int_equal(load(text, &e, &conf, message), SMPL_EINVAL);
    assert_non_null(strstr(message, "views: expected a list of mappings, got nothing"));
  }
}

static void a_file_without_a_word_is_fine_where_no_key_has_to_be_there(void **state)
{
  (void)state;
  static const char *const texts[] = {"", "\n\n", "# all of it is commented out\n#views: []\n", "---\n",
                                      "{}\n"};
  static const conf_field_t fields[] = {{"loud", CONF_ONE, 0, .scalar = &conf_bool}};
  static const conf_map_t map = {"the settings", sizeof(bool), fields, COUNT_OF(fields), NULL};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    bool loud = true;
    conf_t *conf = NULL;
    diag_t diag = {""};
    if (conf_parse("settings.yaml", texts[i], strlen(texts[i]), &map, &loud, &conf, &diag) != SMPL_OK)
      fail_msg("'%s': %s", texts[i], diag.text);
    assert_false(loud);
    assert_false(conf_given(conf, &loud));
    conf_free(conf);
  }
}

static void every_mistake_names_its_place(void **state)
{
  (void)state;
  static const struct {
    const char *text, *message;
  } cases[] = {
      {"", "the file is empty"},
      {"# nothing\n", "the file is empty"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nfoo: 1\n",
       "2:1: unknown key 'foo' in the configuration; known keys: views, limits, control, loud, listen, "
       "hidden, names"},
      {"views:\n  - {name: a}\n", "2:6: a view: the key 'clients' is missing"},
      {"loud: true\n", "1:1: the configuration: the key 'views' is missing"},
      {"views: [{name: a, clients: [10.0.0.1/8]}]\n", "1:29: clients: expected a network such as 10.0.0.0/8 "
                                                      "or fd00::/8, without host bits, got '10.0.0.1/8'"},
      {"views: [{name: a, clients: []}]\n", "1:19: clients: the list is empty"},
      {"views: [{name: a, clients: 10.0.0.0/8}]\n",
       "1:19: clients: expected a list of a network such as 10.0.0.0/8 or fd00::/8, without host bits, got a "
       "single value"},
      {"views: [{name: [x], clients: [10.0.0.0/8]}]\n", "1:17: name: expected text, got a list"},
      {"views: [{name: , clients: [10.0.0.0/8]}]\n", "1:10: name: expected text, got nothing"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nloud: yes\n",
       "2:7: loud: expected true or false, got 'yes'"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nhidden: secret\n",
       "2:9: hidden: expected an IP address, got something else"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nhidden: \"sec\\tret\"\n",
       "2:10: hidden: a control character in the value"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nlimits: {grace: 61s}\n",
       "2:17: grace: must be from 1s to 1m"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nlimits: {channels: 0}\n",
       "2:20: channels: must be from 1 to 256"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nlimits: {channels: -1}\n",
       "2:20: channels: expected a whole number, got '-1'"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\nlimits: 5\n",
       "2:1: expected the keys of limits, got a single value"},
      {"views: [{name: &x a, clients: [10.0.0.0/8]}]\n", "1:19: anchors (&name) are not supported"},
      {"views: [{name: *x, clients: [10.0.0.0/8]}]\n", "1:17: aliases (*name) are not supported"},
      {"views: [{name: !!str a, clients: [10.0.0.0/8]}]\n", "1:22: tags (!name) are not supported"},
      {"views: [{name: a, name: b, clients: [10.0.0.0/8]}]\n", "1:19: duplicate key"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\n---\nviews: []\n",
       "3:1: a second document (---) in the file"},
      {"%YAML 1.2\n---\nviews: []\n", "1:1: expected no directive (a line that begins with %)"},
      {"\xef\xbb\xbf%YAML 1.2\n---\nviews: []\n", "1:1: expected no directive (a line that begins with %)"},
      {"views:\r\n%  - {name: a, \x7f}\n",
       "2:1: expected no directive (a line that begins with %)"},          /* libfyaml alone does not end */
      {"views: [{name: a, clients: [10.0.0.0/8]}]\n# \xff\nsurprise: 1\n", /* libfyaml alone ends here,
                                                                              content */
       "2:3: a byte (0xff) that is no text: the file must be UTF-8 without control characters"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\r\n# gr\xc3\xbc\xc3\x9f\x65 \xc3(\r\nsurprise: 1\n",
       "2:9: a byte (0xc3) that is no text: the file must be UTF-8 without control characters"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\n# \x1b[31m\n",
       "2:3: a byte (0x1b) that is no text: the file must be UTF-8 without control characters"},
      {"views: [{name: a, clients: [10.0.0.0/8]}]\n# \xe2\x80\xae\n",
       "2:3: a byte (0xe2) that is no text: the file must be UTF-8 without control characters"},
      {"- a\n", "1:3: expected the keys of the configuration, got a list"},
      {"views: [{name: a, clients: [10.0.0.0/8]}, {name: b, clients: [::/0]}, {name: c, clients: [::/0]}, "
       "{name: d, clients: [::/0]}]\n",
       "1:1: views: 4 items, more than the limit of 3"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    example_t e;
    conf_t *conf = NULL;
    char message[DIAG_TEXT_MAX];
    assert_int_not_equal(load(cases[i].text, &e, &conf, message), SMPL_OK);
    if (strcmp(cases[i].message, message + (message[0] == ' ')) != 0)
      fail_msg("for <<%s>>\n expected: %s\n got:      %s", cases[i].text, cases[i].message, message);
  }
}

static void broken_yaml_and_missing_files_are_one_line(void **state)
{
  (void)state;
  const char *broken[] = {"views: [", "views: {a", "\tviews: 1\n", "views: \"a\n", "a: b: c\n", "\xff\xfe\n"};
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    example_t e;
    conf_t *conf = NULL;
    char message[DIAG_TEXT_MAX];
    assert_int_not_equal(load(broken[i], &e, &conf, message), SMPL_OK);
    assert_true(strlen(message) > 3);
  }
  example_t e;
  conf_t *conf = NULL;
  diag_t diag = {{0}};
  assert_int_equal(conf_load("/tmp/smpl-no-such-file", &example_map, &e, &conf, &diag), SMPL_ENOENT);
  assert_string_equal(diag.text, "/tmp/smpl-no-such-file: cannot be opened: No such file or directory");
}

static void control_characters_are_refused(void **state)
{
  (void)state;
  static const char *const values[] = {"a\\0b", "a\\nb", "a\\x1fb", "a\\x7fb"};
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char text[100];
    example_t e;
    conf_t *conf = NULL;
    char message[DIAG_TEXT_MAX];
    snprintf(text, sizeof text, "views: [{name: \"%s\", clients: [10.0.0.0/8]}]\n", values[i]);
    assert_int_not_equal(load(text, &e, &conf, message), SMPL_OK);
    assert_non_null(strstr(message, "1:17: name: a control character in the value: 'a"));
    assert_null(strchr(message, '\n'));
  }
}

static void a_secret_that_others_can_read_is_refused(void **state)
{
  (void)state;
  char *data;
  size_t len;
  diag_t diag = {{0}};
  write_file("secret", 6);
  assert_int_equal(file_read_secret(path, 100, &data, &len, &diag), SMPL_OK);
  assert_int_equal(len, 6);
  free(data);
  assert_int_equal(file_read(path, 6, &data, &len, &diag), SMPL_OK);
  free(data);
  assert_int_equal(file_read(path, 5, &data, &len, NULL), SMPL_ELIMIT);
  assert_int_equal(chmod(path, 0640), 0);
  assert_int_equal(file_read_secret(path, 100, &data, &len, &diag), SMPL_EDENIED);
  assert_non_null(strstr(diag.text, "chmod 600"));
  assert_int_equal(chmod(path, 0600), 0);
  assert_int_equal(file_read("/tmp", 100, &data, &len, NULL), SMPL_EINVAL);
}

/* NULL: accepted. */
static void expect_trust(const char *file, const char *saying)
{
  char *data = NULL;
  size_t len;
  diag_t diag = {{0}};
  int err = file_read_trusted(file, 100, &data, &len, &diag);
  free(data);
  if (saying == NULL) {
    if (err)
      fail_msg("%s", diag.text);
    return;
  }
  assert_int_equal(err, SMPL_EDENIED);
  assert_memory_equal(diag.text, file, strlen(file));
  if (strstr(diag.text, saying) == NULL)
    fail_msg("\"%s\" does not say \"%s\"", diag.text, saying);
}

static void what_others_can_write_is_not_trusted(void **state)
{
  (void)state;
  static const mode_t good[] = {0600, 0644, 0400, 0755}, bad[] = {0666, 0646, 0664, 0620, 0602};
  char command[sizeof path + 32];
  write_file("text", 4);
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_int_equal(chmod(path, good[i]), 0);
    expect_trust(path, NULL);
  }
  snprintf(command, sizeof command, "try: chmod go-w %s", path);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    assert_int_equal(chmod(path, bad[i]), 0);
    expect_trust(path, command);
  }
  example_t e;
  conf_t *conf = NULL;
  assert_int_equal(conf_load(path, &example_map, &e, &conf, NULL), SMPL_EDENIED);
  assert_int_equal(chmod(path, 0600), 0);
}

static void what_others_can_put_in_its_place_is_not_trusted(void **state)
{
  (void)state;
  char inner[sizeof folder + 8], file[sizeof inner + 8], link[sizeof folder + 8], command[sizeof inner + 64];
  snprintf(inner, sizeof inner, "%s/inner", folder);
  snprintf(file, sizeof file, "%s/file", inner);
  snprintf(link, sizeof link, "%s/link", folder);
  assert_int_equal(mkdir(inner, 0700), 0);
  close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  assert_int_equal(symlink(file, link), 0);
  expect_trust(file, NULL);
  expect_trust(link, NULL);
  assert_int_equal(chmod(inner, 0775), 0);
  snprintf(command, sizeof command, "others can write its folder (mode 775); try: chmod go-w %s", inner);
  expect_trust(file, command);
  expect_trust(link, command); /* where the link leads to counts */
  assert_int_equal(chmod(inner, 01777), 0);
  expect_trust(file, "keep it in a folder of its own");
  assert_int_equal(chmod(inner, 0700), 0);
  assert_int_equal(chmod(folder, 0770), 0); /* further up, a group may be trusted with more */
  expect_trust(file, NULL);
  expect_trust(link, "others can write its folder"); /* and where the link is */
  assert_int_equal(chmod(folder, 0777), 0);
  expect_trust(file, "above it");
  assert_int_equal(chmod(folder, 01777), 0);
  expect_trust(file, NULL);
  assert_int_equal(chmod(folder, 0700), 0);
  if (geteuid() == 0) {
    assert_int_equal(chown(file, 12345, 0), 0);
    expect_trust(file, "it belongs to uid 12345");
    assert_int_equal(chown(file, 0, 0), 0);
    assert_int_equal(chown(inner, 12345, 0), 0);
    expect_trust(file, "its folder belongs to uid 12345");
    assert_int_equal(chown(inner, 0, 0), 0);
  }
  assert_int_equal(unlink(link), 0);
  assert_int_equal(unlink(file), 0);
  assert_int_equal(rmdir(inner), 0);
}

static int set_up(void **state)
{
  (void)state;
  if (mkdtemp(folder) == NULL)
    return -1;
  snprintf(path, sizeof path, "%s/conf", folder);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
  (void)state;
  return unlink(path) != 0 || rmdir(folder) != 0 ? -1 : 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_good_file_is_decoded_with_defaults_and_places),
      cmocka_unit_test(a_key_with_nothing_behind_it_is_an_empty_list_where_one_may_be_empty),
      cmocka_unit_test(every_mistake_names_its_place),
      cmocka_unit_test(a_file_without_a_word_is_fine_where_no_key_has_to_be_there),
      cmocka_unit_test(broken_yaml_and_missing_files_are_one_line),
      cmocka_unit_test(control_characters_are_refused),
      cmocka_unit_test(a_secret_that_others_can_read_is_refused),
      cmocka_unit_test(what_others_can_write_is_not_trusted),
      cmocka_unit_test(what_others_can_put_in_its_place_is_not_trusted),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
