/* SPDX-License-Identifier: Apache-2.0 */
/* The account service's operations on a SQLite file. */
#pragma once

#include "app/store/sqlite/sqlite.h"

extern const sqlite_service_t accounts_sqlite;
