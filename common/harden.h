/* What every program of ours does first. */
#pragma once

/* No core dumps and no ptrace by the same user (invariant 8); SIGPIPE ignored. Returns 0 or SMPL_ESYS. */
int harden_process(void);
