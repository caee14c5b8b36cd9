/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound of the http side in one place. Each has a test at it. */
#pragma once

enum {
  LIMIT_HEAD = 32 << 10,          /* bytes of request line and headers, final empty line included */
  LIMIT_TARGET = 8 << 10,         /* bytes of the request target */
  LIMIT_HEADERS = 100,            /* header lines */
  LIMIT_HOST = 255 + 6,           /* bytes of Host: a DNS name and ":65535" */
  LIMIT_BODY = 1 << 20,           /* bytes of a request body */
  LIMIT_JSON_DEPTH = 64,          /* nested arrays and objects in a request body */
  LIMIT_JSON_VALUES = 50000,      /* scalars, arrays and objects in a request body */
  LIMIT_LENGTH_DIGITS = 18,       /* digits of Content-Length: fits 64 bits without overflow */
  LIMIT_QUERY_PARAMETERS = 128,   /* query parameters a handler can see; more are 400 */
  LIMIT_ROUTE_PARAMETERS = 4,     /* {parameters} in one route's path */
  LIMIT_ROUTE_SEGMENTS = 12,      /* segments of one route's path */
  LIMIT_ROUTES = 256,             /* routes of one service, built-in ones included */
  LIMIT_REQUEST_MEMORY = 4 << 20, /* bytes a request's own memory grows to */
  LIMIT_REPLY_HEADERS = 2048,     /* bytes of headers that a handler adds to one reply */
  LIMIT_REQUEST_ID = 64,          /* bytes of a client's X-Request-Id that is taken over */

  LIMIT_LISTENERS = 16,              /* http listeners of one process */
  LIMIT_RULES = 64,                  /* rules of one listener */
  LIMIT_RULE = 255,                  /* bytes of one rule */
  LIMIT_CLIENTS = 1024,              /* networks in one listener's clients */
  LIMIT_BALANCERS = 64,              /* addresses and networks in balancers */
  LIMIT_HOSTS = 64,                  /* names in one listener's hosts */
  LIMIT_SISTERS = 16,                /* base URLs in sisters */
  LIMIT_RATE_REQUESTS = 1000,        /* of one API key a second, where rate_limit says nothing */
  LIMIT_RATE_REQUESTS_MAX = 1000000, /* the most that rate_limit.requests may be */
  LIMIT_RATE_BURST_MAX = 10000000,   /* the most that rate_limit.burst may be */
  LIMIT_CONNECTIONS = 16384,         /* open connections of one listener */
  LIMIT_HANDSHAKES = 1024,           /* TLS handshakes under way at one listener: 60 KB each */
  LIMIT_HANDSHAKES_SOURCE = 256,     /* of them, of one source */
  LIMIT_FILES_MIN = 128,             /* open files without which a service does not start, */
  LIMIT_FILES_LISTENER = 16,         /* and so many more for each http listener */
  LIMIT_FILES_KEPT = 384,            /* open files kept for everything but connections of clients */
  LIMIT_TRIM_VALUES = 5000, /* values of a request after which freed memory is given back to the system */
  /* Bytes of all heads that are still coming, of what came behind requests under way, of TLS records cut off.
   */
  LIMIT_HEADS = 32 << 20,
  LIMIT_HEAD_FIRST = 256,      /* bytes that the first part of a head gets; doubled as it comes */
  LIMIT_BODIES = 64 << 20,     /* bytes of all bodies that are still coming */
  LIMIT_BODY_FIRST = 16 << 10, /* bytes that a body gets before it has come; doubled as it comes */
  LIMIT_PARSE_HERE =
      4 << 10, /* bytes of a body that is parsed on the loop; of bigger ones threads take care */
  LIMIT_PARSE_HERE_VALUES = 256, /* values of such a body: it costs about as much as its head does */
  LIMIT_PARSE_THREADS = 2,
  LIMIT_PARSE_WAITING = 1024,  /* bodies that wait for them */
  LIMIT_PARSE_TURN = 16 << 10, /* bytes of bodies that an account may have parsed in one turn */
  LIMIT_PARSED = 16, /* big bodies that are parsed, from then until they are freed: LIMIT_JSON_VALUES each */
  LIMIT_PARSED_SHARE = 4, /* of them, of one account, or source where no account is known */
  LIMIT_VALUES =
      1000000, /* parsed JSON values of all small bodies of requests under way, one may be 250 bytes */
  LIMIT_REPLIES = 64 << 20, /* bytes of all answers that their peers have not taken */
  LIMIT_SLICE =
      256 << 10, /* bytes of one answer that a turn of the loop hands on; twice as many at its beginning */
  LIMIT_BACKLOG = 1024, /* connections the kernel keeps until they are accepted */
  LIMIT_SKIP =
      16 << 10, /* bytes of a body that are passed over behind a 429, so that the connection goes on */
  LIMIT_LINGER_BYTES = 4 << 20, /* bytes thrown away after a refusal before the connection is cut */
  LIMIT_LOOSE_BYTES = 64 << 10  /* bytes of handshakes and alerts that a peer has not taken */
};

/* Milliseconds; the sweep that enforces them runs every LIMIT_TICK_MS. */
enum {
  LIMIT_HANDSHAKE_MS = 10000, /* from accepting a connection to the end of its TLS handshake */
  LIMIT_HEAD_MS = 10000,      /* from the first byte of a head to its last */
  LIMIT_BODY_MS = 30000,      /* from the end of the head to the last byte of the body */
  LIMIT_IDLE_MS = 75000,      /* between requests: longer than a load balancer's 60 s */
  LIMIT_WRITE_MS = 30000,     /* without any byte of a reply being taken */
  LIMIT_REPLY_MS = 120000,    /* for a reply to be taken whole, however steadily */
  LIMIT_LINGER_MS = 2000,     /* for the peer to close after a refusal */
  LIMIT_DRAIN_MS =
      10000, /* for requests under way when the program is told to end; drain.finish says otherwise */
  LIMIT_DRAIN_MAX_MS = 600000, /* the most that drain.lag and drain.finish may be */
  LIMIT_TRIM_MS = 1000,        /* between two such occasions */
  LIMIT_TICK_MS = 250
};
