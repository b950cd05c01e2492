/* SPDX-License-Identifier: Apache-2.0 */
/* The opening of a WebSocket (RFC 6455 4.2), as the server sees it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "http/head.h"

/* What the server speaks: the answer to other versions names it. */
#define WEBSOCKET_VERSION "13"

#define WEBSOCKET_CHALLENGE_BYTES 60
#define WEBSOCKET_ACCEPT_BYTES 28

/* True when `upgrade`, the protocols that a client would like to go on with, names WebSocket. */
bool websocket_is_asked(struct str upgrade);

/* The status of the answer: 101 where all is well; 400; 426 for another version. HTTP/2 and 3
 * need no key. `reterr_reason`: a sentence for the log. */
uint16_t websocket_check_request(const struct request_head *head, const char **reterr_reason);

/* A page of another site must not use the user's cookies here: the Origin that browsers send is
 * the host of the request, or one of the `count` at `others`, each as browsers write it
 * ("https://example.com"). Who sends none is no browser. */
bool websocket_origin_is_allowed(const struct request_head *head, const struct str *others,
                                 size_t count);

/* The text whose SHA-1 proves that the server understood `key`. */
void websocket_challenge(struct str key, char ret_text[WEBSOCKET_CHALLENGE_BYTES]);

/* Sec-WebSocket-Accept from that hash. */
void websocket_accept(const uint8_t sha1[20], char ret_text[WEBSOCKET_ACCEPT_BYTES]);

/* The first subprotocol of the client's wishes that is among `offered`; pointer NULL where none
 * is. A view of the request. */
struct str websocket_subprotocol(const struct http_fields *fields, const struct str *offered,
                                 size_t count);
