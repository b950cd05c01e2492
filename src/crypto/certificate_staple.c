/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/certificate_int.h"

#include <gnutls/ocsp.h>

#include "base/buf.h"
#include "base/mem.h"

#define CLOCK_SKEW_S 300
#define UNSTATED_FRESHNESS_S 86400 /* a response that names no next update */
#define STAPLE_BYTES_MAX 65535

enum err certificate_ocsp_request(const struct certificate *c, struct buf *out)
{
    const struct certificate_core *core = c->core;
    gnutls_ocsp_req_t request;
    gnutls_datum_t der = {NULL, 0};
    if (core->crt_count < 2) {
        return ERR_UNSUPPORTED;
    }
    if (gnutls_ocsp_req_init(&request) < 0) {
        return ERR_NOMEM;
    }
    int r = gnutls_ocsp_req_add_cert(request, GNUTLS_DIG_SHA1, core->crts[1], core->crts[0]);
    if (r >= 0) {
        r = gnutls_ocsp_req_export(request, &der);
    }
    gnutls_ocsp_req_deinit(request);
    if (r < 0) {
        return crypto_err(r);
    }
    buf_add(out, der.data, der.size);
    gnutls_free(der.data);
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

enum err certificate_put_chain(const struct certificate *c, struct buf *out)
{
    if (c->core->crt_count < 2) {
        return ERR_UNSUPPORTED;
    }
    for (unsigned i = 0; i < 2; i++) {
        gnutls_datum_t pem = {NULL, 0};
        int r = gnutls_x509_crt_export2(c->core->crts[i], GNUTLS_X509_FMT_PEM, &pem);
        if (r < 0) {
            return crypto_err(r);
        }
        buf_add(out, pem.data, pem.size);
        gnutls_free(pem.data);
    }
    return out->is_failed ? ERR_NOMEM : ERR_OK;
}

struct span {
    int64_t from_s, until_s;
};

/* Looks for the entry about the leaf and judges it. */
static enum err judge_entry(const struct certificate_core *core, gnutls_ocsp_resp_t response,
                            int64_t now_s, struct span *ret_span, struct fault *fault)
{
    for (unsigned i = 0;; i++) {
        unsigned status = 0;
        time_t this_update = -1, next_update = -1;
        int r = gnutls_ocsp_resp_get_single(response, i, NULL, NULL, NULL, NULL, &status,
                                            &this_update, &next_update, NULL, NULL);
        if (r < 0) {
            return fault_set(fault, ERR_CONFIG, "the OCSP response is about another certificate");
        }
        if (gnutls_ocsp_resp_check_crt(response, i, core->crts[0]) < 0) {
            continue;
        }
        int64_t until_s = next_update == -1 ? this_update + UNSTATED_FRESHNESS_S : next_update;
        if (this_update == -1 || this_update > now_s + CLOCK_SKEW_S || until_s <= now_s) {
            return fault_set(fault, ERR_TIMEOUT, "the OCSP response is not fresh");
        }
        if (status == GNUTLS_OCSP_CERT_REVOKED) {
            return fault_set(fault, ERR_CANCELLED, "the certificate is revoked");
        }
        if (status != GNUTLS_OCSP_CERT_GOOD) {
            return fault_set(fault, ERR_ACCESS, "the certificate is unknown to its issuer");
        }
        *ret_span = (struct span){this_update, until_s};
        return ERR_OK;
    }
}

static enum err judge(const struct certificate_core *core, gnutls_ocsp_resp_t response,
                      int64_t now_s, struct span *ret_span, struct fault *fault)
{
    unsigned verdict = 0;
    int status = gnutls_ocsp_resp_get_status(response);
    if (status != GNUTLS_OCSP_RESP_SUCCESSFUL) {
        return fault_set(fault, ERR_SYNTAX, "the OCSP responder answered with an error (%d)",
                         status);
    }
    int r = gnutls_ocsp_resp_verify_direct(response, core->crts[1], &verdict, 0);
    if (r < 0 || verdict != 0) {
        return fault_set(fault, ERR_ACCESS, "the OCSP response is not signed by the issuer");
    }
    return judge_entry(core, response, now_s, ret_span, fault);
}

enum err certificate_staple(struct certificate *c, struct str response, int64_t now_s,
                            struct certificate **ret_cert, struct fault *reterr_fault)
{
    struct certificate_core *core = c->core;
    gnutls_ocsp_resp_t parsed;
    gnutls_datum_t der = datum_of(response);
    struct span span = {0};
    if (core->crt_count < 2) {
        return fault_set(reterr_fault, ERR_UNSUPPORTED,
                         "the chain lacks the issuer, which checks the OCSP response");
    }
    if (response.n > STAPLE_BYTES_MAX) {
        return fault_set(reterr_fault, ERR_SYNTAX, "the OCSP response is too long");
    }
    fault_set(reterr_fault, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    if (gnutls_ocsp_resp_init(&parsed) < 0) {
        return ERR_NOMEM;
    }
    int r = gnutls_ocsp_resp_import(parsed, &der);
    enum err e =
        r < 0 ? fault_set(reterr_fault, crypto_err(r), "the OCSP response: %s", gnutls_strerror(r))
              : judge(core, parsed, now_s, &span, reterr_fault);
    gnutls_ocsp_resp_deinit(parsed);
    if (e) {
        return e;
    }
    char *copy = mem_dup(response.p, response.n);
    if (!copy) {
        return ERR_NOMEM;
    }
    struct certificate *stapled;
    atomic_fetch_add_explicit(&core->ref_count, 1, memory_order_relaxed);
    e = certificate_wrap(core, &stapled);
    if (e) {
        mem_free(copy);
        return e;
    }
    stapled->staple.response = datum_of(str_make(copy, response.n));
    stapled->staple.exptime = span.until_s;
    stapled->staple_from_s = span.from_s;
    *ret_cert = stapled;
    return ERR_OK;
}
