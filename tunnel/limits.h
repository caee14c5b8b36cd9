/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that bounds the tunnel, in one place. */
#pragma once

enum {
  /* command line, tunnel.yaml */
  FORWARDS_MAX = 64,        /* of one tunnel */
  FORWARD_TARGET_MAX = 254, /* bytes of a target's name, with NUL (RFC 1035 section 2.3.4) */
  FORWARD_PATH_MAX = 108,   /* bytes of a unix socket's path, with NUL (unix(7)) */
  IDENTITIES_MAX = 16,      /* files with keys */
  KNOWN_HOSTS_MAX = 4,      /* files with host keys */
  HOST_MAX = 254,           /* bytes of the bastion's name, with NUL */
  USER_MAX = 64,            /* bytes of a user's name, with NUL */
  PATH_TEXT_MAX = 4096,     /* bytes of a path, with NUL */
  WORDS_MAX = 16,           /* behind a command */
  SETS_MAX = 64,            /* in tunnel.yaml */

  /* ssh_config, as ssh -G tells it */
  SSH_CONFIG_REPORT_MAX = 256 << 10, /* bytes of the report */
  SSH_CONFIG_REPORT_MS = 10000,      /* for it: Match exec may run programs */
  SSH_CONFIG_FILES_MAX = 32,         /* files looked at for keys that matter, includes counted */
  SSH_CONFIG_FILE_MAX = 1 << 20,     /* bytes of one of them */
  SSH_CONFIG_STRINGS_MAX = 96,       /* values that are kept */
  SSH_CONFIG_ALIVE_MAX_S = 3600,     /* ServerAliveInterval */
  SSH_CONFIG_CONNECT_MAX_S = 600,    /* ConnectTimeout */

  /* connecting */
  DIAL_ADDRESSES_MAX = 16, /* of one name */
  DIAL_NEXT_MS = 250,      /* before the next address is tried beside the last */
  DIAL_SPEAK_MS = 500,     /* the same once one is connected, which then speaks in time or has company */
  DIAL_SILENT_MS = 3000,   /* after the last try: then one that is connected is taken although it is silent */
  DIAL_TIMEOUT_MS = 15000,
  SESSION_STEP_MS = 20000, /* for the key exchange, and for each answer to a login request */
  TALK_LATE_MS = 10000,    /* that the process which speaks may be late with telling that it was too late */
  TALK_END_MS = 300,       /* for it to end when it is told to */

  /* host keys */
  TRUST_FILE_MAX = 64 << 20,      /* bytes; read line by line */
  TRUST_KEYS_MAX = 64,            /* for one host at its port, and as many without a port */
  TRUST_AUTHORITIES_MAX = 16,     /* for one host; what comes behind them vouches for nothing */
  TRUST_LINE_MAX = 16384,         /* bytes; lines of this length are skipped, @revoked ones an error */
  TRUST_FINGERPRINT_MAX = 64,     /* "SHA256:..." with NUL */
  TRUST_HOST_MAX = 320,           /* "[host]:port" with NUL */
  AUTHORITY_ASK_MS = 8000,        /* for ssh-keyscan, and for ssh-keygen */
  AUTHORITY_MOST = 64 << 10,      /* bytes of what they print */
  AUTHORITY_PRINCIPALS_MAX = 256, /* names in a certificate; more are not looked at */
  REVOKED_FILE_MAX = 16 << 20,    /* bytes */
  REVOKED_ASK_MS = 10000,         /* for ssh-keygen, which reads revocation lists */
  KNOWN_COMMAND_WORDS_MAX = 32,   /* of KnownHostsCommand */
  KNOWN_COMMAND_MOST = 1 << 20,   /* bytes that it may print */
  KNOWN_COMMAND_MS = 10000,       /* that it may take */

