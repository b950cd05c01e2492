/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of names, asked for without blocking: the files of the machine (/etc/hosts) and DNS, of
 * one loop. Answers are kept for their TTL, 5 to 300 seconds, are asked for anew by the first who
 * needs them afterwards, and serve on for an hour where the new answer is none. Names come from the
 * configuration, never from clients, so what is kept is bounded by that.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "os/socket.h"

struct loop;
struct resolver;
struct resolver_question;

/* `addresses` are valid during the call; `count` 0: there are none. */
typedef void (*resolver_answer_fn)(struct resolver_question *q,
                                   const struct socket_address *addresses, unsigned count);

/* Embedded in its asker, zeroed before the first question. */
struct resolver_question {
    struct list link; /* next NULL: never asked */
    resolver_answer_fn on_answer;
    uint16_t port;
};

#define RESOLVER_ADDRESSES_MAX 64
#define RESOLVER_SERVICES_MAX 64

/* One SRV record (RFC 2782). */
struct resolver_service {
    struct str target;
    uint16_t port;
    uint16_t priority; /* the lowest first */
    uint16_t weight;
};

struct resolver_service_question;

/* `services` are valid during the call. ERR_OK: there are these, maybe none; ERR_NOT_FOUND: the
 * name does not exist or has no such records; else nobody could be asked. */
typedef void (*resolver_services_fn)(struct resolver_service_question *q, enum err e,
                                     const struct resolver_service *services, unsigned count);

/* Embedded in its asker, zeroed before the first question. */
struct resolver_service_question {
    struct resolver_service_asked *asked; /* NULL: none is open */
    resolver_services_fn on_answer;
};

/* `servers`: name servers in place of those of the machine, "192.0.2.1:53,[2001:db8::1]:53", or
 * NULL. The loop must outlive the resolver. ERR_NOMEM; ERR_SYNTAX: the servers; ERR_IO. */
enum err resolver_create(struct loop *loop, const char *servers,
                         struct resolver **ret_resolver) MUST_CHECK;

/* Questions that are open are forgotten. */
void resolver_destroy(struct resolver *r);

/* Asks for the addresses of `name`, each with `port`; the answer may come from within this call.
 * ERR_NOMEM: there will be none. ERR_LIMIT: the name is too long. */
enum err resolver_ask(struct resolver *r, struct str name, uint16_t port,
                      struct resolver_question *q, resolver_answer_fn on_answer) MUST_CHECK;

/* Asks for the SRV records of `name`; nothing is kept, so each question is asked. The answer may
 * come from within this call. ERR_NOMEM, ERR_LIMIT as above. */
enum err resolver_ask_services(struct resolver *r, struct str name,
                               struct resolver_service_question *q,
                               resolver_services_fn on_answer) MUST_CHECK;
void resolver_forget_services(struct resolver_service_question *q);

/* The answer does not matter any more; a no-op where none is due. */
void resolver_forget(struct resolver_question *q);

/* Nobody listens at this address of `name`: the others come first for as long as they are kept. */
void resolver_avoid(struct resolver *r, struct str name, const struct socket_address *address);
