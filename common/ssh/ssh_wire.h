/* SPDX-License-Identifier: Apache-2.0 */
/* A session's socket as libssh sees it. libssh asks poll(2) before each of its reads and writes, reads 4 KiB
 * at a time and sends every packet by itself. With many channels at work this is most of what a relay does:
 * three system calls and a TCP segment a packet. The executable's own send, recv and poll, defined here, are
 * found before libc's by libssh too. For a socket behind a wire they gather packets until the pump's turn is
 * over, answer poll from the pump's own poll and, if asked to, read ahead. For every other socket they are
 * libc's.
 *
 * One thread a wire: other threads do not see it. The owner, which is the pump, flushes it at the end of each
 * turn. */
#pragma once

#include <libssh/libssh.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum {
  SSH_WIRE_GATHER_MAX =
      32 << 10,            /* bytes gathered; a packet that finds no room behind them is sent at once */
  SSH_WIRE_RESERVE = 1024, /* bytes behind them, for a write that libssh begins though the room is gone */
};

typedef struct ssh_wire ssh_wire_t;

/* Puts a wire between session and its nonblocking socket. SMPL_ENOMEM. */
int ssh_wire_new(ssh_session session, ssh_wire_t **out);
/* From now on up to so many bytes are read at once into the caller's memory, not only what libssh asks for.
 * The memory must outlive the wire. Once. */
void ssh_wire_read_ahead(ssh_wire_t *wire, void *memory, size_t bytes);
/* Sends what can be sent. If something cannot, nothing behind it may be sent either: the socket's sending
 * side is shut down. Before the session is freed. NULL allowed. */
void ssh_wire_free(ssh_wire_t *wire);
/* Sends what is gathered as far as the socket takes it. */
void ssh_wire_flush(ssh_wire_t *wire);
/* True when the socket has not taken all at the last flush. */
bool ssh_wire_stuck(const ssh_wire_t *wire);
/* poll(2) for polls, of which the first is the wire's socket: flushes, waits, and remembers for libssh what
 * the socket said. */
int ssh_wire_wait(ssh_wire_t *wire, struct pollfd *polls, size_t count, int timeout_ms);

/* While no wire stands there, cb sees all bytes that libssh receives from fd in this thread, until the next
 * call. fd -1: nothing. */
typedef void (*ssh_wire_watch_cb)(void *ctx, const void *data, size_t len);
void ssh_wire_watch(int fd, ssh_wire_watch_cb cb, void *ctx);
