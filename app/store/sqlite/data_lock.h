/* SPDX-License-Identifier: Apache-2.0 */
/* Who may have a service's database: each running instance holds DATABASE.lock, shared with other
 * instances; a restore needs it alone. The kernel lets go of it when a process ends, however that happens.
 * The file itself stays, and holds nothing. */
#pragma once

#include "common/base/diag.h"

/* SMPL_EBUSY: a restore is under way. SMPL_ESYS. *fd is closed by the caller, which lets go. */
int data_lock_use(const char *database, int *fd, diag_t *diag);
/* SMPL_EBUSY: an instance of the service runs. */
int data_lock_alone(const char *database, int *fd, diag_t *diag);
