/* What differs between operating systems; the one file with Linux in it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Raises the limit of descriptors as far as allowed: every connection needs one. */
void system_raise_limits(void);

/* Who listens on this local TCP port, as "name (pid 123)", if it can be seen; "" otherwise. Returns buf. */
char *system_port_holder(uint16_t port, char *buf, size_t cap);
