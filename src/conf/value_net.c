/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and names. */
#include <arpa/inet.h>

#include "base/assert.h"
#include "conf/value.h"

enum {
    UNIX_PATH_BYTES_MAX = 107, /* sun_path with its NUL */
    NAME_BYTES_MAX = 253,
    LABEL_BYTES_MAX = 63,
};

static bool parse_ip(struct str text, uint8_t *ret_family, uint8_t ret_bytes[16])
{
    char z[INET6_ADDRSTRLEN + 1];
    uint8_t bytes[16] = {0};
    if (text.n == 0 || text.n >= sizeof(z)) {
        return false;
    }
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (inet_pton(AF_INET, z, bytes) == 1) {
        *ret_family = 4;
    } else if (inet_pton(AF_INET6, z, bytes) == 1) {
        *ret_family = 6;
    } else {
        return false;
    }
    memcpy(ret_bytes, bytes, sizeof(bytes));
    return true;
}

static void print_ip(uint8_t family, const uint8_t *bytes, char out[INET6_ADDRSTRLEN])
{
    out[0] = '\0';
    (void)inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes, out, INET6_ADDRSTRLEN);
}

static bool parse_port(struct str text, uint16_t *ret_port)
{
    uint64_t port = 0;
    if (text.n == 0 || (text.n > 1 && text.p[0] == '0') || str_to_u64(text, &port) != ERR_OK ||
        port > 65535) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

/* `addr:port`, `[v6]:port` or a port alone. */
static const char *parse_inet(struct str text, struct listen_address *a, size_t *ret_at)
{
    static const char *bad_port = "a port is a number from 0 to 65535";
    if (text.n > 0 && text.p[0] == ':') {
        return "a port alone stands without a colon: write 80, not :80";
    }
    if (text.n > 0 && text.p[0] == '[') {
        ptrdiff_t end = str_index(text, ']');
        if (end < 0 || !parse_ip(str_sub(text, 1, (size_t)end - 1), &a->family, a->bytes) ||
            a->family != 6) {
            *ret_at += 1;
            return "this is not an IPv6 address in brackets";
        }
        *ret_at += (size_t)end + 1;
        if ((size_t)end + 1 == text.n || text.p[end + 1] != ':') {
            return "a port must follow the address, such as [::1]:8080";
        }
        return parse_port(str_sub(text, (size_t)end + 2, text.n), &a->port) ? NULL : bad_port;
    }
    ptrdiff_t colon = str_index(text, ':');
    if (colon < 0) {
        a->family = 0;
        if (parse_port(text, &a->port)) {
            return NULL;
        }
        return parse_ip(text, &a->family, a->bytes)
                   ? "a port must follow the address, such as 127.0.0.1:8080"
                   : bad_port;
    }
    struct str host = str_sub(text, 0, (size_t)colon);
    struct str port = str_sub(text, (size_t)colon + 1, text.n);
    if (str_index(port, ':') >= 0) {
        return "an IPv6 address stands in brackets: write [::1]:8080";
    }
    if (str_eq(host, STR("localhost"))) {
        return "an address is numeric here: write 127.0.0.1 for localhost";
    }
    if (str_eq(host, STR("*"))) {
        return "a port alone means every address: leave *: out";
    }
    if (!parse_ip(host, &a->family, a->bytes)) {
        return "an address is numeric here, such as 127.0.0.1 or [::1]";
    }
    *ret_at += (size_t)colon + 1;
    return parse_port(port, &a->port) ? NULL : bad_port;
}

/* What the port says by itself is not written. */
static const char *listen_scheme(const struct listen_address *a)
{
    bool is_usual = a->kind == LISTEN_INET && (a->port == 443 || a->port == 8443);
    return a->is_tls == is_usual ? "" : a->is_tls ? "https://" : "http://";
}

static struct str print_listen(struct arena *arena, const struct listen_address *a)
{
    const char *scheme = listen_scheme(a);
    char ip[INET6_ADDRSTRLEN];
    if (a->kind == LISTEN_UNIX) {
        return arena_printf(arena, "%sunix:" STR_FMT, scheme, STR_ARG(a->path));
    }
    if (a->kind == LISTEN_FD) {
        return arena_printf(arena, "%sfd:%d", scheme, a->fd);
    }
    if (a->family == 0) {
        return arena_printf(arena, "%s%u", scheme, a->port);
    }
    print_ip(a->family, a->bytes, ip);
    return arena_printf(arena, a->family == 4 ? "%s%s:%u" : "%s[%s]:%u", scheme, ip, a->port);
}

const char *value_parse_listen(struct arena *arena, struct str text, struct listen_address *ret,
                               size_t *ret_at)
{
    struct listen_address a = {.kind = LISTEN_INET, .fd = -1};
    bool is_https = str_starts_with(text, STR("https://"));
    bool is_http = str_starts_with(text, STR("http://"));
    struct str rest = str_sub(text, is_https ? 8 : is_http ? 7 : 0, text.n);
    *ret_at = text.n - rest.n;
    a.is_tls = is_https;
    if (str_starts_with(rest, STR("unix:"))) {
        struct str path = str_sub(rest, 5, rest.n);
        *ret_at += 5;
        if (path.n == 0 || path.p[0] != '/') {
            return "the path of a Unix socket begins with /, such as unix:/run/sws.sock";
        }
        if (path.n > UNIX_PATH_BYTES_MAX) {
            return "the path of a Unix socket is at most 107 bytes long";
        }
        a.kind = LISTEN_UNIX;
        a.path = arena_str(arena, path);
        if (a.path.p == NULL) {
            return value_no_memory;
        }
    } else if (str_starts_with(rest, STR("fd:"))) {
        uint64_t fd = 0;
        *ret_at += 3;
        if (str_to_u64(str_sub(rest, 3, rest.n), &fd) != ERR_OK || fd > 65535) {
            return "fd: takes the number of an open file descriptor, such as fd:3";
        }
        a.kind = LISTEN_FD;
        a.fd = (int)fd;
    } else {
        const char *fault = parse_inet(rest, &a, ret_at);
        if (fault != NULL) {
            return fault;
        }
        a.is_tls = is_https || (!is_http && (a.port == 443 || a.port == 8443));
    }
    a.text = print_listen(arena, &a);
    if (a.text.p == NULL) {
        return value_no_memory;
    }
    *ret = a;
    return NULL;
}

const char *value_parse_cidr(struct arena *arena, struct str text, struct cidr *ret, size_t *ret_at)
{
    struct cidr c = {.family = 0};
    *ret_at = 0;
    ptrdiff_t slash = str_index(text, '/');
    struct str ip = slash < 0 ? text : str_sub(text, 0, (size_t)slash);
    if (!parse_ip(ip, &c.family, c.bytes)) {
        return "this is not an IP address or network, such as 10.0.0.0/8 or 2001:db8::/32";
    }
    unsigned bits = c.family == 4 ? 32 : 128;
    c.prefix = (uint8_t)bits;
    if (slash >= 0) {
        uint64_t prefix = 0;
        struct str length = str_sub(text, (size_t)slash + 1, text.n);
        *ret_at = (size_t)slash + 1;
        if ((length.n > 1 && length.p[0] == '0') || str_to_u64(length, &prefix) != ERR_OK ||
            prefix > bits) {
            return "the length behind / is 0 to 32 for IPv4 and 0 to 128 for IPv6";
        }
        c.prefix = (uint8_t)prefix;
    }
    for (unsigned i = c.prefix; i < bits; i++) {
        if ((c.bytes[i / 8] >> (7 - i % 8) & 1) != 0) {
            *ret_at = 0;
            return "the address has bits behind its network length; write the network itself, such "
                   "as 10.0.0.0/8";
        }
    }
    char z[INET6_ADDRSTRLEN];
    print_ip(c.family, c.bytes, z);
    c.text = arena_printf(arena, c.prefix == bits ? "%s" : "%s/%u", z, c.prefix);
    if (c.text.p == NULL) {
        return value_no_memory;
    }
    *ret = c;
    return NULL;
}

static const char *check_name(struct str name, size_t *ret_at)
{
    size_t start = *ret_at;
    size_t label_bytes = 0;
    if (name.n == 0 || name.n > NAME_BYTES_MAX) {
        return "a domain is 1 to 253 characters long";
    }
    for (size_t i = 0; i <= name.n; i++) {
        *ret_at = start + i;
        char c = i < name.n ? name.p[i] : '.';
        if (c == '.') {
            if (label_bytes == 0 || label_bytes > LABEL_BYTES_MAX) {
                return "each part of a domain is 1 to 63 characters long";
            }
            label_bytes = 0;
        } else if (c == ':' && (i + 1 == name.n || name.p[i + 1] != '/')) {
            return "a port does not belong to a domain: it stands in server.listen";
        } else if (c == '/' || c == ':') {
            return "a domain has no scheme and no path";
        } else if (c == '*') {
            return "* stands only for the whole first or last part, such as \"*.example.com\" or "
                   "\"api.*\"";
        } else if ((unsigned char)c >= 0x80) {
            return "an international domain is written in its xn-- form";
        } else if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
            return "a domain holds letters, digits, - and _";
        } else {
            label_bytes++;
        }
    }
    return NULL;
}

