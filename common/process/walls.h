/* SPDX-License-Identifier: Apache-2.0 */
/* What walls are called when a program tells which of its own stand, as the kernel calls them. */
#pragma once

#define WALL_LANDLOCK     "landlock"
#define WALL_NO_NEW_PRIVS "no_new_privs"
#define WALL_SECCOMP      "seccomp"
