/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that bounds smpl-app, in one place (invariant 9). What a format has room for (a key, a UUID)
 * stands beside the format. */
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
  LIMIT_LOOSE_BYTES = 64 << 10, /* bytes of handshakes and alerts that a peer has not taken */

  /* what connections hold together */
  ROOM_LOOK = 64,  /* connections looked at to find the one that gives way: a bounded part of a flood */
  ROOM_SHARE = 16, /* a network with more than one in so many of a listener's places gives way before anybody
                      else's idle connection does */
  CONN_READ_SIZE = 64 << 10, /* bytes read at a time */

  /* the order of work on the loop */
  PACE_REQUESTS = 4,     /* of one connection in one round */
  PACE_BEGUN = 32,       /* requests of one network that begin in one round as they are read */
  PACE_BEGUN_ALL = 128,  /* of all networks, at one listener */
  PACE_ACCEPTS = 32,     /* connections that a listener accepts in one round */
  PACE_SLOTS = 256,      /* counters for networks; two that share one share their requests of a round */
  PACE_CONNECTIONS = 32, /* of one listener that go on in one round, in turns by network */
  PACE_HANDSHAKES = 4,   /* steps of handshakes at one listener in one round */
  /* Bytes that a connection reads at a time, up to the end of a head, while half of the room for heads is
   * taken: so many of every connection of a listener fit into the other half. */
  PACE_CROWDED_READ = 1 << 10,
  PACE_HELLO_MAX = 16 << 10, /* bytes of one step that are kept until its turn */

  /* TLS */
  TLS_FILE_MAX = 1 << 20,    /* bytes of a certificate's or key's file */
  TLS_CHAIN_MAX = 16,        /* certificates in the file */
  TLS_OUTPUT_MAX = 96 << 10, /* bytes of ciphertext that one call can make */
  TLS_WRITE_MAX = 32 << 10,  /* bytes of plaintext for one call of tls_write */
  TLS_WARN_DAYS = 14,        /* before a certificate's end, loading it warns */
  TLS_SUBJECT_MAX = 256,     /* bytes of a certificate's subject as text, with NUL */

  /* who may call inside */
  INTERNAL_KEYS_MAX = 64,        /* accepted */
  INTERNAL_KEYS_OF_NAME_MAX = 2, /* an old and a new one, while keys are exchanged */
  INTERNAL_NAME_MAX = 33,        /* bytes with NUL */
  INTERNAL_KEY_FILE_MAX = 256,   /* bytes: the key, and a line's end */

  /* the access log, and metrics */
  ACCESS_TARGET_MAX = 1024,      /* bytes of the target that are logged */
  ACCESS_BUFFER_SIZE = 64 << 10, /* bytes gathered before a write */
  EXPOSITION_NUMBERS_MAX = 32,   /* metrics that a service adds */

  /* the program */
  RELOAD_WAITING_MAX = 32, /* requests that wait for a reload: one a connection */
  WALLS_PORTS_MAX = 64,    /* TCP ports that the process can connect to */

  /* requests of one API key */
  RATES_KEYS_MAX = 16384, /* keys that are counted at a time */
  RATES_LOOK = 16,        /* of them looked at to find a place */
  RATES_BURST_FACTOR = 5, /* burst, for so many seconds of requests, where it is not given */

  /* keys that the account service is asked about */
  KEYCHECK_ACTIVE_MS = 30000,     /* an active key is believed in that long */
  KEYCHECK_STALE_MS = 60000,      /* and that much longer while the account service cannot be asked */
  KEYCHECK_STALE_RETRY_MS = 2000, /* meanwhile it is asked again that often */
  KEYCHECK_REFUSED_MS = 5000,     /* an unknown key is refused that long without a question */
  KEYCHECK_ACTIVE_MAX = 4096,     /* keys kept */
  KEYCHECK_ACTIVE_SHARE = 16, /* an account with more than one in so many of them gives up its longest unused
                                 for another; if there is none, the longest unused of all goes */
  KEYCHECK_REFUSED_MAX =
      4096, /* apart, so that made-up keys cannot drive out real ones; whose source has most goes first */
  KEYCHECK_ASKED_MAX = 64,  /* questions under way; more are queued */
  KEYCHECK_QUEUE_MS = 3000, /* a question waits that long for its turn, then 503 */
  KEYCHECK_WAITING_MAX =
      1024, /* requests with known keys waiting for an answer, by account: the newest of whichever
                                  has most gives way, with 503 unless its key is still believed in */
  KEYCHECK_TIMEOUT_MS = 3000, /* of one question */

  /* requests with keys that are not known yet */
  STRANGERS_WAITING_MAX = 1024,     /* requests that wait, of everybody */
  STRANGERS_ASKED_MAX = 24,         /* questions under way */
  STRANGERS_ASKED_NETWORK_MAX = 16, /* of them, of one network */

  /* calls to sisters */
  SISTER_CALLS_MAX = 256,           /* under way at once; more are SMPL_ELIMIT */
  SISTER_CONNECTIONS_MAX = 32,      /* kept alive or under way; calls beyond wait their turn */
  SISTER_IDLE_S = 20,               /* a kept connection older than this is not used again */
  SISTER_TRIES_MAX = 4,             /* addresses tried when connecting fails */
  SISTER_CONNECT_TIMEOUT_MS = 1000, /* each of them */
  SISTER_RESPONSE_MAX = 1 << 20,    /* bytes of body */
  SISTER_HOST_MAX = 254,            /* characters with NUL */
  SISTER_URL_MAX = 1024,
  SISTER_WHY_MAX = 256,

  /* answers that are kept */
  ANSWERS_MAX = 4096,           /* answers kept */
  ANSWERS_BYTES_MAX = 32 << 20, /* of their bodies */
  ANSWERS_SHARE = 16,        /* an account with more than one in so many of either gives up its longest unused
                                   for another; if there is none, the longest unused of all goes */
  ANSWERS_ONE_MAX = 2 << 20, /* bytes of one; a bigger one is not kept */
  ANSWERS_TARGET_MAX = 512,  /* bytes of path and query; what is asked for at greater length is not kept */
  ANSWERS_CHAIN_MAX = 8,     /* answers whose hash is the same: nobody can make looking one up slow */

  /* JSON:API */
  JSONAPI_PAGE_SIZE_MAX = 1000, /* also the default */
  JSONAPI_PAGE_NUMBER_MAX = 1000000000,
  JSONAPI_FILTERS_MAX = 8,
  JSONAPI_SEARCH_MAX = 255,         /* bytes of a filter's value */
  JSONAPI_LIST_BYTES_MAX = 1 << 20, /* of one page's resources: it ends early, but not before its first */

  /* errors of JSON:API */
  PROBLEM_POINTER_MAX = 1024, /* longest JSON pointer told; a longer one is cut at a whole member */
  PROBLEM_DETAIL_MAX = 512,

  /* the store */
  STORE_CALLS_MAX = 8192, /* under way in one store; more are SMPL_ELIMIT */
  STORE_CALL_MS = 2000,   /* one operation may take that long once it is its turn */

  /* reads of the store, and lists of tenants */
  PRODUCT_READS_MAX = 1024,  /* reads that wait for the store, in turns by account; whoever has most of them
                                gives way */
  PRODUCT_READ_TURN_MS = 10, /* of the store's time: one that took longer is paid for with as many turns */
  TENANTS_PAGE_MAX = 1000,   /* ids in one page of those that are known here */

  /* SQLite behind the store */
  STORAGE_QUEUE_MAX =
      1024, /* jobs that wait; whoever has most of them gives one up for somebody with fewer */
  STORAGE_READS_MAX = 1024,       /* the same of long reads */
  STORAGE_LOOP_MS = 2,            /* a read may keep the loop that long */
  STORAGE_LOOP_BYTES = 32 << 10,  /* and give it so much text, which somebody there will take apart */
  STORAGE_GROUP_MAX = 256,        /* jobs in one transaction */
  STORAGE_GROUP_MS = 5,           /* after that long, what has run is committed before more is run */
  STORAGE_JOB_MS = STORE_CALL_MS, /* one job may take that long; the others wait for it */
  STORAGE_STMTS_MAX = 96,         /* prepared statements a connection */
  STORAGE_WRITE_BUSY_MS = 5000,   /* wait for another process's transaction */
  STORAGE_READ_BUSY_MS = 100,     /* the same on the loop's thread */
  STORAGE_SHARE_MS = 1,           /* left to others between two transactions, while they write too */
  STORAGE_CHECK_MAX = 64 << 20,   /* bytes; the pages of a bigger file are not all checked at start */

  /* an account's share of the loop's time */
  SHARES_CHEAP_US =
      200, /* a read this short is not counted: however many come, connections take turns anyway */
  SHARES_FREE_US = 20000, /* of the loop's time that an account may have used and still be served on it */
  SHARES_PART = 4,        /* one in so many: the part of the loop's time that counts as paid back meanwhile */
  SHARES_SLOTS = 256,     /* accounts are told apart by a hash; two that have the same one share their time */

  /* backups */
  BACKUP_PAGES = 256, /* copied between two looks whether to go on */

  /* accounts */
  ACCOUNT_NAME_MAX = 255,
  ACCOUNT_NAME_BYTES = 4 * ACCOUNT_NAME_MAX + 1, /* as UTF-8, with NUL */
  ACCOUNT_KEY_MAX = 64,                          /* characters of the key made of the name, with NUL */
  ACCOUNT_KEY_BYTES = ACCOUNT_KEY_MAX + 16,      /* with a number behind it */
  ACCOUNT_TOMBSTONE_DAYS =
      90,                   /* a deleted account is remembered, for sisters whose data is older than that */
  ACCOUNT_BURIED_MAX = 256, /* forgotten for good in one transaction */

  /* API keys of an account */
  API_KEY_NAME_MAX = 255,
  API_KEYS_MAX = 1000,          /* in one account */
  API_KEY_TOUCH_MS = 60 * 1000, /* last_used_at is not more exact than that */
  NOTICE_COUNT_MAX = 10000,     /* rows that are counted; more is that many */
  OUTBOX_SISTERS_MAX = 16,      /* that are told of accounts */
  OUTBOX_ROWS = 8,              /* that one look into the outbox gives of either kind */
  ACCOUNTS_WAIT_MS = 2000,      /* a new account's 201 waits that long for the sisters */
  ACCOUNTS_TOUCHES_MAX = 64,    /* last_used_at updates under way; more are left out */

  /* the file of revocations */
  REVOCATIONS_RETRY_MS = 5000, /* between two looks for lines that are missing in the file */
  REVOCATIONS_BATCH = 256,     /* lines written by one job */
  REVOCATION_LINE_MAX = 128,

  /* telling sisters of accounts */
  OUTBOX_PARALLEL = 4, /* accounts told to one sister at once, while it answers */
  OUTBOX_AGAIN = 2,    /* of these, what was told before: at least one, so that neither waits for the other */
  OUTBOX_TIMEOUT_MS = 3000,  /* of one call */
  OUTBOX_PAUSE_MIN_MS = 250, /* after the first failure; doubles */
  OUTBOX_PAUSE_MAX_MS = 5000,
  OUTBOX_TICK_MS = 250,     /* how often due work is looked for while there is some */
  OUTBOX_POLL_MS = 5000,    /* and when there is none: another process may have written some */
  OUTBOX_NEWS_MS = 60000,   /* between two lines about one sister's databases */
  OUTBOX_WAITERS_MAX = 256, /* requests that wait for sisters to be told */

  /* accounts that a sister has and we have not */
  STRAYS_MAX = 1000,              /* of one sister, that are kept by their ids; the others are only counted */
  STRAYS_TOLD_MAX = 20,           /* of these, named in one sentence */
  STRAYS_TEXT_MAX = 1024,         /* of that sentence */
  WATCH_ASK_MS = 5000,            /* between two questions, and the time that a sister has for its answer */
  WATCH_WALK_MS = 60 * 60 * 1000, /* between two comparisons */
  WATCH_PAGE = 500,               /* ids compared at a time, in one transaction */
  WATCH_STRAYS_MAX = 50000,       /* unknown ids after which a comparison ends: a list may have no end */

  /* configs */
  CONFIG_NAME_MAX = 255,
  CONFIG_DESCRIPTION_MAX = 1000,
  CONFIG_ITEMS_MAX = 5000,       /* in one config */
  CONFIG_ENVIRONMENTS_MAX = 100, /* the same */
  CONFIG_KEY_MAX = 255,          /* characters of an item's or environment's key */
  CONFIG_DEPTH_MAX = 16,         /* configs on the way from a root to its farthest child */
  CONFIGS_MAX = 10000,           /* in one account */
  CONFIG_ENTRIES_MAX =
      200000, /* in one account: items of all configs, and items that their environments override */

  /* flags */
  FLAG_NAME_MAX = 255,
  FLAG_DESCRIPTION_MAX = 1000,
  FLAG_VALUES_MAX = 1000,         /* of a constrained flag */
  FLAG_ENVIRONMENTS_MAX = 100,    /* in one flag */
  FLAG_RULES_MAX = 1000,          /* in one environment */
  FLAG_KEY_MAX = 255,             /* characters of an environment's key */
  FLAGS_MAX = 10000,              /* in one account */
  FLAG_SCAN_BYTES_MAX = 16 << 20, /* of environments that a list with a context looks through */
  FLAG_PARSE_BYTES_MAX = 4 << 20, /* the same, of those that name the context's type anywhere */
};

