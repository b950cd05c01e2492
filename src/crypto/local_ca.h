/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A certificate authority for one machine (`issuer: internal`): a root that is made once and kept,
 * and leaves for names and addresses that are made again before they run out. Everything is P-256.
 * Beginnings lie an hour back, for clients whose clocks are behind.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "crypto/fault.h"

#define LOCAL_CA_LEAF_DAYS_MIN 7
#define LOCAL_CA_LEAF_DAYS_MAX 90
#define LOCAL_CA_NAMES_MAX 100

struct local_ca;

/* A root "Selenia local root <host>" for ten years from `now_s` (Unix seconds). ERR_NOMEM. */
enum err local_ca_create(struct str host, int64_t now_s, struct local_ca **ret_ca) MUST_CHECK;

/* A root that was exported. ERR_SYNTAX, ERR_CONFIG (no CA, or the key of another), ERR_NOMEM. */
enum err local_ca_import(struct str certificate_pem, struct str key_pem, struct local_ca **ret_ca,
                         struct fault *reterr_fault) MUST_CHECK;

/* Appends the root in PEM, for people to trust. */
enum err local_ca_export_certificate(const struct local_ca *ca, struct buf *out) MUST_CHECK;

/* Appends the key in PEM; the caller keeps it from others and wipes its copy. */
enum err local_ca_export_key(const struct local_ca *ca, struct buf *out) MUST_CHECK;

/* NULL is a no-op. */
void local_ca_destroy(struct local_ca *ca);

int64_t local_ca_not_after_s(const struct local_ca *ca);

struct local_ca_order {
    const struct str *names; /* host names (also "*.x") and the text of addresses */
    size_t name_count;
    unsigned days; /* but never past the end of the root */
};

/* Appends a new leaf and its new key in PEM. ERR_RANGE: names or days out of bounds; ERR_SYNTAX:
 * a name that is neither; ERR_TIMEOUT: the root has run out; ERR_NOMEM. */
enum err local_ca_issue(const struct local_ca *ca, const struct local_ca_order *order,
                        int64_t now_s, struct buf *chain_out, struct buf *key_out) MUST_CHECK;