const char *value_parse_domain(struct arena *arena, struct str text, struct domain *ret,
                               size_t *ret_at)
{
    struct domain d = {.kind = DOMAIN_EXACT};
    struct str name = text;
    char ip[INET6_ADDRSTRLEN];
    *ret_at = 0;
    if (str_eq(text, STR("default"))) {
        d.kind = DOMAIN_DEFAULT;
        d.name = STR("");
        d.text = STR("default");
        *ret = d;
        return NULL;
    }
    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
        uint8_t family = 0;
        uint8_t bytes[16];
        if (!parse_ip(str_sub(text, 1, text.n - 2), &family, bytes) || family != 6) {
            return "this is not an IPv6 address in brackets";
        }
        print_ip(6, bytes, ip);
        d.name = arena_printf(arena, "[%s]", ip);
        d.text = d.name;
        if (d.name.p == NULL) {
            return value_no_memory;
        }
        *ret = d;
        return NULL;
    }
    if (str_starts_with(text, STR("*."))) {
        d.kind = DOMAIN_BELOW;
        name = str_sub(text, 2, text.n);
    } else if (str_starts_with(text, STR("."))) {
        d.kind = DOMAIN_APEX;
        name = str_sub(text, 1, text.n);
    } else if (text.n > 2 && str_ends_with(text, STR(".*"))) {
        d.kind = DOMAIN_PREFIX;
        name = str_sub(text, 0, text.n - 2);
    }
    *ret_at = d.kind == DOMAIN_PREFIX ? 0 : text.n - name.n;
    if (name.n > 1 && name.p[name.n - 1] == '.') {
        name.n--; /* the root of the DNS, spelled out */
    }
    const char *fault = check_name(name, ret_at);
    if (fault != NULL) {
        return fault;
    }
    char lower[NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < name.n; i++) {
        lower[i] = ascii_lower(name.p[i]);
    }
    const char *before = d.kind == DOMAIN_BELOW ? "*." : d.kind == DOMAIN_APEX ? "." : "";
    d.name = arena_str(arena, str_make(lower, name.n));
    if (d.name.p == NULL) {
        return value_no_memory;
    }
    d.text = arena_printf(arena, "%s%s%s", before, d.name.p, d.kind == DOMAIN_PREFIX ? ".*" : "");
    if (d.text.p == NULL) {
        return value_no_memory;
    }
    if (d.kind == DOMAIN_EXACT && str_eq(d.name, STR("default"))) {
        return "the word default is written in lower case";
    }
    *ret = d;
    return NULL;
}

