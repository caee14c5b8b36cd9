/* SPDX-License-Identifier: Apache-2.0 */
/* The speaker's walls. */
#pragma once

#include <stdint.h>

/* Puts them up, and takes the standard three descriptors away. The bits of those that stand; ends the process
 * if the list of system calls does not. */
uint32_t speaker_seal(void);
