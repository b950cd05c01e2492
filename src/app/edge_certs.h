/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of the edge: those of files, which a site brings, and those that the local
 * authority issues, which are kept from one configuration to the next and renewed in time.
 */
#pragma once

#include "crypto/certificate_store.h"
#include "crypto/fault.h"
#include "edge/site_files.h"

struct local_ca;

#define ISSUED_MAX 1024

struct issued {
    struct str names; /* joined, with spaces: what it was asked for; owned */
    struct certificate *certificate;
    bool is_wanted;
};

struct edge_certs {
    struct site_files *files; /* of the site in force; NULL: as the site brought them */
    struct local_ca *ca;      /* opened when first needed */
    struct issued issued[ISSUED_MAX];
    unsigned issued_count;
    /* Of the last store: certificates whose OCSP responder has not said yet that they are good, and
     * how many of those demand that it is said (RFC 7633). */
    unsigned unstapled_count;
    unsigned must_staple_count;
};

/* All certificates of `site` by name. ERR_CONFIG and others fill `reterr_fault`. */
enum err edge_certs_store(struct edge_certs *c, const struct site *site, int64_t now_s,
                          struct certificate_store **ret_store,
                          struct fault *reterr_fault) MUST_CHECK;

/* Whether some issued certificate should be replaced by now. */
bool edge_certs_are_due(const struct edge_certs *c, int64_t now_s);

void edge_certs_done(struct edge_certs *c);
