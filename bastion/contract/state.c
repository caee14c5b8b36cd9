/* SPDX-License-Identifier: Apache-2.0 */
#include "bastion/contract/state.h"

#define FROM(type) ((type)-MSG_HELLO)

enum {
  V = VERDICT_VIOLATION,
  A = VERDICT_ALLOW,
  R = VERDICT_REFUSE,
  I = VERDICT_IGNORE,
};

// clang-format off
/* VERIFY and PROBE after the login: a client may send several requests at once, of which an earlier one
 * succeeded. ENDING: nothing in this column may open, answer with more than a no, or put the end off. */
static const unsigned char table[][STATE_COUNT] = {
    /*                          SPAWNED KEX LOGIN STARTING OPEN ENDING */
    [FROM(MSG_HELLO)] =        {A,      V,  V,    V,       V,   I},
    [FROM(MSG_SIGN)] =         {V,      A,  V,    V,       A,   R},
    [FROM(MSG_VERIFY)] =       {V,      V,  A,    R,       R,   R},
    [FROM(MSG_PROBE)] =        {V,      V,  A,    R,       R,   R},
    [FROM(MSG_LOGIN)] =        {V,      V,  A,    V,       V,   I},
    [FROM(MSG_OPEN)] =         {V,      V,  V,    V,       A,   I},
    [FROM(MSG_CHANNEL_END)] =  {V,      V,  V,    V,       A,   A},
    [FROM(MSG_TRAFFIC)] =      {V,      V,  V,    V,       A,   A},
    [FROM(MSG_CONTROL)] =      {V,      V,  V,    V,       A,   I},
    [FROM(MSG_NOTE)] =         {V,      A,  A,    A,       A,   A},
    [FROM(MSG_BYE)] =          {A,      A,  A,    A,       A,   I},
    [FROM(MSG_CRASHED)] =      {A,      A,  A,    A,       A,   A},
};
// clang-format on

verdict_t state_verdict(state_t state, msg_type_t type)
{
  if (type < MSG_HELLO || type > MSG_CRASHED || (unsigned)state >= STATE_COUNT)
    return VERDICT_VIOLATION;
  return (verdict_t)table[FROM(type)][state];
}

const char *state_name(state_t state)
{
  static const char *const names[STATE_COUNT] = {"spawned", "kex", "login", "starting", "open", "ending"};
  return (unsigned)state < STATE_COUNT ? names[state] : "unknown";
}
