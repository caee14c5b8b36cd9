/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/policy/roles.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/base/text.h"
#include "common/process/landlock.h"

/* What may be the name of an account that was removed. */
static bool is_name(const char *text)
{
  char first = text_lower(text[0]);
  return (first == '_' || (first >= 'a' && first <= 'z')) && strpbrk(text, " \t:/,") == NULL;
}

static int parse_member(conf_t *conf, const char *text, size_t len, void *out)
{
  (void)conf;
  role_member_t m = {.is_group = len > 0 && text[0] == '@'};
  const char *name = text + m.is_group;
  uint64_t number;
  const struct passwd *pw = m.is_group ? NULL : getpwnam(name);
  const struct group *gr = m.is_group ? getgrnam(name) : NULL;
  if (pw != NULL)
    m.id = pw->pw_uid;
  else if (gr != NULL)
    m.id = gr->gr_gid;
  else if (text_parse_u64(name, len - m.is_group, UINT32_MAX - 1, &number) == SMPL_OK)
    m.id = (unsigned)number;
  else if (is_name(name))
    m.missing = true;
  else
    return SMPL_EINVAL;
  memcpy(out, &m, sizeof m);
  return SMPL_OK;
}

const conf_scalar_t roles_scalar = {
    .expected = "an account of this system, its number, or @GROUP",
    .size = sizeof(role_member_t),
    .parse = parse_member,
};

bool roles_are_hidden(void)
{
  static const char accounts[] = "/etc/passwd";
  int fd = open(accounts, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return landlock_refused(accounts);
  close(fd);
  return false;
}

static bool member_of(const conf_list_t *list, unsigned uid, const unsigned *groups, size_t group_count)
{
  const role_member_t *members = list->items;
  for (size_t i = 0; i < list->count; i++) {
    if (members[i].missing)
      continue;
    if (!members[i].is_group && members[i].id == uid)
      return true;
    for (size_t g = 0; members[i].is_group && g < group_count; g++)
      if (groups[g] == members[i].id)
        return true;
  }
  return false;
}

role_t roles_decide(const roles_t *roles, unsigned uid, const unsigned *groups, size_t group_count)
{
  if (!roles->given || member_of(&roles->terminate, uid, groups, group_count))
    return ROLE_TERMINATE;
  return member_of(&roles->read, uid, groups, group_count) ? ROLE_READ : ROLE_NONE;
}

role_t roles_of(const roles_t *roles, const control_peer_t *peer)
{
  if (peer->uid == 0 || peer->uid == geteuid())
    return ROLE_TERMINATE;
  role_t by_main = roles_decide(roles, peer->uid, &peer->gid, 1);
  role_t by_others = roles_decide(roles, peer->uid, peer->groups, peer->group_count);
  return by_main > by_others ? by_main : by_others;
}

const char *const role_names[ROLE_TERMINATE + 1] = {[ROLE_READ] = "read", [ROLE_TERMINATE] = "terminate"};

const char *role_name(role_t role)
{
  return role == ROLE_READ || role == ROLE_TERMINATE ? role_names[role] : "none";
}
