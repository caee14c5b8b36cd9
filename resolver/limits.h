/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that bounds the resolver, in one place (invariant 9). */
#pragma once

enum {
  /* configuration */
  LISTENERS_MAX = 64,
  VIEWS_MAX = 20000,
  ZONES_MAX = 100000,
  WORKERS_MAX = 256,

  /* master files */
  ZONE_FILE_MAX = 1 << 30,    /* bytes of one file */
  ZONE_INCLUDE_DEPTH_MAX = 8, /* $INCLUDE within $INCLUDE */
  ZONE_INCLUDES_MAX = 1000,   /* files of one zone */
  SCAN_TOKENS_MAX = 70000,    /* words of one record; TXT of 65,535 bytes needs most */
  SCAN_ENTRY_MAX = 300000,    /* bytes of one record's words; every byte as \DDD needs most */
#ifdef SMPL_FUZZ
  ZONE_GENERATE_MAX = 1000, /* a fuzzer is to spend its time on other things than great numbers */
#else
  ZONE_GENERATE_MAX = 1000000, /* records one $GENERATE makes */
#endif
  RRSET_WIRE_MAX =
      64000, /* bytes of an rrset as it stands in an answer: fits a TCP message with its question */
  ZONE_TTL_MAX = 0x7fffffff, /* seconds, RFC 2181 section 8 */

  /* answers */
  CHAIN_MAX = 16,                      /* CNAMEs and DNAMEs followed for one question */
  ADDITIONAL_TARGETS_MAX = 32,         /* names of one answer whose addresses are added */
  COOKIE_AGE_MAX_S = 3600,             /* seconds that a server cookie is believed, RFC 9018 section 4.3 */
  COOKIE_AHEAD_MAX_S = 300,            /* and how far it may seem to be from the future */
  COOKIE_ROTATE_MS = 24 * 3600 * 1000, /* how long a secret makes cookies */
  RATE_DEFAULT = 200, /* answers a second of each kind, to one network from one worker, in public views */
  RATE_MAX = 1000000,
  RATE_SLIP = 2,        /* above the rate every second answer is a short one, the others are dropped */
  RATE_SETS = 1 << 14,  /* of four networks each, per worker: 1 MiB */
  UDP_REPLY_MAX = 1232, /* bytes, and what our OPT advertises */
  UDP_REPLY_MIN = 512,  /* without EDNS */
  UDP_QUERY_MAX = 4096, /* bytes taken of a datagram; a longer one is FORMERR */
  MESSAGE_MAX = 65535,  /* over TCP */

  /* a worker */
  UDP_BATCH = 64,             /* datagrams per system call */
  UDP_ROUNDS_MAX = 16,        /* full batches taken from one socket before the others have their turn */
  UDP_RCVBUF = 4 << 20,       /* bytes asked of the kernel per socket */
  TCP_CONNS_MAX = 16384,      /* of all workers together, each its part; the source with most gives way */
  TCP_IDLE_MS = 10000,        /* without a whole query arriving or an answer being taken */
  TCP_LIFE_MS = 3600 * 1000,  /* of a connection in all */
  TCP_BUFFERS_MAX = 64 << 20, /* bytes of unfinished queries and untaken answers, shared out likewise */
  TCP_TURN_BYTES = 8192,      /* read from one connection before the others have their turn */
  TCP_TURNS_MAX = 16,         /* turns of connections before waiting datagrams are looked at */
  TCP_BACKLOG = 1024,
  LATER_PLACES_MAX =
      4096,             /* questions that wait for an answer from elsewhere, of all workers, each its part */
  LATER_WAIT_MS = 5000, /* that they wait; then SERVFAIL */

  /* the main thread */
  DRAIN_MAX_MS = 3000,      /* that unfinished TCP queries get at an end */
  DRAIN_STEP_MS = 10,       /* between looks at whether they are done */
  WATCH_QUIET_MS = 200,     /* without a further change before files are read again */
  WATCH_WAIT_MAX_MS = 2000, /* from the first change on, however many follow */
  QUERY_LOG_RING = 8192,    /* answers of a worker that wait to be written */
  QUERY_LOG_SHARE = 512,    /* of them to one network, once half of the ring is taken */
  QUERY_LOG_STEP_MS = 20,   /* between writes */
  QUERY_LOG_SAMPLE_MAX = 1000000,
  WATCHDOG_SIGNS = 4, /* signs of life within what the service manager asks for */

  /* questions of the operator */
  MATRIX_QUESTIONS_MAX = 200000, /* names and types times views of one table */
  EXPECT_FILE_MAX = 64 << 20,    /* bytes of a table to compare with */
};
