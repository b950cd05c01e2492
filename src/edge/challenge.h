/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers the questions by which a public authority makes sure who serves a name: HTTP-01 (RFC 8555
 * 8.3) and TLS-ALPN-01 (RFC 8737). Another process writes the answers into two folders; only what
 * lies there is answered.
 */
#pragma once

#include "crypto/client_hello.h"
#include "edge/request.h"

#define CHALLENGE_PROTOCOL "acme-tls/1"

/* Before hosts, redirects and whatever guards them. False: the request was answered. */
bool challenge_pass(struct request *r);

/* The client offers the protocol of TLS-ALPN-01 and nothing else. */
bool challenge_is_asked(const struct pipeline *p, const struct client_hello *hello);

/* The certificate for the name, and a policy that speaks that protocol alone. ERR_NOT_FOUND: no
 * challenge is open for it; ERR_NOMEM. */
enum err challenge_choose(struct pipeline *p, const struct client_hello *hello,
                          struct tls_choice *ret_choice) MUST_CHECK;

/* Ends what the pipeline holds for this. */
void challenge_done(struct pipeline *p);
