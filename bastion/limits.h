/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that bounds the bastion, in one place (invariant 9). contract/msg.h has the limits of
 * messages. */
#pragma once

enum {
  /* the audit */
  AUDIT_QUEUE_MAX = 16384,   /* records that wait for the disk; more are SMPL_ELIMIT */
  AUDIT_RETRY_MS = 1000,     /* between attempts while the disk refuses */
  AUDIT_CHECK_MS = 2000,     /* between looks at the file while nothing is written */
  AUDIT_LAZY_MS = 50,        /* that a record nobody needs at once waits for others to be synced with */
  AUDIT_GATHER_US = 300,     /* that the writer waits for more of a group while several wait for each sync */
  AUDIT_MOVED_MS = 5000,     /* that a file renamed away is still written to, for audit_reopen to come */
  AUDIT_LINE_MAX = 64 << 10, /* bytes of a record that the reader takes */
  AUDIT_HASH_TEXT = 64 + 1,  /* SHA-256 in hex, with NUL */
  AUDIT_KEPT_MS = 1000,      /* between two times that the head is kept in `state` */
  HEADSINK_MS = 1000,        /* between two heads that the second sink is told */
  HEADSINK_PATH_MAX = 108,   /* bytes of its socket's path, with NUL */
  ROTATED_MAX = 4096,        /* files of one audit */

  /* keys and signatures */
  USERKEY_BLOB_MAX = 2048, /* bytes of a user key's wire form */
  USERKEY_RSA_BITS_MIN = 2048,
  USERKEY_RSA_BITS_MAX = 8192,
  USERKEY_APPLICATION_MAX = 256, /* bytes of a security key's application, with NUL */

  /* configuration and keys files */
  CONFIG_LISTEN_MAX = 16,
  CONFIG_SEARCH_MAX = 8,
  CONFIG_USERS_MAX = 10000,
  CONFIG_GRANTS_MAX = 10000,
  CONFIG_NAME_MAX = 64, /* bytes of a user's or group's name, with NUL */
  CONFIG_CONNECTIONS_MAX = 16384,
  CONFIG_CHANNELS_MAX = 1024,
  CONFIG_SILENT_MAX = 100000,      /* silent connections of one source, a second and at once */
  CONFIG_STARTUPS_PER_SOURCE = 10, /* unless the configuration says otherwise */
  HOURS_WINDOWS_MAX = 16,          /* windows of hours in one grant */
  CONFIG_HOURS_LEN_MAX = 64,       /* bytes of one window as written */
  CONFIG_HOURS_TEXT_MAX = HOURS_WINDOWS_MAX * (CONFIG_HOURS_LEN_MAX + 2),
  CONFIG_DESCRIPTION_MAX = 200, /* bytes */
  CONFIG_DRAIN_MS = 5000,
  CONFIG_RATE_PER_SECOND = 100, /* connections of one user */
  CONFIG_RATE_BURST = 1000,
  CONFIG_RATE_MAX = 1000000,
  CONFIG_AUDIT_RESERVE = 16 << 20, /* bytes: about 40,000 records */
  CONFIG_OWN_MAX = 1024,           /* endpoints that the ssh listeners stand at */
  FAULTS_MAX = 10000,              /* faults whose text is kept; what is more is only counted */
  FAULTS_SHOWN_MAX =
      50, /* of them told in the log and over the control socket; `check` tells all that are kept */
  AUTHKEYS_FILE_MAX = 1 << 20, /* bytes of a keys file */
  AUTHKEYS_KEYS_MAX = 256,     /* keys of one user */
  AUTHKEYS_LINE_MAX = 16 << 10,
  AUTHKEYS_FROM_MAX = 64,      /* networks of one key */
  AUTHKEYS_COMMENT_MAX = 128,  /* bytes kept of a comment, escaped, with NUL */
  HOSTKEY_FILE_MAX = 16 << 10, /* bytes of a host key's file */
  HOSTKEY_RSA_BITS_MIN = 2048,
  HOSTKEY_RSA_BITS_MAX = 4096, /* with more a signature takes the broker's loop more than 4 ms */
  HOSTKEY_TEXT_MAX = 512,      /* bytes of hostkeys_describe */

