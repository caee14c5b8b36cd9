/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor and the speaker say to each other: SOCK_SEQPACKET, one message a packet, at most one
 * descriptor a message, fixed layout in host order (both ends are the same machine and build). The speaker
 * parses what the bastion sends and may have been taken over. So the reader checks version, type, direction,
 * exact length and every string, and the table says which message may come when. Fuzzed.
 *
 * While a session is being opened the supervisor asks and the speaker answers. Only SPEECH_SIGN goes the
 * other way, within a SPEECH_OFFER. A forwarded byte never goes this way: the speaker has the descriptor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ssh/hollow.h"
#include "tunnel/limits.h"

enum {
  SPEECH_VERSION = 1,
  SPEECH_LIST_MAX = 2048,      /* bytes of a list of algorithms, with NUL */
  SPEECH_ERROR_MAX = 1024,     /* bytes of a text of libssh's, with NUL, as libssh keeps it */
  SPEECH_PREFACE_MAX = 256,    /* bytes of what a server says before its version, with NUL */
  SPEECH_NAME_MAX = 64,        /* bytes of an algorithm's name, with NUL */
  SPEECH_BANNER_MAX = 512,     /* bytes of what a server says at a login, with NUL */
  SPEECH_SIGNATURE_MAX = 2176, /* bytes of a signature as SSH writes it; RSA of 16384 bits has 2,068 */
  SPEECH_BYTES_MAX = 16384,    /* bytes of a line, a certificate, what is to be signed */
  SPEECH_ORIGINATOR_MAX = 48,  /* bytes of an address as text, with NUL */
  SPEECH_GREETING_MAX = 10,    /* bytes that a SOCKS client is told first */
};

typedef enum speech_type {
  /* supervisor -> speaker, while the session is being opened */
  SPEECH_START = 1,   /* with the connected socket; answered by SPEECH_EXCHANGED */
  SPEECH_SERVICE,     /* asks for the service of logins; this and the next five: answered by SPEECH_DONE */
  SPEECH_HEAR,        /* reads what the server has sent by now */
  SPEECH_PROBE,       /* would this public key be taken? */
  SPEECH_OFFER,       /* a hollow key, as text; with the certificate that came before it, if one did */
  SPEECH_OFFER_AGENT, /* the key that the agent shows */
  SPEECH_AGENT,       /* with a descriptor that speaks an agent's protocol */
  SPEECH_CERTIFICATE, /* the blob of the next offer's. No answer */
  SPEECH_SIGNED,      /* answers SPEECH_SIGN; empty: no */
  SPEECH_SERVE,       /* signed in: channels may be opened */
  /* once it stands */
  /* a channel, with the connection that it is for (none: only whether it can be opened); answered by
     SPEECH_OPENED and, when that is over, SPEECH_CLOSED, or by SPEECH_REFUSED */
  SPEECH_OPEN,
  SPEECH_GIVE_UP,   /* the one of that number is not waited for any more */
  SPEECH_ASK,       /* a line for smpl-control */
  SPEECH_KEEPALIVE, /* asks the server for a sign of life */
  SPEECH_END,       /* says goodbye and ends; value: milliseconds for what is still to be sent */
  /* speaker -> supervisor */
  SPEECH_HELLO = 40, /* sealed; value: the walls that stand. Nothing of the server has been read yet */
  SPEECH_EXCHANGED,
  SPEECH_DONE,
  SPEECH_SIGN, /* session id and login request */
  SPEECH_OPENED,
  SPEECH_REFUSED, /* value: several targets were refused at once, and the text may be another's */
  SPEECH_CLOSED,
  SPEECH_CONTROL, /* smpl-control; value: 1 it is there, 0 it is not, or not any more */
  SPEECH_LINE,    /* from smpl-control */
  SPEECH_OVER,    /* the session is over; value: speech_over_t */
  SPEECH_CRASHED, /* the last word of a speaker that a signal ends */
} speech_type_t;

/* number: of the connection, counted from 1 as they are asked for in the session; 0 where none is meant. */
typedef struct speech_header {
  uint16_t version;
  uint16_t type;
  uint32_t number;
} speech_header_t;

/* SPEECH_SERVICE, HEAR, OFFER_AGENT, AGENT, SERVE, GIVE_UP, KEEPALIVE, OPENED, CLOSED: the header alone says
 * it. */
typedef struct speech_plain {
  speech_header_t h;
} speech_plain_t;

typedef enum speech_list {
  SPEECH_LIST_KEX,
  SPEECH_LIST_CIPHERS,
  SPEECH_LIST_MACS,
  SPEECH_LIST_HOST_KEYS,
  SPEECH_LISTS
} speech_list_t;

typedef struct speech_start {
  speech_header_t h;
  char host[HOST_MAX];
  char user[USER_MAX];
  uint32_t port;
  uint32_t rsa_bits; /* of a host key, at least; 0: as libssh has it */
  uint32_t read_ahead;
  char lists[SPEECH_LISTS][SPEECH_LIST_MAX];
} speech_start_t;

