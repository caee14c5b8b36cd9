/* SPDX-License-Identifier: Apache-2.0 */
/* Which versions of libssh are refused, in Debian's order of versions, and what dpkg's records say of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/ssh/libssh.h"

static void check_order(const char *low, const char *high)
{
  if (libssh_compare_versions(low, high) >= 0 || libssh_compare_versions(high, low) <= 0)
    fail_msg("'%s' is below '%s'", low, high);
  assert_int_equal(libssh_compare_versions(low, low), 0);
}

static void versions_are_in_debians_order(void **state)
{
  (void)state;
  check_order("0.10.6-0+deb12u2", "0.10.6-0+deb12u3");
  check_order("0.10.6-0+deb12u3", "0.10.6-0+deb12u10");
  check_order("0.10.6-0+deb12u3~bpo11+1", "0.10.6-0+deb12u3");
  check_order("0.10.6-0+deb12u3", "0.10.6-1");
  check_order("0.9.8-9", "0.10.6-0");
  check_order("0.10.6-9", "0.11.2-1");
  check_order("9.9", "1:0.1");
  check_order("1.0~rc1-1", "1.0-1");
  check_order("1.0", "1.0+b1");
  check_order("1.0-1", "1.0a-1");
  check_order("1.0a", "1.0+");
  check_order("1.0~~", "1.0~");
  check_order("1.0", "1.0.1");
  check_order("1.0-1-1", "1.0-2-1"); /* the last dash begins the revision */
  assert_int_equal(libssh_compare_versions("0:1.0", "1.0"), 0);
  assert_int_equal(libssh_compare_versions("1.007", "1.7"), 0);
  assert_int_equal(libssh_compare_versions("1.0-0", "1.0"), 0);
  assert_int_equal(libssh_compare_versions("", ""), 0);
}

static void check_judged(const char *loaded, const char *recorded, libssh_verdict_t expected)
{
  const char *fixed;
  libssh_verdict_t verdict = libssh_judge(loaded, recorded, &fixed);
  if (verdict != expected)
    fail_msg("loaded %s, recorded %s: %d", loaded ? loaded : "-", recorded ? recorded : "-", (int)verdict);
}

static void dpkgs_version_decides(void **state)
{
  (void)state;
  check_judged("0.10.6", "0.10.6-0+deb12u2", LIBSSH_VULNERABLE);
  check_judged("0.10.6", "0.10.6-0+deb12u3", LIBSSH_FINE);
  check_judged("0.10.6", "0.10.6-0+deb12u4", LIBSSH_FINE);
  check_judged("0.9.8", "0.9.8-0+deb11u1", LIBSSH_VULNERABLE);
  check_judged("0.11.2", "0.11.2-1+deb13u1", LIBSSH_VULNERABLE);
  check_judged("0.11.5", "0.11.5-0+deb13u1", LIBSSH_FINE);
  check_judged("0.11.5", "0.11.5-1", LIBSSH_FINE);
  check_judged("0.12.0", "0.12.0-1", LIBSSH_VULNERABLE);
  check_judged("0.12.2", "0.12.2-1", LIBSSH_FINE);
  check_judged("0.13.0", "0.13.0-1", LIBSSH_FINE);
  check_judged(NULL, "0.10.6-0+deb12u2", LIBSSH_VULNERABLE);
}

static void without_dpkg_known_bad_versions_are_refused_and_others_unknown(void **state)
{
  (void)state;
  check_judged("0.9.8", NULL, LIBSSH_VULNERABLE);
  check_judged("0.10.6", NULL, LIBSSH_VULNERABLE);
  check_judged("0.11.4", NULL, LIBSSH_VULNERABLE);
  check_judged("0.11.5", NULL, LIBSSH_UNKNOWN);
  check_judged("0.12.1", NULL, LIBSSH_VULNERABLE);
  check_judged("0.12.2", NULL, LIBSSH_UNKNOWN);
  check_judged("1.0.0", NULL, LIBSSH_UNKNOWN);
  check_judged(NULL, NULL, LIBSSH_UNKNOWN);
}

/* A library of one's own beside Debian's package. */
static void a_record_of_another_version_says_nothing_of_the_loaded_one(void **state)
{
  (void)state;
  check_judged("0.11.5", "0.10.6-0+deb12u3", LIBSSH_UNKNOWN);
  check_judged("0.11.2", "0.10.6-0+deb12u3", LIBSSH_VULNERABLE);
  check_judged("0.10.6", "0.10.60-1", LIBSSH_VULNERABLE);
  check_judged("0.10.6", "0.10.6.1-1", LIBSSH_VULNERABLE);
  check_judged("0.12.2", "0.12.2+git1-1", LIBSSH_FINE);
}

