/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plain types that settings are made of, and how one scalar becomes one of them. A parser here
 * returns NULL, or a sentence (static) that says what is wrong, with the offset of the fault.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"
#include "conf/diag.h"

struct str_list {
    struct str *items;
    size_t count;
};

/* A few values of one enumeration, in the order they were written, none twice. */
struct enum_list {
    uint8_t items[12];
    uint32_t count;
};

struct str_pair {
    struct str key;
    struct str value;
    bool is_null;     /* written as null: remove, or must be absent */
    bool is_expanded; /* held ${env:...} or ${file:...} */
    struct conf_origin origin;
};

/* In the order written; keys are unique. */
struct str_map {
    struct str_pair *items;
    size_t count;
};

enum listen_kind { LISTEN_OFF, LISTEN_INET, LISTEN_UNIX, LISTEN_FD };

struct listen_address {
    enum listen_kind kind;
    uint8_t family;    /* 0 every address of both families, 4, 6 */
    uint8_t bytes[16]; /* network order; the first 4 for family 4 */
    uint16_t port;     /* 0: the system picks one */
    int fd;
    bool is_tls;
    struct str path; /* LISTEN_UNIX; NUL-terminated */
    struct str text; /* as it is printed */
};

struct listen_list {
    struct listen_address *items;
    size_t count;
};

struct cidr {
    uint8_t family; /* 4 or 6 */
    uint8_t bytes[16];
    uint8_t prefix; /* bits */
    struct str text;
};

struct cidr_list {
    struct cidr *items;
    size_t count;
};

enum domain_kind {
    DOMAIN_EXACT,   /* example.com, 192.0.2.1, [2001:db8::1] */
    DOMAIN_BELOW,   /* "*.example.com": names below, not the apex */
    DOMAIN_APEX,    /* .example.com: the apex and names below */
    DOMAIN_PREFIX,  /* api.*: names that begin with the label */
    DOMAIN_DEFAULT, /* default: every name that nothing else took */
};

struct domain {
    enum domain_kind kind;
    struct str name; /* the fixed part in lower case: `example.com`, `api`; empty for DEFAULT */
    struct str text; /* as it is printed */
    struct conf_origin origin;
};

struct domain_list {
    struct domain *items;
    size_t count;
};

enum output_kind { OUTPUT_OFF, OUTPUT_STDERR, OUTPUT_STDOUT, OUTPUT_FILE };

struct output {
    enum output_kind kind;
    struct str path; /* OUTPUT_FILE; NUL-terminated */
};

/* The file for one status (low = high) or a class such as 400 to 499. */
struct status_file {
    uint16_t low;
    uint16_t high;
    struct str file;
    struct conf_origin origin;
};

struct status_file_list {
    struct status_file *items;
    size_t count;
};

/* The address of an upstream; views of its text. */
struct upstream_address {
    struct str unix_path; /* pointer NULL = TCP */
    struct str host;      /* a number address without brackets, or a name */
    bool is_name;
    bool is_tls;
    bool is_stream;   /* tcp: bytes, not requests */
    bool is_datagram; /* udp, a stream too */
    bool is_h2;       /* HTTP/2: over TLS by ALPN, else by prior knowledge */
    bool is_grpc;     /* that, for gRPC */
    bool is_fcgi;     /* FastCGI in place of HTTP */
    uint16_t port;
    struct str authority; /* host and port as written, for the Host field; empty = Unix */
};

/* `ret_at`: offset of the fault in `text`; written on failure only. The results that hold text
 * point into `arena`; where memory runs out they return value_no_memory. */
extern const char value_no_memory[];

const char *value_parse_int(struct str text, int64_t *ret_value, size_t *ret_at);
const char *value_parse_duration(struct str text, int64_t *ret_ms, size_t *ret_at);
const char *value_parse_size(struct str text, int64_t *ret_bytes, size_t *ret_at);
const char *value_parse_rate(struct str text, int64_t *ret_bytes_per_s, size_t *ret_at);
const char *value_parse_share(struct str text, int64_t *ret_ppm, size_t *ret_at);
const char *value_parse_listen(struct arena *arena, struct str text, struct listen_address *ret,
                               size_t *ret_at);
const char *value_parse_cidr(struct arena *arena, struct str text, struct cidr *ret,
                             size_t *ret_at);
const char *value_parse_domain(struct arena *arena, struct str text, struct domain *ret,
                               size_t *ret_at);
const char *value_parse_upstream(struct str text, struct upstream_address *ret, size_t *ret_at);
struct str value_nearest_upstream(struct str text); /* how a valid one begins; may be empty */
/* A letter, then letters, digits and any of -_. but no word that means something else. */
const char *value_check_backend_name(struct str text, size_t *ret_at);
/* "204" or "200-399". */
const char *value_parse_status_range(struct str text, uint16_t *ret_low, uint16_t *ret_high,
                                     size_t *ret_at);
/* "50%" is half of a CPU, as 500 thousandths. */
const char *value_parse_cpu(struct str text, int64_t *ret_permille);
/* Words with spaces between them; quotes of both kinds keep words together. */
const char *value_split_words(struct arena *arena, struct str text, struct str_list *ret,
                              size_t *ret_at);
const char *value_parse_status_class(struct str text, uint16_t *ret_low, uint16_t *ret_high);

/* The inverse: the shortest text that parses to the same value. */
void value_print_duration(int64_t ms, struct buf *out);
void value_print_size(int64_t bytes, struct buf *out);
void value_print_share(int64_t ppm, struct buf *out);

/* `s` as a YAML scalar on one line, in quotes where it needs them. */
void value_print_scalar(struct str s, struct buf *out);

/* Checks for text of one kind; same contract. */
const char *value_check_pattern(struct str text, size_t *ret_at);  /* path pattern, see docs */
const char *value_check_url_path(struct str text, size_t *ret_at); /* begins with a slash */
const char *value_check_target(struct str text, size_t *ret_at);   /* http(s) URL or URL path */
const char *value_check_token(struct str text, size_t *ret_at);    /* RFC 9110 section 5.6.2 */
const char *value_check_method(struct str text, size_t *ret_at);
const char *value_check_field_value(struct str text, size_t *ret_at); /* section 5.5 */
const char *value_check_media_type(struct str text, size_t *ret_at);
const char *value_check_media_range(struct str text, size_t *ret_at);
const char *value_check_file_name(struct str text, size_t *ret_at);   /* one segment */
const char *value_check_name_server(struct str text, size_t *ret_at); /* address, maybe a port */
const char *value_check_not_empty(struct str text, size_t *ret_at);
