/* SPDX-License-Identifier: Apache-2.0 */
/* The authority of a target or a Host field: `host` or `host:port` (RFC 9110 4.2, 7.2). */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

/*
 * Splits `s` into host and port (0: none given). The host is a name of letters, digits and
 * `-._~`, an IPv4 address, or an IPv6 address in brackets, which stay part of it. This is narrower
 * than RFC 3986 on purpose: user information, percent-encoding, sub-delimiters such as `,` and an
 * empty host or port are refused. The port is 1 to 65535.
 * ERR_SYNTAX. A view of `s` goes to `ret_host`; a trailing dot and the letter case stay.
 */
enum err http_authority_parse(struct str s, struct str *ret_host, uint16_t *ret_port) MUST_CHECK;
