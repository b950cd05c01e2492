/* SPDX-License-Identifier: Apache-2.0 */
/* A request inside the pipeline: what the phases found out, for handlers and the log. */
#pragma once

#include "edge/explain.h"
#include "edge/pipeline.h"
#include "edge/site.h"
#include "net/exchange.h"

struct fcgi_script;

/* In the arena of the exchange. */
struct request {
    struct exchange *x;
    struct pipeline *pipeline;
    struct site_use *use;
    const struct site_route *route;   /* NULL before routing */
    const struct upstream *upstream;  /* that it goes to; NULL: none, or one that is built in */
    const struct fcgi_script *script; /* that it goes to, over FastCGI; NULL: it does not */
    struct str path;                  /* canonical; in the arena or a view of the head */
    struct str query;
    struct str id, trace_id; /* made, see request_id.h; empty before */
    struct str client;       /* address of the client, behind trusted proxies */
    bool is_error_page;      /* an error page is being served: no second one */
    bool is_overload;        /* the answer says that the client may come again in a second */
    const char *error;       /* for the log; static */
    /* Of the handler; any may be NULL. As those of struct exchange_service. */
    void (*on_body)(struct request *r, struct str bytes);
    void (*on_body_end)(struct request *r);
    void (*on_datagram)(struct request *r, struct str bytes);
    void (*on_room)(struct request *r);
    void (*on_drain)(struct request *r);
    void (*on_end)(struct request *r);
    void *handler;   /* its state */
    bool is_waiting; /* it waits for room */
};

/* Tells `sws explain` of a decision and its reason; a branch where nobody asks. */
#define REQUEST_NOTE(r, phase, ...)                                                                \
    do {                                                                                           \
        if ((r)->pipeline->explain) {                                                              \
            explain_note((r)->pipeline->explain, (phase), __VA_ARGS__);                            \
        }                                                                                          \
    } while (0)

/* The method that routes and rewrites ask for: a tunnel is GET whatever the version, though over
 * HTTP/2 and 3 CONNECT opens it. */
struct str request_method(const struct request *r);

/* Collects response fields on the stack; the array is the caller's. Those of a route are at most
 * SITE_ROUTE_FIELDS_MAX. */
#define REQUEST_FIELDS_MAX 64

/* Adds the fields of the route (security preset and the user's) to a response head. */
enum err request_add_route_fields(const struct request *r, struct http_fields *fields) MUST_CHECK;

/* The page of the route for `status`: the narrowest range that holds it. NULL: none. */
const struct status_file *request_error_page(const struct request *r, uint16_t status);

/* Answers with an error: the route's error page where it has one, else a built-in page in HTML or
 * text as the client prefers; to gRPC in its own way. `reason` is for the log. */
void request_fail(struct request *r, uint16_t status, const char *reason);

/* Answers with `status`, a body and a type; `location` may be empty. */
void request_answer(struct request *r, uint16_t status, struct str type, struct str body,
                    struct str location);

/* Appends the canonical `path`, encoded again, and the query of the request. */
void request_add_target(const struct request *r, struct str path, struct buf *out);

/* A redirect to what `location` holds; ends the buffer. */
void request_redirect(struct request *r, uint16_t status, struct buf *location);

/* A redirect to the canonical `path` with the query of the request. */
void request_redirect_path(struct request *r, uint16_t status, struct str path);