  /* grants, names, connecting */
  GRANT_NAME_MAX = 254,       /* bytes of a name without its final dot, with NUL */
  GRANT_PORTS_MAX = 64,       /* ports in one pattern */
  OPENING_STAGGER_MS = 250,   /* between the start of one address and of the next */
  OPENING_ATTEMPTS_MAX = 4,   /* connects of one opening at once */
  OPENING_ADDRESS_MS = 5000,  /* for one address while there is one that was not tried */
  OPENING_TOTAL_MS = 15000,   /* for all, lookups not counted */
  CATALOG_DOMAINS_MAX = 256,  /* domains whose services are remembered at once */
  CATALOG_GATHER_MAX = 64,    /* domains of one question */
  CATALOG_NAMES_MAX = 256,    /* services of one domain */
  CATALOG_PARALLEL = 16,      /* SRV questions of one domain under way */
  CATALOG_MS = 4000,          /* for one domain; what is known by then is the answer */
  CATALOG_KEEP_MIN_MS = 5000, /* that services are remembered, however short the TTL: protects the resolver */
  CATALOG_KEEP_MAX_MS = 60000,

  /* penalties */
  PENALTY_ENTRIES_MAX = 65536, /* sources, networks and users; above it one that is over soon is forgotten */
  PENALTY_MIN_MS = 15000,      /* below that nothing is refused: a mistyped name costs nothing */
  PENALTY_MAX_MS = 600000,     /* that come together at most */
  PENALTY_CRASH_MS = 90000,    /* the worker died or broke its contract: somebody tries to take it over */
  PENALTY_AUTH_MS = 5000,      /* a login that failed */
  PENALTY_GRACE_MS = 10000,    /* keys exchanged, and no login within the grace time */
  PENALTY_USER_CRASH_MS = 10000, /* of a user: a worker that crashed or broke its contract after the login */
  PENALTY_NARROW_SHARE = 8,      /* a /56's part of a deed is one of so many */
  PENALTY_WIDE_SHARE = 16,       /* a /48's, an IPv4 /24's */
  PENALTY_SILENT_RATE = 5, /* connections without a try, a second, unless the configuration says otherwise */
  PENALTY_SILENT_BURST = 100, /* and at once */

  /* launcher, templates, pairs with workers */
  LAUNCHER_WAIT_MS = 10000, /* for an answer of the launcher */
  SPAWNER_WORKERS = 1000,   /* workers from one template */
  SPAWNER_FORKING_MAX = 16, /* workers that a template was asked for and has not made yet */
  SPAWNER_WAITING_MAX = 2 * CONFIG_CONNECTIONS_MAX, /* connections that wait to be among them */
  SPAWNER_RETRY_MIN_MS = 100, /* before a template that died is started again; doubles */
  SPAWNER_RETRY_MAX_MS = 5000,
  SPAWNER_FRESH_MS = 100, /* at least, between two templates that are started because of crashes; connections
                             wait meanwhile */
  SPAWNER_LOG_LINES_MAX = 50,       /* lines a second of the templates' and workers' that are logged */
  PEER_BATCH = 32,                  /* messages taken from one peer before the others have their turn */
  PEER_QUEUE_MAX = 1024,            /* messages that wait for room */
  PEER_QUEUE_BYTES_MAX = 256 << 10, /* and their bytes */

  /* sessions */
  SESSION_AUTH_FAILURES_MAX = 6, /* signed attempts that fail */
  SESSION_PROBES_MAX = 20,       /* keys offered without a signature */
  SESSION_NOTES_MAX = 80,        /* MSG_NOTEs; the worker itself stops earlier */
  SESSION_SLACK = 2,         /* what a sound worker may exceed the limits above by, on its way to the end */
  SESSION_CONTROLS_MAX = 64, /* smpl-control questions under way */
  SESSION_REFUSALS_MAX = 64, /* refusals remembered for `why`; the oldest gives way */
  SESSION_SIGN_BURST = 64,   /* host signatures for rekeys at once; slower keys count more (hostkey_cost) */
  SESSION_SIGN_PER_SECOND = 16,  /* and as they come back */
  SESSION_MESSAGE_BURST = 20000, /* messages from one worker at once */
  SESSION_MESSAGE_PER_SECOND = 20000,
  SESSION_QUESTION_BURST = 200, /* smpl-control questions at once */
  SESSION_QUESTION_PER_SECOND = 50,
  SESSION_END_MS = 2000,         /* for the worker to say goodbye to its client */
  SESSION_EXIT_MS = 1000,        /* between the end of the pair and the word how the worker ended */
  SESSION_UNGRANTED_MS = 600000, /* idle and session time of a user without any grant */
  EVENTS_WARN_MS = 60000,        /* before its end a session's client is warned */
  EVENTS_AVERTED_MS = 1000,      /* that the time left has grown by when the end is averted */
  TARGETS_ROWS_MAX = 64,         /* rows in an answer to `targets` */
  QUESTION_BUDGET = 12000,       /* bytes of an answer: a line has 16,383, the id and quotes included */