/* What came of a step. */
typedef enum speech_result {
  SPEECH_RESULT_FINE,     /* exchanged, or accepted */
  SPEECH_RESULT_DENIED,   /* the server says no */
  SPEECH_RESULT_LATE,     /* it has not answered in time */
  SPEECH_RESULT_FAILED,   /* error says why */
  SPEECH_RESULT_OPTIONS,  /* libssh does not take host, port or user */
  SPEECH_RESULT_RSA_BITS, /* nor so few bits */
  SPEECH_RESULT_LIST,     /* nor a list: RESULT_LIST + which */
  SPEECH_RESULTS = SPEECH_RESULT_LIST + SPEECH_LISTS
} speech_result_t;

typedef struct speech_exchanged {
  speech_header_t h;
  uint32_t result;
  uint32_t greeted; /* the server has told its version */
  char error[SPEECH_ERROR_MAX];
  char preface[SPEECH_PREFACE_MAX];
  char kex[SPEECH_NAME_MAX];
  char cipher[SPEECH_NAME_MAX];
  uint32_t key_len;
  uint32_t signature_len;                  /* 0: it was not seen */
  uint8_t key[HOLLOW_BLOB_MAX];            /* the host key */
  uint8_t signature[SPEECH_SIGNATURE_MAX]; /* by it, of the session id */
} speech_exchanged_t;

typedef struct speech_done {
  speech_header_t h;
  uint32_t result; /* up to SPEECH_RESULT_FAILED */
  uint32_t connected;
  char error[SPEECH_ERROR_MAX];
  char banner[SPEECH_BANNER_MAX];
} speech_done_t;

/* SPEECH_PROBE, OFFER, CERTIFICATE, SIGNED, ASK; SIGN, LINE. Sent with the bytes used alone: these messages
 * vary in length. */
typedef struct speech_bytes {
  speech_header_t h;
  uint32_t len;
  uint8_t bytes[SPEECH_BYTES_MAX];
} speech_bytes_t;

typedef struct speech_open {
  speech_header_t h;
  char host[FORWARD_TARGET_MAX + 1];
  uint32_t port;
  char originator[SPEECH_ORIGINATOR_MAX];
  uint32_t originator_port;
  uint32_t greeting_len;
  uint8_t greeting[SPEECH_GREETING_MAX]; /* written into the connection once the channel is open */
} speech_open_t;

/* SPEECH_END, HELLO, CONTROL */
typedef struct speech_value {
  speech_header_t h;
  uint32_t value;
} speech_value_t;

typedef enum speech_over {
  SPEECH_OVER_CLOSED, /* by the server, or the connection broke: text is libssh's error */
  SPEECH_OVER_ABUSE,  /* the server sends more than its windows allow */
  SPEECH_OVER_FAILED, /* memory, the system */
  SPEECH_OVERS
} speech_over_t;

/* SPEECH_REFUSED, OVER, CRASHED (no value) */
typedef struct speech_text {
  speech_header_t h;
  uint32_t value;
  char text[SPEECH_ERROR_MAX]; /* as it came */
} speech_text_t;

typedef union speech {
  speech_header_t h;
  speech_plain_t plain;
  speech_start_t start;
  speech_exchanged_t exchanged;
  speech_done_t done;
  speech_bytes_t bytes;
  speech_open_t open;
  speech_value_t value;
  speech_text_t text;
} speech_t;

typedef enum speech_from { SPEECH_FROM_SUPERVISOR, SPEECH_FROM_SPEAKER } speech_from_t;

enum { /* bits of SPEECH_HELLO's value */
       SPEECH_WALL_SECCOMP = 1,
       SPEECH_WALL_LANDLOCK = 2,
       SPEECH_WALL_RLIMITS = 4,
       SPEECH_WALLS = 8 /* more than all */
};

/* Where a speaker is, as the supervisor sees it. */
typedef enum speech_state {
  SPEECH_STATE_BORN,     /* it seals itself */
  SPEECH_STATE_QUIET,    /* nothing is asked */
  SPEECH_STATE_STARTING, /* SPEECH_START is */
  SPEECH_STATE_ASKED,    /* a step of the login is */
  SPEECH_STATE_OFFERING, /* one that needs a signature is, and none was made */
  SPEECH_STATE_SERVING,
  SPEECH_STATE_OVER,
  SPEECH_STATES
} speech_state_t;

/* Whether a speaker in this state may send this. The one table. Pure. */
bool speech_may(speech_state_t state, speech_type_t type);

/* Checks len received bytes in m as a message of that direction. Pure. SMPL_EPROTO if anything is off. */
int speech_check(const speech_t *m, size_t len, speech_from_t from);
/* Bytes that a well-formed message of this type has. 0 for an unknown type. */
size_t speech_length(const speech_t *m);
/* Zeroes m's fixed part and sets the header. */
void speech_init(speech_t *m, speech_type_t type, uint32_t number);
/* The same with bytes in it. SMPL_ELIMIT: there are too many. */
int speech_init_bytes(speech_t *m, speech_type_t type, const void *bytes, size_t len);

/* As packet_send and packet_receive (common/process/packet.h). A descriptor with a type that carries none: it
 * is closed, SMPL_EPROTO. A SPEECH_OPEN whose descriptor was lost is SMPL_EPROTO too. */
int speech_send(int sock, const speech_t *m, int fd);
int speech_receive(int sock, speech_t *m, speech_from_t from, int *fd);
