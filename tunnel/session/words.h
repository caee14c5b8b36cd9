/* SPDX-License-Identifier: Apache-2.0 */
/* What libssh says of a session that failed, for people. Pure. */
#pragma once

/* What the server said when it ended the session; "" if it said nothing. Within error. */
const char *words_of_server(const char *error);

/* Why libssh failed: its words, or ours where it has none or ones of something else. */
const char *words_of_error(const char *error);
