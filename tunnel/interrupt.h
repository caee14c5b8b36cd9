/* Ctrl-C and its kin. Until the tunnel's loop runs, a signal ends the process on the spot (status 0: ended as
 * asked; the system frees the ports); afterwards it wakes the loop, and a second one ends the process on the
 * spot. */
#pragma once

/* Once, first. Returns 0 or SMPL_ESYS. */
int interrupt_start(void);
/* From now on signals make this descriptor readable instead. */
int interrupt_fd(void);

/* Asks on the terminal, without echo if secret. Returns the length, or -1 when there is no terminal or no
 * answer. */
int interrupt_prompt(const char *question, char *answer, int cap, int secret);
