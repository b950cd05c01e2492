/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FastCGI 1.0 as a web server speaks it, without I/O: records of one request are written into a
 * buffer, and those of its answer are read piece by piece, wherever the network cut them. One
 * request at a time has a connection, under the id 1.
 */
#pragma once

#include "base/buf.h"

#define FCGI_HEAD_BYTES 8u
#define FCGI_CONTENT_MAX 65535u
#define FCGI_IDLE_RECORDS_MAX 32u /* management records of one answer */

enum fcgi_type {
    FCGI_BEGIN_REQUEST = 1,
    FCGI_ABORT_REQUEST = 2,
    FCGI_END_REQUEST = 3,
    FCGI_PARAMS = 4,
    FCGI_STDIN = 5,
    FCGI_STDOUT = 6,
    FCGI_STDERR = 7,
    FCGI_DATA = 8,
    FCGI_GET_VALUES = 9,
    FCGI_GET_VALUES_RESULT = 10,
    FCGI_UNKNOWN_TYPE = 11,
};

/* How the server of the application took the request (section 5.5). */
enum fcgi_protocol_status {
    FCGI_REQUEST_COMPLETE,
    FCGI_CANT_MPX_CONN,
    FCGI_OVERLOADED,
    FCGI_UNKNOWN_ROLE,
};

/* ---- the request ---- */

/* The head of a record with `n` bytes of content (at most FCGI_CONTENT_MAX) and no padding. No
 * content ends the stream of that type. */
void fcgi_record_head(enum fcgi_type type, size_t n, char ret_head[FCGI_HEAD_BYTES]);

/* Begins a request for a responder. `keeps`: the connection stays open behind the answer. */
void fcgi_add_begin(struct buf *out, bool keeps);

/* Name-value pairs, each whole in one record, because some servers read records one by one. */
struct fcgi_params {
    struct buf *out;
    size_t at; /* the head of the record that is being filled */
};

void fcgi_params_begin(struct fcgi_params *p, struct buf *out);

/* ERR_LIMIT: the pair is longer than a record; nothing is written then. */
enum err fcgi_params_add(struct fcgi_params *p, struct str name, struct str value) MUST_CHECK;

/* The last record, and the end of the stream. */
void fcgi_params_end(struct fcgi_params *p);

/* ---- the answer ---- */

enum fcgi_event {
    FCGI_EVENT_NONE, /* all input is used: more is due */
    FCGI_EVENT_STDOUT,
    FCGI_EVENT_STDERR,
    FCGI_EVENT_END, /* the answer is whole, padding and all */
};

struct fcgi_piece {
    enum fcgi_event event;
    struct str data;         /* of a stream: at least one byte, a view of the input */
    uint32_t app_status;     /* of the end */
    uint8_t protocol_status; /* likewise, enum fcgi_protocol_status or a higher number */
};

/* Zeroed at first. */
struct fcgi_reader {
    uint8_t head[FCGI_HEAD_BYTES];
    uint8_t end[8]; /* the content of END_REQUEST */
    uint8_t head_n;
    uint8_t end_n;
    uint8_t padding_left;
    bool is_ended;
    bool is_stdout_ended;
    bool is_stderr_ended;
    uint32_t content_left;
    uint32_t idle_records;
};

/* Reads until there is something to tell. `*ret_used` bytes at `p` were consumed; the data of a
 * stream stand behind them and are the caller's to take, all or some, with fcgi_take.
 * ERR_SYNTAX: another version, id or type than can come here, a stream that goes on behind its end,
 * an END_REQUEST of another length; ERR_LIMIT: too many management records. */
enum err fcgi_read(struct fcgi_reader *r, const char *p, size_t n, size_t *ret_used,
                   struct fcgi_piece *ret_piece) MUST_CHECK;
void fcgi_take(struct fcgi_reader *r, size_t n);
