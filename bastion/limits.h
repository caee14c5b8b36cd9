/* SPDX-License-Identifier: Apache-2.0 */
/* Every number that bounds the bastion, in one place (invariant 9). What a message has room for,
 * contract/msg.h says. */
#pragma once

enum {
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
  BROKER_SWEEP_MS = 250,         /* how exact deadlines are */
};