  /* what users and sources take */
  SHARES_FEW_SESSIONS = 4, /* a user with fewer may have the last place; of more, so many count as one */
  SHARES_CHANNEL_PART =
      2, /* a user holds at most half of the forwarded connections that are left: a third while he is alone */
  SHARES_DESCRIPTORS_OWN = 200, /* listeners, files, control socket, templates, questions to DNS */
  SHARES_DESCRIPTORS_SESSION = 4,
  SHARES_CHANNELS_MIN = 16,  /* of all users, however few descriptors there are */
  USAGE_USERS_MAX = 16384,   /* users told apart: as many as there can be sessions */
  USAGE_NAME_MAX = 64,       /* bytes of a name, with NUL */
  USAGE_WINDOW_MS = 3600000, /* who wrote most is asked of this hour and the one before */
  USAGE_SHARE_DIVISOR = 16,  /* whoever wrote less than this part of what was used up never has to give way */
  USAGE_RELIEF_DIVISOR =
      8,              /* as much more than the reserve must be free before those who gave way may come back */
  REPEATS_BURST = 50, /* records written singly at once */
  REPEATS_PER_SECOND = 1, /* and as they come back */
  REPEATS_KINDS = 8,      /* kinds told apart; what exceeds them is told as one */
  REPEATS_MS = 30000,     /* between the first that is counted and its record */
  REPEATS_SOURCES = 128,  /* sources told apart; what exceeds them shares one budget */
  REPEATS_OF_NETWORK =
      8, /* of one network (an IPv6 /48, an IPv4 /24); what exceeds them shares one budget of the network's */
  KNOWN_MS = 600000, /* that a source is known after a login, and after the end of a session */
  KNOWN_OF_USER_MAX =
      8, /* sources of one user; with one more the one of that user that is over soonest is forgotten */
  KNOWN_MAX = 4096,      /* sources of all users; with one more the one that is over soonest is forgotten */
  BLOCKS_MAX = 4096,     /* users and keys; more are SMPL_ELIMIT */
  BLOCKS_WHO_MAX = 64,   /* bytes of a user's name or a fingerprint, with NUL */
  BLOCKS_TEXT_MAX = 256, /* bytes of a reason, escaped, with NUL */
  BLOCKS_FILE_MAX = 8 << 20, /* bytes that are read */
  BLOCKS_RETRY_MS = 10000,   /* between attempts to write what could not be written */

  /* the broker */
  BROKER_SWEEP_MS = 250,     /* how exact deadlines are */
  BROKER_READY_MS = 15000,   /* for the first template to be ready */
  RELOAD_RETIRED_MS = 60000, /* how long lookups of the configuration before may still be answered */
  LISTENER_LOG_MS = 10000,   /* between two lines in the log of one rule that closes connections */
  LISTENER_BACKLOG = 1024,   /* connections that the kernel keeps while a template is started */
  LISTENER_BATCH = 16,       /* connections accepted before others have their turn */

  /* workers */
  WORKER_OWN_FDS = 5, /* before any channel: standard ones, the pair, the client */
  /* Bytes of address space: libraries and libssh's buffers, then what a stalled channel may hold. */
  WORKER_MEMORY_BASE = 192 << 20,
  WORKER_MEMORY_CHANNEL = 3 << 20,
  WORKER_PAIR_QUEUE_MAX =
      600, /* messages kept: every open channel may be answered while a signature is waited for */
  WORKER_PAIR_WAIT_MS = 15000,     /* for one answer, or for room in the broker's queue */
  WORKER_CHANNELS_CAP = 1024,      /* whatever the broker's limit says */
  WORKER_CONTROLS_MAX = 4,         /* session channels at once */
  WORKER_CONTROL_PENDING_MAX = 16, /* questions of one smpl-control channel that wait for their answers */
  WORKER_AUTH_QUEUE_MAX = 8,       /* login requests that wait behind the one the broker has */
  WORKER_NOTES_MAX = 64,           /* refusals told to the broker; a peer that makes more is cut off */
  WORKER_FULL_NOTES_MAX =
      16,                    /* of them for connections above the limit; more go unsaid, and cut nobody off */
  WORKER_TRAFFIC_MS = 1000,  /* between two counts of a connection's bytes */
  WORKER_START_MS = 10000,   /* for the broker's first message */
  WORKER_UNHEARD_MS = 10000, /* that an event waits for a smpl-control channel to tell it to */
  WORKER_EVENTS_MS = 100,    /* between the event that tells of the end and the disconnect */
  WORKER_LAST_WORDS_MS = 500, /* to get the disconnect message out */
};
