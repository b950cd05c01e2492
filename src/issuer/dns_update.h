/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DNS messages that add a TXT record to a zone and take it away: a query for the zone, an
 * update (RFC 2136) signed with a shared key (TSIG, RFC 8945, HMAC-SHA-256), and what is answered.
 * No I/O. Names are in their usual form without a final dot.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define DNS_MESSAGE_BYTES_MAX 65535u
#define DNS_NAME_BYTES_MAX 255u
#define DNS_KEY_BYTES_MAX 512u
#define DNS_MAC_BYTES 32u

/* Appends a query for the SOA record of `name`. ERR_SYNTAX: no name that the DNS has; ERR_NOMEM. */
enum err dns_put_zone_query(uint16_t id, struct str name, struct buf *out) MUST_CHECK;

/* Whether the answer says that `name` is where a zone begins. ERR_SYNTAX: it is no answer to this
 * query; ERR_ACCESS: the server refused it. */
enum err dns_read_zone_answer(uint16_t id, struct str name, struct str answer,
                              bool *ret_is_zone) MUST_CHECK;

struct dns_update {
    uint16_t id;
    struct str zone;
    struct str name;
    struct str value; /* of the TXT record, at most 255 bytes */
    bool is_removal;
    struct str key_name;
    struct str key; /* raw */
    int64_t now_s;
};

/* Appends the update and gives its signature, which the answer is checked against. ERR_SYNTAX (a
 * name), ERR_NOMEM. */
enum err dns_put_update(const struct dns_update *u, struct buf *out,
                        uint8_t ret_mac[DNS_MAC_BYTES]) MUST_CHECK;

/* Whether the server did it. ERR_SYNTAX: malformed, or not about this update; ERR_ACCESS: not
 * signed with our key; ERR_CONFIG: refused, with its code in `*ret_code`. */
enum err dns_read_update_answer(const struct dns_update *u, const uint8_t mac[DNS_MAC_BYTES],
                                struct str answer, unsigned *ret_code) MUST_CHECK;

/* Appends the bytes of base64 as key files have it (RFC 4648 4, padded or not). ERR_SYNTAX,
 * ERR_NOMEM. */
enum err dns_read_key(struct str base64, struct buf *out) MUST_CHECK;