static bool is_host_name(struct str name)
{
    size_t label = 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (c == '.') {
            if (label == 0) {
                return false;
            }
            label = 0;
        } else if ((!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') ||
                   ++label > LABEL_BYTES_MAX) {
            return false;
        }
    }
    return name.n > 0 && name.n <= NAME_BYTES_MAX;
}

/* `host`, `host:port` or `[v6]:port`. */
static const char *parse_upstream_authority(struct str text, struct upstream_address *a,
                                            size_t *ret_at)
{
    uint8_t family, bytes[16];
    struct str rest;
    if (text.n > 0 && text.p[0] == '[') {
        ptrdiff_t end = str_index(text, ']');
        a->host = str_sub(text, 1, end < 0 ? 0 : (size_t)end - 1);
        if (!parse_ip(a->host, &family, bytes) || family != 6) {
            return "this is not an IPv6 address in brackets";
        }
        rest = str_sub(text, (size_t)end + 1, text.n);
    } else {
        ptrdiff_t colon = str_index(text, ':');
        a->host = colon < 0 ? text : str_sub(text, 0, (size_t)colon);
        a->is_name = !parse_ip(a->host, &family, bytes);
        if (a->is_name && !is_host_name(a->host)) {
            return "an address or a name of letters, digits and hyphens is due here";
        }
        rest = str_sub(text, a->host.n, text.n);
    }
    if (rest.n &&
        (rest.p[0] != ':' || !parse_port(str_sub(rest, 1, rest.n), &a->port) || a->port == 0)) {
        *ret_at += text.n - rest.n;
        return "a port is a number from 1 to 65535 behind a colon";
    }
    return NULL;
}

