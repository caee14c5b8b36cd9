/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of manual pages, from the tables of a program: tests/gates/manuals.py puts them into the pages. Each
 * is printed on standard output between "; begin PART" and "; end", which scdoc takes for comments. */
#pragma once

#include "common/conf/command.h"
#include "common/conf/conf.h"
#include "common/conf/option.h"

/* How each command is used, a line each. */
void print_synopsis(const command_set_t *commands);
/* What each does; part is the name. */
void print_commands(const char *part, const command_set_t *commands);
void print_options(const option_set_t *options);
/* Every key of the configuration. */
void print_keys(const conf_map_t *map);
