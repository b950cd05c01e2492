/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an answer of CGI (RFC 3875 section 6): fields without a status line, an empty line
 * behind them. As strict as the heads of HTTP/1: what could be read in two ways is refused.
 */
#pragma once

#include "http/head.h"

#define CGI_LENGTH_NONE UINT64_MAX

struct cgi_response {
    /* In: head.fields initialised by the caller with http_fields_init. Out: everything. */
    struct response_head head; /* without Status */
    uint64_t content_length;   /* as declared, or CGI_LENGTH_NONE */
    const char *fault;         /* static, set with every error */
};

/* Where in a line the scan stands; 0 at first. */
typedef uint8_t cgi_scan_state;

/* How many of the `n` bytes at `p` belong to the head; `*ret_is_whole`: its empty line is the last
 * of them. Lines end with LF or CR LF. */
size_t cgi_scan(cgi_scan_state *state, const char *p, size_t n, bool *ret_is_whole);

/* Parses a head that cgi_scan found whole; views of it. Without Status it is 200, or 302 with
 * Location: also where that is a path of this host, which the client is then asked to fetch.
 * ERR_SYNTAX: a line that is no field, a field of CGI (or Content-Length) twice, none of them at
 * all, a status that is no final one, a length that is no number, Transfer-Encoding. ERR_LIMIT: too
 * many fields. */
enum err cgi_parse(struct str head, struct cgi_response *ret_response) MUST_CHECK;
