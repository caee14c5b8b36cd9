/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect: newcomers are taken in, or closed before a byte is read; who was taken in is judged again
 * after a reload. Private to the http side; loop's thread. */
#pragma once

#include <stddef.h>
#include <uv.h>

#include "app/http/conn.h"

/* Takes in the connection that the event loop has for a listener. */
void door_accept(conn_listener_t *listener, uv_tcp_t *tcp);
/* Takes in whoever has connected already, before the listener is closed: the system would reset them. */
void door_accept_waiting(conn_listener_t *listener, uv_tcp_t *tcp);
/* Cuts whoever is no client any more, or was a balancer. Returns how many. */
size_t door_judge_all(conn_listener_t *listener);