  /* signing in */
  IDENTITY_FILE_MAX = 64 << 10,    /* bytes of a file with a key */
  IDENTITY_SAID_MAX = 4096,        /* bytes that ssh-keygen may print */
  IDENTITY_UNSEAL_MS = 60000,      /* for ssh-keygen: a passphrase may be stretched by many rounds */
  CERTIFICATE_FILE_MAX = 64 << 10, /* bytes of a file with a certificate */
  PASSPHRASE_MAX = 1024,           /* bytes, with NUL */
  PASSPHRASE_TRIES = 3,            /* for one file */
  AGENT_LIST_MS = 2000,            /* for the agent to say which keys it has */
  AGENT_SIGN_MS = 60000,           /* for a signature: somebody may have to touch a token */
  AGENT_MESSAGE_MAX = 256 << 10,   /* bytes of a message, as OpenSSH's own */
  AGENT_KEYS_MAX = 256,            /* keys of the agent's that are looked at */
  AGENT_NAME_MAX = 256,            /* bytes of a key's description, with NUL */

  /* asking the bastion */
  ASK_WAITING_MAX = 128, /* questions */
  ASK_SENT_MAX = 8,      /* under way at once; the bastion takes 16 */
  ASK_ANSWER_MS = 15000, /* for an answer */

  /* the path to the bastion */
  ALIVE_ASK_MS = 3000,        /* without a byte before a sign of life is asked for */
  ALIVE_DEAD_MS = 7000,       /* without a byte before the path counts as dead */
  ALIVE_FIRST_ASK_MS = 1000,  /* the same two of a session that nobody has used yet, */
  ALIVE_FIRST_DEAD_MS = 3000, /* in whose place another is sought */
  ALIVE_WOKE_MS = 2000,       /* for an answer after this machine or process has slept */
  BACKOFF_FIRST_MS = 250,     /* at most, before the first try */
  BACKOFF_BASE_MS = 500,      /* before the second; doubled each time */
  BACKOFF_MAX_MS = 15000,     /* before any */
  BACKOFF_SETTLED_MS = 10000, /* a session that lasted so long starts the count anew */
  BACKOFF_HURRY_MS = 1000,    /* after the last try, when somebody connects and waits for the next */
  TUNNEL_SLEPT_MS = 3000,     /* a wait that took so much longer than asked: the machine or we have slept */
  TUNNEL_STEP_MS = 100,       /* how often time limits are looked at while something is waited for */
  TUNNEL_STOP_MS = 20,        /* for the answer to `stop` to be written */

  /* local connections */
  LISTEN_SOCKETS_MAX = 2,        /* of one forward */
  LISTEN_BACKLOG = 256,          /* connections that the system holds for us */
  SOCKS_WANT_MAX = 257,          /* bytes asked for at once: a name of 255 and its port */
  SOCKS_REPLY_SIZE = 10,         /* bytes of any answer at most */
  SOCKS_HANDSHAKE_MS = 10000,    /* for all of it */
  TUNNEL_CONNECTIONS_MAX = 2048, /* at once; more wait in the listeners' backlog */
  TUNNEL_HELD_MAX = 256,         /* that wait for the bastion to come back; more are reset */
  TUNNEL_UNCLEAR_MAX = 16,       /* that were refused together and are asked for again one by one */
  TUNNEL_ALONE_MAX = 3,          /* times that one of them is asked for again */
  TUNNEL_OPEN_MS = 30000,        /* for the bastion to open a connection to the target */
  TUNNEL_REPEAT_MS = 10000,      /* the same refusal is said once in so long */

  /* programs beside the tunnel */
  CHILD_END_MS = 5000,         /* between asking the program to end and making it, when the tunnel is over */
  CHILD_STDIO_SIZE = 64 << 10, /* bytes read at once */
  CHILD_URL_MAX = 4096 + 128,  /* bytes of what the browser opens, with NUL */

  /* what is said */
  SAY_LIVE_MAX = 256,        /* bytes of the line at the bottom, with NUL */
  LIVE_ASK_S = 30,           /* how often the bastion is asked for the time left */
  JOB_CACHE_MAX = 256 << 10, /* bytes of the list that shells complete from */
  MANAGE_TUNNELS_MAX = 256,  /* of one user that status and stop look at */
  MANAGE_ASK_MS = 2000,      /* for one of them to answer */
};
