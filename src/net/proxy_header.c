/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define V1_BYTES_MAX 107u /* with its CRLF */
#define V2_HEAD_BYTES 16u

static const char v1_mark[] = "PROXY ";
static const char v2_mark[] = "\r\n\r\n\0\r\nQUIT\n";

#define V1_MARK_BYTES (sizeof(v1_mark) - 1)
#define V2_MARK_BYTES (sizeof(v2_mark) - 1)

enum { V2_LOCAL = 0x20, V2_PROXY = 0x21, V2_TCP4 = 0x11, V2_TCP6 = 0x21 };

static bool is_prefix(const char *p, size_t n, const char *mark, size_t mark_bytes)
{
    return memcmp(p, mark, n < mark_bytes ? n : mark_bytes) == 0;
}

/* ---- version 1: a line of text ---- */

static bool v1_port(struct str text, uint16_t *ret_port)
{
    uint64_t value;
    bool is_plain = text.n >= 1 && text.n <= 5 && (text.n == 1 || text.p[0] != '0');
    if (!is_plain || str_to_u64(text, &value) != ERR_OK || value > 65535) {
        return false;
    }
    *ret_port = (uint16_t)value;
    return true;
}

/* `ret` gets an address of the family that the line names. */
static bool v1_address(struct str host, struct str port, bool is_v6, struct socket_address *ret)
{
    uint16_t number;
    return v1_port(port, &number) && socket_address_ip(host, number, ret) == ERR_OK &&
           (ret->raw.ss_family == AF_INET6) == is_v6;
}

static enum err v1_fields(struct str line, struct proxy_header *ret)
{
    struct str words[5];
    size_t count = 0;
    while (count < COUNT_OF(words) && str_split(&line, ' ', &words[count])) {
        count++;
    }
    if (count > 0 && str_eq(words[0], STR("UNKNOWN"))) {
        return ERR_OK;
    }
    bool is_v6 = count > 0 && str_eq(words[0], STR("TCP6"));
    if (count != COUNT_OF(words) || line.p || !(is_v6 || str_eq(words[0], STR("TCP4"))) ||
        !v1_address(words[1], words[3], is_v6, &ret->source) ||
        !v1_address(words[2], words[4], is_v6, &ret->destination)) {
        return ERR_SYNTAX;
    }
    ret->has_addresses = true;
    return ERR_OK;
}

static enum err v1_read(const char *p, size_t n, struct proxy_header *ret)
{
    size_t most = n < V1_BYTES_MAX ? n : V1_BYTES_MAX;
    const char *end = memmem(p, most, "\r\n", 2);
    if (!end) {
        ret->bytes = n + 1;
        return n < V1_BYTES_MAX ? ERR_AGAIN : ERR_SYNTAX;
    }
    size_t line_bytes = (size_t)(end - p);
    ret->bytes = line_bytes + 2;
    return v1_fields(str_make(p + V1_MARK_BYTES, line_bytes - V1_MARK_BYTES), ret);
}

/* ---- version 2: binary ---- */

static uint16_t v2_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* The extensions behind the addresses: each says its length, and together they fill the rest. */
static bool v2_extensions_fit(const uint8_t *p, size_t n)
{
    while (n >= 3) {
        size_t bytes = 3u + v2_u16(p + 1);
        if (bytes > n) {
            return false;
        }
        p += bytes;
        n -= bytes;
    }
    return n == 0;
}

static enum err v2_addresses(const uint8_t *p, size_t n, size_t address_bytes,
                             struct proxy_header *ret)
{
    const uint8_t *ports = p + 2 * address_bytes;
    size_t used = 2 * address_bytes + 4;
    if (n < used || !v2_extensions_fit(p + used, n - used) ||
        socket_address_raw(p, address_bytes, v2_u16(ports), &ret->source) != ERR_OK ||
        socket_address_raw(p + address_bytes, address_bytes, v2_u16(ports + 2),
                           &ret->destination) != ERR_OK) {
        return ERR_SYNTAX;
    }
    ret->has_addresses = true;
    return ERR_OK;
}

