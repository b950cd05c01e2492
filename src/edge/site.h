/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings made ready to serve: host table, routers, compiled expressions, opened roots and
 * the response fields of each route. Immutable, shared by all loops, counted: a loop holds one
 * reference for as long as an exchange of it uses the site.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/settings.h"
#include "edge/regex.h"
#include "edge/rewrite.h"
#include "edge/router.h"
#include "edge/site_tls.h"
#include "edge/vhost.h"
#include "http/field.h"
#include "http/media_type.h"
#include "log/access.h"
#include "os/file.h"

struct fault;
struct loop;
struct member;
struct resolver;
struct site;
struct site_host;
struct split;
struct upstream;

#define SITE_ROUTE_FIELDS_MAX 48 /* response fields of a route */

struct site_route {
    const struct site *site;
    const struct site_host *host;
    const struct route_keys *keys;
    const struct route_settings *rule; /* NULL: what the host does where no route matches */
    uint32_t id;                       /* unique in the site */
    int root;                          /* descriptor, -1 = no files */
    struct str document_root;          /* its absolute path; pointer NULL = none */
    struct regex *regex;
    struct rewrite_set *rewrites; /* NULL = none, or those of the host */
    struct upstream *upstream;    /* of a backend that is no built-in one; NULL = none */
    struct split *split;          /* instead of it; NULL = none */
    struct upstream *mirror;      /* that gets copies; NULL = none */
    struct http_field *fields;    /* for every response: security preset, then the user's */
    unsigned field_count;
    unsigned preset_count;     /* of them, which only stand in where an answer says nothing */
    const struct str *removed; /* response fields to leave out */
    unsigned removed_count;
    enum access_format log_format;
    struct str name; /* for logs and `sws explain` */
};

/* Connections that are passed on as they are. */
struct site_stream {
    struct str name; /* where they are taken, for logs */
    struct upstream *upstream;
};

struct site_host {
    const struct host_settings *settings;
    const struct router *router;
    struct site_route *routes; /* in the order of the settings; one more: the host itself */
    size_t route_count;
    struct site_stream pass; /* its upstream is not NULL: TLS for its names is passed on */
    bool has_address_rules;  /* some route asks where the client is */
    struct str name;
    struct site_tls tls;
};

struct site {
    atomic_uint ref_count;
    struct settings *settings;
    struct arena arena;
    const struct vhost_table *hosts;
    struct site_host *host_list;
    const uint32_t *rule_host; /* host of each rule of the table */
    size_t host_count;
    struct media_types types;
    struct site_tls tls;         /* for names that no host has */
    struct upstream **upstreams; /* each backend once, whoever uses it */
    size_t upstream_count;
    struct site_stream *streams; /* in the order of the settings */
    size_t stream_count;
    enum access_format stream_format;
    bool passes_names; /* some host's TLS is passed on */
    bool listens_for_https;
    bool takes_early_data; /* some host does */
    uint64_t generation;
};

/* Makes `settings` ready; takes them over on success. What is known of endpoints, and the lists
 * that were published, are taken from the site `before`; NULL: nothing. ERR_CONFIG fills `diags`.
 */
enum err site_create(struct settings *settings, const struct site *before, struct site **ret_site,
                     struct diag_list *reterr_diags) MUST_CHECK;
struct site *site_ref(struct site *s);
void site_unref(struct site *s);

/* site_backends.c: the backend of this name, or NULL. */
struct upstream *site_find_backend(const struct site *s, struct str name);

/* upstream_publish by the name of the backend. ERR_NOT_FOUND: there is no such backend. */
enum err site_publish_members(const struct site *s, struct str backend, const struct member *list,
                              size_t count, struct fault *reterr_fault) MUST_CHECK;

/* A resolver that asks whom the site asks. Errors as resolver_create. */
enum err site_open_resolver(const struct site *s, struct loop *loop,
                            struct resolver **ret_resolver) MUST_CHECK;

/* Items of a JSON list, and lines for Prometheus: the endpoints of all backends, 1000 at most. Of
 * the thread that publishes. */
void site_write_endpoints_json(const struct site *s, uint64_t now_ms, struct buf *out);
void site_write_endpoints_prometheus(const struct site *s, uint64_t now_ms, struct buf *out);

/* How far links below the root of the route may lead. */
enum file_links site_links(const struct site_route *route);

/* The host that answers for `authority` (as sent), or NULL. */
const struct site_host *site_find_host(const struct site *s, struct str authority);