static const struct upstream_scheme {
    struct str text;
    bool is_unix;
    bool is_tls;
    bool is_stream;
    bool is_datagram;
    bool is_h2;
    bool is_grpc;
    bool is_fcgi;
} upstream_schemes[] = {
    {.text = {"http://", 7}},
    {.text = {"https://", 8}, .is_tls = true},
    {.text = {"h2c://", 6}, .is_h2 = true},
    {.text = {"h2://", 5}, .is_tls = true, .is_h2 = true},
    {.text = {"grpc://", 7}, .is_h2 = true, .is_grpc = true},
    {.text = {"grpcs://", 8}, .is_tls = true, .is_h2 = true, .is_grpc = true},
    {.text = {"fcgi://", 7}, .is_fcgi = true},
    {.text = {"tcp://", 6}, .is_stream = true},
    {.text = {"udp://", 6}, .is_stream = true, .is_datagram = true},
    {.text = {"unix:", 5}, .is_unix = true},
    {.text = {"unix+h2c:", 9}, .is_unix = true, .is_h2 = true},
    {.text = {"unix+grpc:", 10}, .is_unix = true, .is_h2 = true, .is_grpc = true},
    {.text = {"unix+fcgi:", 10}, .is_unix = true, .is_fcgi = true},
};

/* What stands before the host, or the path. */
static struct str upstream_scheme_of(struct str text)
{
    ptrdiff_t colon = str_index(text, ':');
    size_t n = colon < 0 ? text.n : (size_t)colon + 1;
    while (n < text.n && text.p[n] == '/' && n < (size_t)colon + 3) {
        n++;
    }
    return str_sub(text, 0, n);
}

struct str value_nearest_upstream(struct str text)
{
    struct str best = STR(""), scheme = upstream_scheme_of(text);
    unsigned least = 1 + (unsigned)scheme.n / 4;
    for (size_t i = 0; i < COUNT_OF(upstream_schemes); i++) {
        unsigned distance = str_distance(scheme, upstream_schemes[i].text);
        if (distance > 0 && distance <= least) {
            least = distance - 1;
            best = upstream_schemes[i].text;
        }
    }
    return best;
}

