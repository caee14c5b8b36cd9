/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between broker, template and workers: SOCK_SEQPACKET, one message a packet, at most one descriptor
 * a message, fixed layout in host order (both ends are the same machine and build). The decoder checks
 * version, type, direction, exact length, and every string (bounded, no NUL inside, NUL after); a message
 * that fails is a misbehaving peer, and the broker ends that session. Fuzzed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/ip.h"
#include "common/ssh/reason.h"

enum {
  MSG_VERSION = 1,
  MSG_USER_MAX = 64,        /* bytes of a user name, with NUL */
  MSG_HOST_MAX = 256,       /* bytes of a target as the client wrote it, with NUL */
  MSG_TEXT_MAX = 512,       /* bytes of a text for people, with NUL */
  MSG_VERSION_MAX = 128,    /* bytes of the client's version string, escaped, with NUL */
  MSG_KEY_MAX = 2048,       /* bytes of a public key blob (RFC 4253 §6.6); RSA 8192 has 1,047 */
  MSG_SIGNATURE_MAX = 1536, /* bytes of a raw signature */
  MSG_SIGNED_MAX = 4096,    /* bytes of data that a signature covers */
  MSG_JSON_MAX = 16384,     /* bytes of a smpl-control line, with NUL */
  MSG_SESSION_ID_MAX = 32,  /* bytes of a session's id as text, with NUL */
  MSG_HOST_KEYS_MAX = 3,    /* one of each family */
  MSG_HOST_KEY_MAX =
      4096, /* bytes of a host key as base64 text, with NUL: the public half in a private key's clothes */
};

typedef enum msg_type {
  /* broker -> template */
  MSG_HOST_KEY = 1, /* one of the host keys' public halves; sent before the first MSG_SPAWN */
  MSG_SPAWN,        /* with the client's socket */
  MSG_SPAWN_PAIR,   /* follows MSG_SPAWN at once, with the worker's end of its pair */
  MSG_KILL, /* SIGKILL that session's worker; the template is its parent, so the pid cannot be another's */
  /* template -> broker */
  MSG_TEMPLATE_READY = 20, /* warmed; walls says what stands */
  MSG_SPAWNED,
  MSG_EXITED,
  /* worker -> broker */
  MSG_HELLO = 40, /* sealed: walls says which walls stand. Nothing of the peer has been read yet */
  MSG_SIGN,       /* the exchange hash, for the host key's signature; answered by MSG_SIGNED. Synchronous: the
                     worker waits */
  MSG_VERIFY,     /* a user's signature and what it covers; answered by MSG_VERIFIED. Synchronous */
  MSG_PROBE,      /* is this key on file for this user? Answered by MSG_PROBED */
  MSG_LOGIN, /* this user with this key has signed in; answered by MSG_WELCOME or MSG_PROBED with a reason */
  MSG_OPEN,  /* direct-tcpip; answered by MSG_OPENED with a descriptor, or MSG_REFUSED */
  MSG_CHANNEL_END, /* the worker has closed its descriptor */
  MSG_TRAFFIC,     /* bytes so far, at most once a second a channel and only when they grew */
  MSG_CONTROL,     /* one line of smpl-control, answered by MSG_CONTROL_REPLY */
  MSG_NOTE,        /* something refused without the broker's help (shell, exec, password...), for the audit */
  MSG_BYE,         /* the session is over, and why, before the worker exits */
  MSG_CRASHED,     /* the last word of a worker that a signal ends: which, and where. For the log */
  /* broker -> worker */
  MSG_START = 60, /* first message: limits and the session's id */
  MSG_SIGNED,
  MSG_VERIFIED,
  MSG_PROBED,
  MSG_WELCOME,
  MSG_OPENED,
  MSG_REFUSED,
  MSG_CONTROL_REPLY,
  MSG_EVENT, /* a smpl-control event line for every open smpl-control channel */
  MSG_END,   /* end the session: tell the client this text, then exit */
  MSG_SAY, /* words for the client, where its protocol has a place for them: SSH_MSG_DEBUG, RFC 4253 §11.3 */
} msg_type_t;