static int recorded(const char *status, char *version)
{
  char path[] = "/tmp/smpl-dpkg-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, status, strlen(status)) == (ssize_t)strlen(status));
  close(fd);
  version[0] = '\0';
  int err = libssh_recorded(path, "libssh-4", version, LIBSSH_VERSION_MAX);
  unlink(path);
  return err;
}

static void the_installed_packages_version_is_found(void **state)
{
  char v[LIBSSH_VERSION_MAX];
  (void)state;
  assert_int_equal(recorded("Package: libssh-4\nStatus: install ok installed\nVersion: 1.0-1\n", v), SMPL_OK);
  assert_string_equal(v, "1.0-1");
  assert_int_equal(recorded("Package: libssh-42\nStatus: install ok installed\nVersion: 1\n\n"
                            "Package: libssh-4\nStatus: install ok installed\nDescription: x\n"
                            " Package: nothing\n Version: 7\nVersion: 2.0-1\n\n"
                            "Package: other\nStatus: install ok installed\nVersion: 3\n",
                            v),
                   SMPL_OK);
  assert_string_equal(v, "2.0-1");
  /* of two architectures the older one */
  assert_int_equal(recorded("Package: libssh-4\nStatus: install ok installed\nVersion: 3-1\n\n"
                            "Package: libssh-4\nStatus: install ok installed\nVersion: 2-1\n",
                            v),
                   SMPL_OK);
  assert_string_equal(v, "2-1");
  /* an image without dpkg: a file a package, without a status */
  assert_int_equal(recorded("Package: libssh-4\nVersion: 4-1", v), SMPL_OK);
  assert_string_equal(v, "4-1");
}

static void what_is_not_installed_or_not_readable_is_not_there(void **state)
{
  enum { LONG = 8192 };
  static char longest[LONG + 4096], filler[LONG + 1];
  char v[LIBSSH_VERSION_MAX];
  (void)state;
  assert_int_equal(recorded("", v), SMPL_ENOENT);
  assert_int_equal(recorded("Package: libssh-4\nStatus: deinstall ok config-files\nVersion: 1\n", v),
                   SMPL_ENOENT);
  assert_int_equal(recorded("Package: libssh-4\nStatus: install ok half-installed\nVersion: 1\n", v),
                   SMPL_ENOENT);
  assert_int_equal(recorded("Package: libssh-4\nStatus: install ok installed\n", v), SMPL_ENOENT);
  assert_int_equal(libssh_recorded("/nowhere/status", "libssh-4", v, sizeof v), SMPL_ENOENT);
  /* a long line, and our name where it is no package's */
  memset(filler, 'x', LONG);
  snprintf(
      longest, sizeof longest,
      "Package: a\nStatus: install ok installed\nDepends: libssh-4 (>= 9)\nVersion: 9\n\n"
      "Package: libssh-4\nStatus: install ok installed\nDepends: libssh-4\nDescription: %s\nVersion: 5-1\n\n"
      "Package: z\nVersion: 1\nStatus: install ok installed\nDescription: of\n libssh-4",
      filler);
  assert_int_equal(recorded(longest, v), SMPL_OK);
  assert_string_equal(v, "5-1");
  /* a version beyond the limit is unknown */
  memset(filler, '1', LIBSSH_VERSION_MAX);
  snprintf(longest, sizeof longest, "Package: libssh-4\nStatus: install ok installed\nVersion: %.*s",
           (int)LIBSSH_VERSION_MAX, filler);
  assert_int_equal(recorded(longest, v), SMPL_ENOENT);
}

static void a_status_beyond_its_limit_is_not_read(void **state)
{
  char path[] = "/tmp/smpl-dpkg-XXXXXX", v[LIBSSH_VERSION_MAX];
  static const char ours[] = "Package: libssh-4\nStatus: install ok installed\nVersion: 1.0-1\n\n";
  (void)state;
  int fd = mkstemp(path);
  assert_int_equal(write(fd, ours, sizeof ours - 1), sizeof ours - 1);
  assert_int_equal(ftruncate(fd, LIBSSH_DPKG_BYTES_MAX), 0);
  assert_int_equal(libssh_recorded(path, "libssh-4", v, sizeof v), SMPL_OK);
  assert_int_equal(ftruncate(fd, LIBSSH_DPKG_BYTES_MAX + 1), 0);
  assert_int_equal(libssh_recorded(path, "libssh-4", v, sizeof v), SMPL_ELIMIT);
  close(fd);
  unlink(path);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(versions_are_in_debians_order),
      cmocka_unit_test(dpkgs_version_decides),
      cmocka_unit_test(without_dpkg_known_bad_versions_are_refused_and_others_unknown),
      cmocka_unit_test(a_record_of_another_version_says_nothing_of_the_loaded_one),
      cmocka_unit_test(the_installed_packages_version_is_found),
      cmocka_unit_test(a_status_beyond_its_limit_is_not_read),
      cmocka_unit_test(what_is_not_installed_or_not_readable_is_not_there),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