const char *value_parse_upstream(struct str text, struct upstream_address *ret, size_t *ret_at)
{
    struct upstream_address a = {0};
    const struct upstream_scheme *scheme = NULL;
    *ret_at = 0;
    for (size_t i = 0; i < COUNT_OF(upstream_schemes); i++) {
        scheme = str_starts_with(text, upstream_schemes[i].text) ? &upstream_schemes[i] : scheme;
    }
    if (!scheme) {
        return "this is neither an address (http://, https://, h2c://, h2://, grpc://, grpcs://, "
               "fcgi://, tcp://, udp://, unix:, unix+h2c:, unix+grpc: or unix+fcgi:) nor the name "
               "of a backend";
    }
    size_t begin = scheme->text.n;
    a.is_tls = scheme->is_tls;
    a.is_stream = scheme->is_stream;
    a.is_datagram = scheme->is_datagram;
    a.is_h2 = scheme->is_h2;
    a.is_grpc = scheme->is_grpc;
    a.is_fcgi = scheme->is_fcgi;
    if (scheme->is_unix) {
        a.unix_path = str_sub(text, begin, text.n);
        if (a.unix_path.n < 2 || a.unix_path.p[0] != '/' || a.unix_path.n > UNIX_PATH_BYTES_MAX) {
            *ret_at = begin;
            return "the path of a Unix socket begins with / and is at most 107 bytes long";
        }
        *ret = a;
        return NULL;
    }
    a.port = a.is_tls ? 443 : a.is_stream ? 0 : a.is_fcgi ? 9000 : 80;
    a.authority = str_sub(text, begin, text.n);
    if (a.authority.n && a.authority.p[a.authority.n - 1] == '/') {
        a.authority.n--;
    }
    for (size_t i = 0; i < a.authority.n; i++) {
        if (a.authority.p[i] == '/' || a.authority.p[i] == '?' || a.authority.p[i] == '#') {
            *ret_at = begin + i;
            return "an address ends with its port: the path of the request is passed on as it is";
        }
    }
    *ret_at = begin;
    const char *fault = parse_upstream_authority(a.authority, &a, ret_at);
    if (!fault && a.port == 0) {
        *ret_at = text.n;
        fault = "bytes have no usual port: write one, such as tcp://127.0.0.1:5432";
    }
    if (!fault) {
        *ret = a;
    }
    return fault;
}

const char *value_parse_status_range(struct str text, uint16_t *ret_low, uint16_t *ret_high,
                                     size_t *ret_at)
{
    ptrdiff_t dash = str_index(text, '-');
    struct str first = dash < 0 ? text : str_sub(text, 0, (size_t)dash);
    struct str last = dash < 0 ? text : str_sub(text, (size_t)dash + 1, text.n);
    uint64_t low, high;
    *ret_at = 0;
    if (str_to_u64(first, &low) != ERR_OK || str_to_u64(last, &high) != ERR_OK || low < 200 ||
        high > 599 || low > high) {
        return "a status from 200 to 599 or a range such as 200-399 is due here";
    }
    *ret_low = (uint16_t)low;
    *ret_high = (uint16_t)high;
    return NULL;
}

const char *value_check_backend_name(struct str text, size_t *ret_at)
{
    static const char *const words[] = {"echo", "off", "on", "null", "true", "false", NULL};
    *ret_at = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (str_eq(text, str_of(words[i]))) {
            return "this word means something else where a backend is named";
        }
    }
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_inner = ascii_is_digit(c) || c == '-' || c == '_' || c == '.';
        if (!ascii_is_alpha(c) && !(is_inner && i > 0)) {
            *ret_at = i;
            return "the name of a backend is a letter, then letters, digits, `-`, `_` and `.`";
        }
    }
    return text.n > 0 ? NULL : "the name of a backend cannot be empty";
}

const char *value_check_name_server(struct str text, size_t *ret_at)
{
    struct upstream_address a = {0};
    *ret_at = 0;
    const char *fault = parse_upstream_authority(text, &a, ret_at);
    return !fault && a.is_name ? "a name server is given by its address" : fault;
}