/* Every message starts so. request pairs an answer with its question; 0 where there is none. */
typedef struct msg_header {
  uint16_t version;
  uint16_t type;
  uint32_t request;
  uint64_t
      session; /* the broker's number of the session; 0 between broker and template where none is meant */
} msg_header_t;

typedef struct msg_host_key {
  msg_header_t h;
  char base64[MSG_HOST_KEY_MAX];
} msg_host_key_t;

/* MSG_SPAWN, MSG_SPAWN_PAIR, MSG_KILL: the header alone says it. */
typedef struct msg_plain {
  msg_header_t h;
} msg_plain_t;

enum { /* bits of walls */
       MSG_WALL_SECCOMP = 1,
       MSG_WALL_NO_NEW_PRIVS = 2,
       MSG_WALL_EMPTY_ROOT = 4,
       MSG_WALL_OWN_UID = 8,
       MSG_WALL_RLIMITS = 16,
       MSG_WALL_LANDLOCK = 32,
       MSG_WALL_USER_NAMESPACE = 64,
       MSG_WALL_SANITIZER = 128, /* a build with a wider filter and no address-space limit */
};

/* MSG_TEMPLATE_READY, MSG_HELLO */
typedef struct msg_walls {
  msg_header_t h;
  uint32_t walls;
} msg_walls_t;

/* MSG_SPAWNED, MSG_EXITED (status as waitpid gives it) */
typedef struct msg_child {
  msg_header_t h;
  int32_t pid;
  int32_t status;
} msg_child_t;

/* What is offered in the key exchange: worker_ssh.c has the lists. */
typedef enum msg_algorithms {
  MSG_ALGORITHMS_MODERN,
  MSG_ALGORITHMS_COMPATIBLE, /* what libssh2, JSch and FIPS clients know, too */
  MSG_ALGORITHMS_COUNT
} msg_algorithms_t;

typedef struct msg_start {
  msg_header_t h;
  char id[MSG_SESSION_ID_MAX];
  uint32_t channels_max;
  uint32_t auth_failures_max; /* signed attempts that fail before the worker hangs up */
  uint32_t probes_max;        /* unsigned probes, counted apart */
  uint32_t algorithms;        /* msg_algorithms_t */
} msg_start_t;

typedef struct msg_sign {
  msg_header_t h;
  uint32_t key; /* index of the host key, in the order of the MSG_HOST_KEYs */
  uint32_t len;
  uint8_t data[128];
  uint32_t digest; /* of RSA 256 or 512, the bits of SHA-2 (RFC 8332); 0: the key's own */
} msg_sign_t;

typedef struct msg_signed {
  msg_header_t h;
  uint32_t ok;
  uint32_t len;
  uint8_t signature[MSG_SIGNATURE_MAX];
} msg_signed_t;

typedef struct msg_verify {
  msg_header_t h;
  uint32_t signature_len;
  uint32_t data_len;
  uint8_t signature[MSG_SIGNATURE_MAX]; /* raw, as EVP_DigestVerify got it */
  uint8_t data[MSG_SIGNED_MAX];         /* session id, then the SSH_MSG_USERAUTH_REQUEST (RFC 4252 §7) */
} msg_verify_t;

typedef struct msg_verified {
  msg_header_t h;
  uint32_t ok;
} msg_verified_t;

/* MSG_PROBE and MSG_LOGIN */
typedef struct msg_login {
  msg_header_t h;
  char user[MSG_USER_MAX]; /* escaped text if the client sent other bytes; such a user never exists */
  char client_version[MSG_VERSION_MAX]; /* escaped */
  uint32_t key_len;
  uint8_t key[MSG_KEY_MAX]; /* public key blob; empty for "none" and methods that are not accepted */
} msg_login_t;

typedef struct msg_probed {
  msg_header_t h;
  uint32_t ok;
  uint32_t reason; /* reason_t */
} msg_probed_t;

typedef struct msg_welcome {
  msg_header_t h;
  char banner[MSG_TEXT_MAX]; /* for the client before success; may be empty */
} msg_welcome_t;

