/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of a backend at one moment: an immutable list that is counted, so that another one
 * can take its place while requests still go by this one. What is known of an endpoint (endpoint.h)
 * goes from list to list by its name.
 */
#pragma once

#include <stdatomic.h>

#include "base/err.h"
#include "base/str.h"
#include "conf/settings.h"
#include "crypto/fault.h"
#include "edge/balance.h"
#include "edge/sticky.h"
#include "net/client.h"

struct endpoint;

/* One endpoint, as whoever knows of it tells it; all text is copied. */
struct member {
    struct str name; /* for people, the same while it is the same; no two of a list have one */
    struct str url;  /* value_parse_upstream: its Host and TLS, and its address if none stands in */
    struct socket_address address; /* n 0: that of the url, whose host may then be a name */
    uint32_t weight;               /* 1 to 1000 */
    bool is_backup;
    struct str zone; /* empty: none */
};

struct upstream_endpoint {
    struct str name;             /* for logs and people */
    struct str url;              /* as told */
    struct str authority;        /* its own, for Host; never empty */
    struct client_target target; /* its address, unless it has a name */
    struct str host;             /* its name; empty: it has an address */
    uint16_t port;
    struct endpoint *state; /* shared by all loops and by the lists before and after */
    uint32_t weight;
    bool is_backup;
    bool is_grpc; /* nothing is sent twice that it may have seen */
    bool is_far;  /* of another zone than ours */
    struct str zone;
    char mark[STICKY_MARK_BYTES]; /* in cookies; not set where the backend sets none */
};

struct members {
    uint32_t magic;
    atomic_uint ref_count;
    struct tls_client *tls; /* the model of what those with TLS have; NULL: none */
    struct upstream_endpoint *items;
    size_t count; /* 0 to BALANCE_ENDPOINTS_MAX */
};

struct members_input {
    const struct backend_settings *settings;
    struct str backend; /* its name */
    const struct member *list;
    size_t count;                 /* at most BALANCE_ENDPOINTS_MAX */
    struct tls_client *tls;       /* what members with TLS are made like; NULL: none may have it */
    struct str zone;              /* ours; empty: none, and nobody is far */
    const struct members *before; /* whose endpoints go on, by name; NULL: none do */
};

/* One reference is the caller's. ERR_CONFIG: what a member says of itself; ERR_EXISTS: two have one
 * name; ERR_NOMEM. */
enum err members_create(const struct members_input *input, struct members **ret_members,
                        struct fault *reterr_fault) MUST_CHECK;

/* Thread-safe; ending NULL is a no-op. */
struct members *members_ref(struct members *m);
void members_unref(struct members *m);

/* What endpoint `e` was made from; its text lives as long as the list. */
struct member members_told(const struct upstream_endpoint *e);

/* Fills what is known of each at `now_ms`. */
void members_look(const struct members *m, uint64_t now_ms, struct balance_endpoint *ret_list);

/* NULL: none has this name. */
struct upstream_endpoint *members_find(const struct members *m, struct str name);
