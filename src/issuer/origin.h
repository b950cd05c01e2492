/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said to the Origin CA of Cloudflare (API v4, POST /certificates), which signs for servers
 * that stand behind it: nobody but its edge trusts that. Bytes only.
 */
#pragma once

#include "base/buf.h"
#include "issuer/web.h"

#define ORIGIN_REASON_BYTES 320

/* Appends the request for a certificate of `names` that is good for `days`; `csr` is DER, of an
 * ECDSA key. ERR_NOMEM. */
enum err origin_write(const struct str *names, size_t count, struct str csr, int64_t days,
                      struct buf *out) MUST_CHECK;

/* Appends the certificate (PEM) out of an answer. ERR_SYNTAX: there is none, and `ret_reason` says
 * in a sentence what the API says; ERR_NOMEM. */
enum err origin_read(const struct web_answer *answer, struct buf *out,
                     char ret_reason[ORIGIN_REASON_BYTES]) MUST_CHECK;