typedef struct msg_open {
  msg_header_t h;
  uint32_t nth;         /* so many direct-tcpip channels the client has asked for with it */
  uint32_t turned_away; /* reason_t: the worker has refused it itself, and wants no answer. 0: it has not */
  char host[MSG_HOST_MAX];       /* as sent; escaped and cut if the worker has turned it away for that */
  uint32_t port;                 /* as libssh gives it: cut to 16 bits */
  char originator[MSG_HOST_MAX]; /* escaped; what the client says, believed by nobody */
  uint32_t originator_port;
} msg_open_t;

/* With the connected descriptor: nonblocking, TCP_NODELAY set. channel is the broker's number of it in this
 * session. */
typedef struct msg_opened {
  msg_header_t h;
  uint32_t channel;
} msg_opened_t;

typedef struct msg_refused {
  msg_header_t h;
  uint32_t reason;
} msg_refused_t;

/* MSG_CHANNEL_END, MSG_TRAFFIC: bytes since the channel opened, up = from the client to the target */
typedef struct msg_traffic {
  msg_header_t h;
  uint32_t channel;
  uint32_t reason; /* MSG_CHANNEL_END */
  uint64_t bytes_up;
  uint64_t bytes_down;
} msg_traffic_t;

/* MSG_CONTROL, MSG_CONTROL_REPLY, MSG_EVENT. Sent with only the bytes used: the one message whose length
 * varies, offsetof(json) + len + 1. */
typedef struct msg_json {
  msg_header_t h;
  uint32_t control; /* the worker's number of the smpl-control channel; 0 in MSG_EVENT: all of them */
  uint32_t len;     /* bytes before the NUL */
  char json[MSG_JSON_MAX];
} msg_json_t;

/* MSG_NOTE, MSG_BYE, MSG_CRASHED (no reason), MSG_END, MSG_SAY (no reason) */
typedef struct msg_text {
  msg_header_t h;
  uint32_t reason;
  char text[MSG_TEXT_MAX]; /* escaped */
} msg_text_t;

typedef union msg {
  msg_header_t h;
  msg_host_key_t host_key;
  msg_plain_t plain;
  msg_walls_t walls;
  msg_child_t child;
  msg_start_t start;
  msg_sign_t sign;
  msg_signed_t signed_;
  msg_verify_t verify;
  msg_verified_t verified;
  msg_login_t login;
  msg_probed_t probed;
  msg_welcome_t welcome;
  msg_open_t open;
  msg_opened_t opened;
  msg_refused_t refused;
  msg_traffic_t traffic;
  msg_json_t json;
  msg_text_t text;
} msg_t;

typedef enum msg_from {
  MSG_FROM_BROKER_TO_TEMPLATE,
  MSG_FROM_TEMPLATE,
  MSG_FROM_WORKER,
  MSG_FROM_BROKER_TO_WORKER
} msg_from_t;

/* Checks len received bytes in m as a message of that direction. Pure. SMPL_EPROTO if anything is off. */
int msg_check(const msg_t *m, size_t len, msg_from_t from);

/* Bytes that a well-formed message of this type has (for msg_json its used part). 0 for an unknown type. */
size_t msg_length(const msg_t *m);

/* Zeroes m's fixed part and sets the header. */
void msg_init(msg_t *m, msg_type_t type, uint32_t request, uint64_t session);

/* One packet, with descriptor fd unless it is -1. Nonblocking sockets: SMPL_EAGAIN when the peer's queue is
 * full. SMPL_ECLOSED, SMPL_ESYS. Does not take fd. */
int msg_send(int sock, const msg_t *m, int fd);

/* One packet, checked as msg_check does, and its descriptor (-1 if none; close-on-exec; the caller's). More
 * than one descriptor, or one with a type that carries none: all closed, SMPL_EPROTO. A dropped descriptor
 * (MSG_CTRUNC) of a MSG_OPENED is *fd = -1. SMPL_EAGAIN, SMPL_ECLOSED (peer gone), SMPL_EPROTO, SMPL_ESYS. */
int msg_receive(int sock, msg_t *m, msg_from_t from, int *fd);
