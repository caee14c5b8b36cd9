/* SPDX-License-Identifier: Apache-2.0 */
/* The engine that moves bytes between libssh channels and sockets, for a session of either side: the
 * bastion's worker and the tunnel client. One poll(2) over the session, the caller's own descriptors and the
 * channels' sockets; libssh's event holds the session alone. Callbacks of libssh only queue and mark:
 * everything else (writing to sockets, ending channels, calling the owner back) happens after libssh has
 * returned. One thread.
 *
 * Flow control. From the channel to the socket: all that arrives goes into a queue of our own until it holds
 * SSH_PUMP_QUEUE_MAX; above that the bytes stay in libssh, which then stops granting the peer window. From
 * the socket to the channel: nothing is read that the peer's window has no room for, nor while the session
 * still has bytes to send. So a reader that stalls, on either side, costs at most SSH_PUMP_CHANNEL_MEMORY and
 * holds up nobody else. */
#pragma once

#include <libssh/libssh.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  SSH_PUMP_CHANNELS_MAX = 4096,   /* in one pump, those that wait for the peer's CLOSE included */
  SSH_PUMP_READ_SIZE = 256 << 10, /* bytes read from a socket at once */
  SSH_PUMP_QUEUE_MAX = 256 << 10, /* bytes queued toward a socket before libssh keeps the rest */
  SSH_PUMP_UNREAD_MAX =
      2 << 20, /* bytes left in libssh; it grants 1.28 MB, 0.11 grants 2 MiB: more ignores windows */
/* Where libssh 0.10 and 0.11 differ. FIRST_WINDOW: bytes that the peer may send on a channel that it opened
 * before it hears of more. */
#if LIBSSH_VERSION_INT < SSH_VERSION_INT(0, 11, 0)
  SSH_PUMP_READING_WIDENS = 1, /* a window, when more is asked for than it holds */
  SSH_PUMP_FIRST_WINDOW = 1280000,
#else
  SSH_PUMP_READING_WIDENS = 0, /* once bytes have come, a round trip later, and by nothing else */
  SSH_PUMP_FIRST_WINDOW = 32000,
#endif
  SSH_PUMP_UNSENT_MAX = 8 << 20, /* bytes of answers that the peer does not read */
  SSH_PUMP_CHANNEL_MEMORY = SSH_PUMP_QUEUE_MAX + 2 * SSH_PUMP_UNREAD_MAX,
  SSH_PUMP_LINE_MAX = 16383,            /* bytes of a line on a line channel, without the newline */
  SSH_PUMP_LINES_QUEUE_MAX = 128 << 10, /* bytes of lines that wait for the peer's window */
  SSH_PUMP_READ_AHEAD = 128 << 10, /* bytes read from the session's socket at once, where this is asked for */
  SSH_PUMP_LINGER_MS = 10000,      /* to deliver what is queued after the other side has closed for good */
};

typedef struct ssh_pump ssh_pump_t;
typedef struct ssh_pump_channel ssh_pump_channel_t;

typedef enum ssh_pump_end {
  SSH_PUMP_END_FINISHED,     /* both directions ended */
  SSH_PUMP_END_SOCKET_BROKE, /* the socket failed */
  SSH_PUMP_END_PEER_CLOSED,  /* the SSH peer closed the channel before the socket had ended */
  SSH_PUMP_END_SESSION,      /* the session is gone */
  SSH_PUMP_END_DROPPED,      /* ssh_pump_drop, or a line that is too long */
} ssh_pump_end_t;

/* Bytes so far: in = from the channel, written to the socket; out = from the socket, written to the channel.
 */
typedef struct ssh_pump_bytes {
  uint64_t in;
  uint64_t out;
} ssh_pump_bytes_t;

/* Called once a channel, from ssh_pump_turn or ssh_pump_free. The socket is closed already. ch is invalid
 * afterwards. */
typedef void (*ssh_pump_end_cb)(void *ctx, ssh_pump_channel_t *ch, ssh_pump_end_t end,
                                const ssh_pump_bytes_t *bytes);
/* A line of a line channel, without its newline, with a NUL behind it; never empty. It stands for the length
 * of the call, whatever the owner lets libssh read meanwhile. From ssh_pump_turn. Once with NULL when the
 * peer has ended its side: then call ssh_pump_finish_lines, now or when all that was asked is answered. */
typedef void (*ssh_pump_line_cb)(void *ctx, ssh_pump_channel_t *ch, const char *line, size_t len);
/* For ssh_pump_each. */
typedef void (*ssh_pump_each_cb)(void *ctx, ssh_pump_channel_t *ch, const ssh_pump_bytes_t *bytes);

