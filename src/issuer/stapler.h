/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the OCSP responders (RFC 6960) that certificates name, and keeps what they answer where the
 * edge finds it: `<folder>/ocsp/<SHA-256 of the certificate>.der`. Only an answer that was judged
 * good is kept; it is asked for again when half of its life is over, so that a responder may be
 * away for as long as the other half.
 */
#pragma once

#include "issuer/issuer.h"

struct stapler;

/* `task` and `io` must live as long. ERR_NOMEM. */
enum err stapler_create(const struct task *task, const struct issuer_io *io,
                        struct stapler **ret_stapler) MUST_CHECK;
void stapler_destroy(struct stapler *s);

/* Asks for what is due, of the chains and of the sets of the task. Returns when to come back, in
 * Unix seconds. */
int64_t stapler_work(struct stapler *s);

/* `c` with the answer that is kept for it, judged again. ERR_NOT_FOUND: there is none that holds
 * at `now_s`; ERR_NOMEM. */
enum err stapler_staple(struct str folder, struct certificate *c, int64_t now_s,
                        struct certificate **ret_stapled) MUST_CHECK;