/* Milliseconds; the sweep that enforces them runs every LIMIT_TICK_MS. */
enum {
  LIMIT_HANDSHAKE_MS = 10000, /* from accepting a connection to the end of its TLS handshake */
  LIMIT_HEAD_MS = 10000,      /* from the first byte of a head to its last */
  LIMIT_BODY_MS = 30000,      /* from the end of the head to the last byte of the body */
  LIMIT_IDLE_MS = 75000,      /* between requests: longer than a balancer's 60 s */
  LIMIT_WRITE_MS = 30000,     /* without any byte of a reply being taken */
  LIMIT_REPLY_MS = 120000,    /* for a reply to be taken whole, however steadily */
  LIMIT_LINGER_MS = 2000,     /* for the peer to close after a refusal */
  LIMIT_DRAIN_MS =
      10000, /* for requests under way when the program is told to end; drain.finish says otherwise */
  LIMIT_DRAIN_MAX_MS = 600000, /* the most that drain.lag and drain.finish may be */
  LIMIT_TRIM_MS = 1000,        /* between two such occasions */
  LIMIT_TICK_MS = 250,
  LIMIT_TLS_LOOK_MS = 1000, /* between two looks at the files of certificates */
  LIMIT_HEALTH_MS = 100,    /* how long the storage's answer to "are you there?" counts */
  LIMIT_ASK_MS = 5000,      /* that a command waits for the running service's answer */
};
