/* SPDX-License-Identifier: Apache-2.0 */
#include "http/authority.h"

#include "http/h1_scan_int.h"

#define IPV6_BYTES_MAX 47 /* with brackets and an embedded IPv4 address */

/* At `s`: an IPv4 address in dotted decimal, nothing else. */
static bool is_ipv4(struct str s)
{
    unsigned parts = 0;
    struct str part;
    while (str_split(&s, '.', &part)) {
        uint64_t value;
        if (++parts > 4 || part.n > 3 || (part.n > 1 && part.p[0] == '0') ||
            str_to_u64(part, &value) != ERR_OK || value > 255) {
            return false;
        }
    }
    return parts == 4;
}

/* The inside of an IPv6 literal (RFC 3986 3.2.2): groups of up to four digits, one `::` at most.
 * Zone identifiers have no place in a request. */
static bool is_ipv6(struct str s)
{
    unsigned groups = 0;
    bool has_gap = false;
    size_t at = 0;
    if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':') {
        has_gap = true;
        at = 2;
    }
    while (at < s.n) {
        size_t start = at;
        while (at < s.n && ascii_hex_value(s.p[at]) >= 0) {
            at++;
        }
        if (at < s.n && s.p[at] == '.') {
            groups += 2;
            at = s.n;
            if (!is_ipv4(str_sub(s, start, s.n - start))) {
                return false;
            }
            break;
        }
        if (at == start || at - start > 4 || ++groups > 8) {
            return false;
        }
        if (at == s.n) {
            break;
        }
        if (s.p[at++] != ':' || at == s.n) {
            return false;
        }
        if (s.p[at] == ':') {
            if (has_gap) {
                return false;
            }
            has_gap = true;
            at++;
        }
    }
    return has_gap ? groups < 8 : groups == 8;
}

static enum err parse_port(struct str s, uint16_t *ret_port)
{
    uint64_t value;
    if (s.n > 5 || str_to_u64(s, &value) != ERR_OK || value == 0 || value > 65535) {
        return ERR_SYNTAX;
    }
    *ret_port = (uint16_t)value;
    return ERR_OK;
}

enum err http_authority_parse(struct str s, struct str *ret_host, uint16_t *ret_port)
{
    size_t at = 0;
    uint16_t port = 0;
    if (s.n == 0) {
        return ERR_SYNTAX;
    }
    if (s.p[0] == '[') {
        ptrdiff_t close = str_index(s, ']');
        if (close < 0 || close >= IPV6_BYTES_MAX || !is_ipv6(str_sub(s, 1, (size_t)close - 1))) {
            return ERR_SYNTAX;
        }
        at = (size_t)close + 1;
    } else {
        at = (size_t)(h1_scan(s.p, s.p + s.n, &h1_class_host) - s.p);
        if (at == 0 || s.p[0] == '.') {
            return ERR_SYNTAX;
        }
    }
    if (at < s.n) {
        if (s.p[at] != ':' || parse_port(str_sub(s, at + 1, s.n), &port) != ERR_OK) {
            return ERR_SYNTAX;
        }
    }
    *ret_host = str_make(s.p, at);
    *ret_port = port;
    return ERR_OK;
}
