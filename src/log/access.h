/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per exchange. Formatting is pure: a record goes in, bytes come out, ended by one
 * newline. Whatever a peer sent, a JSON line parses and every line is one line. Long fields are
 * cut, so that a line is never longer than ACCESS_LINE_BYTES_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define ACCESS_LINE_BYTES_MAX 65000
#define ACCESS_FIELDS_MAX 8

enum access_format {
    ACCESS_JSON,
    ACCESS_COMMON,   /* the NCSA common log format */
    ACCESS_COMBINED, /* common and referer, user agent */
    ACCESS_LOGFMT,
};

/* A header field the configuration asks to log; `is_response` tells the side it comes from. */
struct access_field {
    struct str name;
    struct str value;
    bool is_response;
};

struct access_record {
    uint64_t time_ns; /* since 1970, when the request arrived */
    uint64_t duration_ns;
    uint64_t body_bytes;
    struct str client_ip;
    struct str user; /* who was authenticated, or empty */
    struct str method;
    struct str target;
    struct str protocol; /* "HTTP/1.1", "HTTP/2", "HTTP/3" */
    struct str host;
    struct str referer;
    struct str user_agent;
    struct str request_id;
    struct str trace_id;
    struct str route;
    struct str error; /* why it failed, or empty */
    const struct access_field *fields;
    size_t field_count; /* at most ACCESS_FIELDS_MAX are written */
    uint16_t status;    /* 0: no answer was sent */
};

/* What must not reach the disk. The fields Authorization, Proxy-Authorization, Cookie and
 * Set-Cookie are always redacted; `query_names` names query parameters (of target and referer,
 * case does not matter, percent-encoded names are decoded first) whose values are replaced by
 * "redacted". The names must outlive the policy. */
struct access_policy {
    const struct str *query_names;
    size_t query_name_count;
};

/* Appends one line to `out`; on a failed buf nothing useful is there (`is_failed`). `policy` may
 * be NULL. */
void access_format(enum access_format format, const struct access_policy *policy,
                   const struct access_record *record, struct buf *out);

/* "json", "common", "combined", "logfmt"; ERR_NOT_FOUND. */
enum err access_format_parse(struct str name, enum access_format *ret_format) MUST_CHECK;
