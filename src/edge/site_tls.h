/* SPDX-License-Identifier: Apache-2.0 */
/* What the TLS settings of a host, or of the server as a whole, become: a policy and the
 * certificates of its files. Certificates that someone has to issue are not made here. */
#pragma once

#include "base/arena.h"
#include "conf/diag.h"
#include "conf/settings.h"
#include "crypto/certificate_store.h"
#include "crypto/tls_policy.h"

struct site_tls {
    const struct tls_settings *settings;
    struct tls_policy *policy; /* NULL = off */
    struct certificate **certificates;
    size_t certificate_count;
    bool is_issued_here;    /* the local authority signs for the names of the host, but these: */
    struct str *acme_names; /* that a public authority signs for, as certificates carry them */
    size_t acme_count;
    bool takes_demands; /* other names of the host get theirs when a client asks for them */
    struct str hsts;    /* value of Strict-Transport-Security; empty = none */
};

struct site_tls_input {
    struct arena *arena; /* must outlive the result, as must the settings */
    const struct tls_settings *settings;
    const struct enum_list *protocols; /* enum protocol_choice */
    const struct site_tls *outer; /* whose certificates are shared where the files are the same */
    const struct domain_list *domains; /* of the host; NULL: the server as a whole */
    bool needs_certificate;            /* the server listens for HTTPS: having none is a fault */
};

/* ERR_CONFIG fills `diags`. What was made is ended by site_tls_done, also after a failure. */
enum err site_tls_init(struct site_tls *t, const struct site_tls_input *input,
                       struct diag_list *reterr_diags) MUST_CHECK;
void site_tls_done(struct site_tls *t);

/* Whether a public authority signs for `name` (in lower case), which may stand below a wildcard. */
bool site_tls_is_acme(const struct site_tls *t, struct str name);

/* Whether a certificate for `name` (in lower case), which no configuration names, is got when a
 * client asks for it. */
bool site_tls_is_on_demand(const struct site_tls *t, struct str name);

/* The domain is a name that a certificate can carry: no pattern but *.x, and not `default`. */
bool site_tls_is_certifiable(struct str domain);

/* Names that no public authority signs for, and the public DNS does not know. */
bool site_tls_is_local(struct str domain);

/* The certificate carries the name of the domain, or the wildcard for it. */
bool site_tls_carries(const struct certificate *c, struct str domain);
