/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a database, made beside the running service: SQLite's online backup under one read transaction,
 * so that it is the state of one moment and holds up no write. */
#pragma once

#include "app/limits.h"
#include "app/store/sqlite/data_file.h"

/* Writes OUT.partial (mode 0600), checks all of it (data_file_check) and that it is the same database,
 * syncs it and gives it its name; on any failure it is removed. An OUT that is there is replaced only if
 * force says so. SMPL_EEXIST, SMPL_ECLOSED (stop), SMPL_EFULL, SMPL_EINVAL, SMPL_ESYS. */
int backup_make(const char *database, const storage_schema_t *schema, const char *out, bool force,
                data_stop stop, void *stop_ctx, data_info_t *info, diag_t *diag);
