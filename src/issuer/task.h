/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an issuer has to do, as one piece of bytes from the edge that knows the configuration to the
 * process that gets the certificates. So that process reads no configuration and no other key. The
 * bytes never leave the machine; both sides are one program.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "conf/settings.h"

#define TASK_SETS_MAX 1024
#define TASK_NAMES_MAX 100 /* of one certificate */

struct origin_settings {
    struct str token;
    int64_t days;
};

/* One certificate. */
struct task_set {
    struct str *names; /* host names, "*.x", addresses */
    size_t name_count;
    struct acme_settings acme;     /* without the parts of conf_object */
    struct origin_settings origin; /* token.n: Cloudflare signs, whose URL stands in acme.ca */
    bool is_on_demand;             /* of the issuer: counts towards its limits; not passed on */
};

struct task {
    struct str folder; /* absolute; where everything is kept */
    struct str user;   /* whom to become; empty = nobody else */
    struct str log;    /* file; empty = stderr */
    int64_t log_level; /* enum conf_log_level */
    bool has_sandbox;
    bool has_plain; /* the server answers plain HTTP, so HTTP-01 can be tried */
    bool user_is_default;
    struct task_set *sets;
    size_t count;
    struct task_set *demands; /* how names on demand are got; without names */
    size_t demand_count;      /* TASK_SETS_MAX at most */
    struct str *chains; /* of files, in PEM: leaf and issuer, whose OCSP responder is to be asked */
    size_t chain_count; /* TASK_SETS_MAX at most */
};

/* Its names are proved in the DNS. */
bool task_set_has_dns(const struct task_set *set);

/* Appends the bytes. ERR_NOMEM. */
enum err task_write(const struct task *t, struct buf *out) MUST_CHECK;

/* The inverse; texts end with a NUL behind them. ERR_SYNTAX: of another program; ERR_NOMEM. */
enum err task_read(struct arena *arena, struct str bytes, struct task *ret_task) MUST_CHECK;