static enum err v2_read(const char *p, size_t n, struct proxy_header *ret)
{
    const uint8_t *u = (const uint8_t *)p;
    ret->bytes = V2_HEAD_BYTES;
    if (n < V2_HEAD_BYTES) {
        return ERR_AGAIN;
    }
    uint8_t command = u[12], family = u[13];
    size_t rest = v2_u16(u + 14);
    ret->bytes += rest;
    if (command != V2_LOCAL && command != V2_PROXY) {
        return ERR_SYNTAX;
    }
    if (ret->bytes > PROXY_HEADER_BYTES_MAX) {
        return ERR_LIMIT;
    }
    if (n < ret->bytes) {
        return ERR_AGAIN;
    }
    u += V2_HEAD_BYTES;
    if (command == V2_PROXY && family == V2_TCP4) {
        return v2_addresses(u, rest, 4, ret);
    }
    if (command == V2_PROXY && family == V2_TCP6) {
        return v2_addresses(u, rest, 16, ret);
    }
    return ERR_OK; /* of itself, or of a client that has no address we know */
}

enum err proxy_header_read(const char *p, size_t n, struct proxy_header *ret)
{
    *ret = (struct proxy_header){.bytes = n + 1};
    if (is_prefix(p, n, v1_mark, V1_MARK_BYTES)) {
        return n < V1_MARK_BYTES ? ERR_AGAIN : v1_read(p, n, ret);
    }
    if (is_prefix(p, n, v2_mark, V2_MARK_BYTES)) {
        return v2_read(p, n, ret);
    }
    return ERR_NOT_FOUND;
}

/* ---- writing ---- */

static size_t v1_write(const struct socket_address *source,
                       const struct socket_address *destination, bool is_v6, char *out)
{
    /* Not socket_address_host, which writes an IPv4 address in IPv6 as IPv4. */
    uint8_t raw[SOCKET_ADDRESS_BYTES_MAX];
    char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    int family = is_v6 ? AF_INET6 : AF_INET;
    (void)socket_address_bytes(source, raw);
    inet_ntop(family, raw, from, sizeof(from));
    (void)socket_address_bytes(destination, raw);
    inet_ntop(family, raw, to, sizeof(to));
    int n =
        snprintf(out, PROXY_HEADER_WRITTEN_MAX, "PROXY TCP%c %s %s %u %u\r\n", is_v6 ? '6' : '4',
                 from, to, socket_address_port(source), socket_address_port(destination));
    ASSERT(n > 0 && n < (int)PROXY_HEADER_WRITTEN_MAX);
    return (size_t)n;
}

static size_t v2_write(const struct socket_address *source,
                       const struct socket_address *destination, size_t address_bytes, char *out)
{
    uint8_t *u = (uint8_t *)out;
    size_t rest = address_bytes ? 2 * address_bytes + 4 : 0;
    memcpy(u, v2_mark, V2_MARK_BYTES);
    u[12] = address_bytes ? V2_PROXY : V2_LOCAL;
    u[13] = address_bytes == 16 ? V2_TCP6 : address_bytes == 4 ? V2_TCP4 : 0;
    u[14] = 0;
    u[15] = (uint8_t)rest;
    if (address_bytes) {
        uint8_t *at = u + V2_HEAD_BYTES;
        uint16_t from = socket_address_port(source), to = socket_address_port(destination);
        (void)socket_address_bytes(source, at);
        (void)socket_address_bytes(destination, at + address_bytes);
        at += 2 * address_bytes;
        at[0] = (uint8_t)(from >> 8);
        at[1] = (uint8_t)from;
        at[2] = (uint8_t)(to >> 8);
        at[3] = (uint8_t)to;
    }
    return V2_HEAD_BYTES + rest;
}

size_t proxy_header_write(unsigned version, const struct socket_address *source,
                          const struct socket_address *destination,
                          char out[PROXY_HEADER_WRITTEN_MAX])
{
    uint8_t from[SOCKET_ADDRESS_BYTES_MAX], to[SOCKET_ADDRESS_BYTES_MAX];
    size_t bytes = socket_address_bytes(source, from);
    bytes = bytes == socket_address_bytes(destination, to) ? bytes : 0;
    if (version == 2) {
        return v2_write(source, destination, bytes, out);
    }
    if (bytes) {
        return v1_write(source, destination, bytes == 16, out);
    }
    static const char unknown[] = "PROXY UNKNOWN\r\n";
    memcpy(out, unknown, sizeof(unknown) - 1);
    return sizeof(unknown) - 1;
}