/* O_NONBLOCK, TCP_NODELAY and, where the system has it, a limit on unacknowledged bytes (user_timeout_ms, 0:
 * none). Before any seal: these calls are not behind the filter. Not-TCP sockets get O_NONBLOCK alone. A
 * client calls it again after ssh_connect: libssh makes a socket given by SSH_OPTIONS_FD a blocking one.
 * SMPL_ESYS. */
int ssh_pump_prepare_socket(int fd, unsigned user_timeout_ms);

/* ssh_connect on a nonblocking session that was given a socket by SSH_OPTIONS_FD, until it no longer returns
 * SSH_AGAIN. From the first call on the socket is libssh's, which closes it when the peer is gone and when
 * the session ends. (By itself 0.10 closes such a socket in one of the two cases, and 0.11 in neither.) */
int ssh_pump_connect(ssh_session session);

/* For a nonblocking session whose key exchange has started; the session stays the caller's and must outlive
 * the pump. SMPL_ENOMEM, SMPL_ECLOSED. */
int ssh_pump_new(ssh_session session, ssh_pump_t **out);
/* Reads the session's socket in larger pieces than libssh does (ssh_wire.h): less to do a byte. memory:
 * SSH_PUMP_READ_AHEAD bytes that outlive the pump; only what comes at once is touched. Before the first turn.
 */
void ssh_pump_read_ahead(ssh_pump_t *pump, void *memory);
/* Ends every channel with SSH_PUMP_END_SESSION. The session is disconnected and freed afterwards, never
 * before. NULL allowed. */
void ssh_pump_free(ssh_pump_t *pump);

/* Takes over an open channel and a nonblocking socket, on success; on failure both stay the caller's.
 * SMPL_ENOMEM, SMPL_ELIMIT. */
int ssh_pump_add(ssh_pump_t *pump, ssh_channel channel, int fd, ssh_pump_end_cb on_end, void *ctx,
                 ssh_pump_channel_t **out);
/* A channel without a socket that carries lines. */
int ssh_pump_add_lines(ssh_pump_t *pump, ssh_channel channel, ssh_pump_line_cb on_line,
                       ssh_pump_end_cb on_end, void *ctx, ssh_pump_channel_t **out);
/* Sends a line (a newline is added). SMPL_ELIMIT when the peer does not take them; SMPL_ECLOSED; SMPL_ENOMEM.
 */
int ssh_pump_send_line(ssh_pump_channel_t *ch, const char *line, size_t len);
/* Ends the channel at the next turn, dropping what is queued. */
void ssh_pump_drop(ssh_pump_channel_t *ch);
/* No more lines from us: the channel ends when the queued ones are sent and the peer has ended too. */
void ssh_pump_finish_lines(ssh_pump_channel_t *ch);

/* Called in every turn just before channels that both sides have closed are freed. Messages that libssh has
 * queued for the caller (ssh_message_get) point to channels. Take them out and answer them there, to the last
 * one. / */
typedef void (*ssh_pump_hook_t)(void *ctx);
void ssh_pump_before_sweep(ssh_pump_t *pump, ssh_pump_hook_t hook, void *ctx);

/* Channels, those included that we have closed and the peer not yet. */
size_t ssh_pump_count(const ssh_pump_t *pump);
/* Bytes that the session has received since ssh_pump_new: signs of life. */
uint64_t ssh_pump_received(const ssh_pump_t *pump);
/* Bytes of all channels with a socket since ssh_pump_new, those that have ended included. */
ssh_pump_bytes_t ssh_pump_carried(const ssh_pump_t *pump);
/* Those whose end has not been told yet. */
size_t ssh_pump_live(const ssh_pump_t *pump);
void ssh_pump_each(ssh_pump_t *pump, ssh_pump_each_cb cb, void *ctx);
void *ssh_pump_context(const ssh_pump_channel_t *ch);

/* Waits at most timeout_ms (-1: no limit) for anything to do, does it, and returns. extra are the caller's
 * descriptors: their revents are set. Returns 0, SMPL_ECLOSED when the session is over, SMPL_EPROTO when the
 * peer ignores windows or reads no answers, SMPL_ESYS, SMPL_ENOMEM, SMPL_ELIMIT (extra_count). A signal ends
 * the wait early. */
int ssh_pump_turn(ssh_pump_t *pump, struct pollfd *extra, size_t extra_count, int timeout_ms);

/* Writes out what the session has buffered, at most for timeout_ms; channels stand still meanwhile. For last
 * words. */
void ssh_pump_flush(ssh_pump_t *pump, int timeout_ms);
