/* SPDX-License-Identifier: Apache-2.0 */
/* Why a session ended, a channel was refused or a login failed: one list for the bastion's audit,
 * smpl-control and the client. The name is stable (it stands in audit records), the text is for people. */
#pragma once

#define REASON_LIST(X)                                                                                       \
  X(NONE, "none", "no reason")                                                                               \
  /* a session's end */                                                                                      \
  X(CLIENT_CLOSED, "client-closed", "the client closed the session")                                         \
  X(CLIENT_VANISHED, "client-vanished", "the connection to the client broke")                                \
  X(LOGIN_GRACE, "login-grace", "no login within the grace time")                                            \
  X(AUTH_FAILED, "auth-failed", "too many failed logins")                                                    \
  X(PROTOCOL_ERROR, "protocol-error", "the client broke the SSH protocol")                                   \
  X(IDLE, "idle", "no bytes were forwarded for the grant's idle time")                                       \
  X(SESSION_LIMIT, "session-limit", "the grant's session time is over")                                      \
  X(TERMINATED, "terminated", "an administrator ended the session")                                          \
  X(POLICY_CHANGED, "policy-changed", "the policy no longer grants this session")                            \
  X(SHUTDOWN, "shutdown", "the bastion is stopping")                                                         \
  X(WORKER_DIED, "worker-died", "the session's process died")                                                \
  X(WORKER_MISBEHAVED, "worker-misbehaved", "the session's process broke its contract with the broker")      \
  X(AUDIT_FAILED, "audit-failed", "the audit record could not be written")                                   \
  X(BASTION_DIED, "bastion-died", "the bastion's own process died")                                          \
  X(TOO_MANY_CONNECTIONS, "too-many-connections", "the bastion has reached its limit of connections")        \
  X(TOO_MANY_SESSIONS, "too-many-sessions", "the user has reached the limit of sessions")                    \
  X(TOO_MANY_CRASHES, "too-many-crashes", "sessions of this user crashed too often, try again in a minute")  \
  X(AUDIT_RESERVE, "audit-reserve", "the audit's disk is nearly full, and this user wrote most of late")     \
  /* a login's refusal */                                                                                    \
  X(UNKNOWN_KEY, "unknown-key", "this key is not on file for this user")                                     \
  X(UNKNOWN_USER, "unknown-user", "no such user")                                                            \
  X(KEY_EXPIRED, "key-expired", "this key has expired")                                                      \
  X(SOURCE_NOT_ALLOWED, "source-not-allowed", "this key may not be used from this address")                  \
  X(KEY_NOT_ACCEPTED, "key-not-accepted", "this kind of key is not accepted")                                \
  X(BAD_SIGNATURE, "bad-signature", "the signature does not verify")                                         \
  X(METHOD_NOT_ACCEPTED, "method-not-accepted", "only public keys are accepted")                             \
  X(BLOCKED, "blocked", "an administrator has blocked this user or key")                                     \
  /* a channel's refusal */                                                                                  \
  X(NOT_GRANTED, "not-granted", "no grant covers this target")                                               \
  X(OUTSIDE_HOURS, "outside-hours", "the grant for this is not in force at this hour")                       \
  X(PORT_NOT_GRANTED, "port-not-granted", "the grant covers this name, not this port")                       \
  X(BAD_TARGET, "bad-target", "the target's name or port is malformed")                                      \
  X(UNKNOWN_NAME, "unknown-name", "the name does not exist")                                                 \
  X(NO_ADDRESS, "no-address", "the name has no address")                                                     \
  X(RESOLVER_FAILED, "resolver-failed", "the name could not be looked up")                                   \
  X(NAME_LEAVES_DOMAIN, "name-leaves-domain", "the name is an alias that leaves the searched domain")        \
  X(ADDRESS_NOT_GRANTED, "address-not-granted", "the name has an address outside the grant's networks")      \
  X(CONNECTION_REFUSED, "connection-refused", "the target refused the connection")                           \
  X(CONNECT_TIMEOUT, "connect-timeout", "the target did not answer in time")                                 \
  X(NO_SOURCE_ADDRESS, "no-source-address", "the bastion has no address of this family to connect from")     \
  X(TOO_MANY_LOOKUPS, "too-many-lookups", "too many names are being looked up for this user, try again")     \
  X(TARGET_UNREACHABLE, "target-unreachable", "the target cannot be reached")                                \
  X(TOO_MANY_CHANNELS, "too-many-channels", "the session has reached its limit of connections")              \
  X(CONNECTION_RATE, "connection-rate", "the user opens more connections a second than the limit allows")    \
  X(NO_SERVICE_PORT, "no-service-port", "the name has no SRV record that says its port")                     \
  X(NOT_OFFERED, "not-offered", "this bastion forwards ports and does nothing else")                         \
  /* a channel's end */                                                                                      \
  X(CHANNEL_CLOSED, "channel-closed", "both sides finished")                                                 \
  X(TARGET_RESET, "target-reset", "the target broke the connection")                                         \
  X(CLIENT_RESET, "client-reset", "the client closed the channel early")                                     \
  X(SESSION_ENDED, "session-ended", "the session ended with the channel open")

typedef enum reason {
#define REASON_ENUM(id, name, text) REASON_##id,
  REASON_LIST(REASON_ENUM)
#undef REASON_ENUM
      REASON_COUNT
} reason_t;

/* "not-granted"; "none" for a value outside the list. */
const char *reason_name(reason_t reason);
/* One line for people, no full stop. */
const char *reason_text(reason_t reason);
/* REASON_NONE for a name that is not in the list. */
reason_t reason_from_name(const char *name);
