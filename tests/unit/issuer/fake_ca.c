/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_ca.h"

#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <gnutls/x509.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "base/base64url.h"
#include "base/mem.h"

unsigned long fake_ca_fail_at;

static gnutls_x509_privkey_t signer;
static gnutls_x509_crt_t root;
static char answer_body[16384], answer_nonce[32], answer_location[128];

static void make_root(void)
{
    static const unsigned char serial[] = {1};
    gnutls_x509_privkey_init(&signer);
    gnutls_x509_privkey_generate(signer, GNUTLS_PK_ECDSA,
                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&root);
    gnutls_x509_crt_set_version(root, 3);
    gnutls_x509_crt_set_key(root, signer);
    gnutls_x509_crt_set_serial(root, serial, sizeof(serial));
    gnutls_x509_crt_set_dn(root, "CN=fake", NULL);
    gnutls_x509_crt_set_activation_time(root, 0);
    gnutls_x509_crt_set_expiration_time(root, 4000000000);
    gnutls_x509_crt_set_basic_constraints(root, 1, 0);
    gnutls_x509_crt_set_subject_key_id(root, "fake-key", 8);
    gnutls_x509_crt_sign2(root, root, signer, GNUTLS_DIG_SHA256, 0);
}

struct fake_ca *fake_ca_create(void)
{
    struct fake_ca *f =
        mmap(NULL, sizeof(*f), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(f != MAP_FAILED);
    if (!signer) {
        make_root();
    }
    f->not_before_s = 1000000000;
    f->not_after_s = 1000000000 + 90 * 86400;
    return f;
}

void fake_ca_destroy(struct fake_ca *f)
{
    munmap(f, sizeof(*f));
}

/* ---- certificates ---- */

static bool sign(struct fake_ca *f, struct fake_order *order, struct str csr)
{
    gnutls_datum_t der = {(unsigned char *)(uintptr_t)csr.p, (unsigned)csr.n}, pem;
    gnutls_x509_crq_t request;
    gnutls_x509_crt_t crt;
    unsigned char serial[4] = {2, 0, (unsigned char)(f->order_count >> 8),
                               (unsigned char)f->order_count};
    gnutls_x509_crq_init(&request);
    gnutls_x509_crt_init(&crt);
    bool is_good = gnutls_x509_crq_import(request, &der, GNUTLS_X509_FMT_DER) == 0 &&
                   gnutls_x509_crq_verify(request, 0) == 0;
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_crq(crt, request);
    if (f->signs_other_key) {
        gnutls_x509_crt_set_key(crt, signer);
    }
    for (unsigned i = 0; i < order->name_count; i++) {
        gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, order->names[i],
                                             (unsigned)strlen(order->names[i]), GNUTLS_FSAN_APPEND);
    }
    gnutls_x509_crt_set_serial(crt, serial, sizeof(serial));
    gnutls_x509_crt_set_authority_key_id(crt, "fake-key", 8);
    gnutls_x509_crt_set_activation_time(crt, f->not_before_s);
    gnutls_x509_crt_set_expiration_time(crt, f->not_after_s);
    is_good = is_good && gnutls_x509_crt_sign2(crt, root, signer, GNUTLS_DIG_SHA256, 0) == 0 &&
              gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &pem) == 0;
    if (is_good) {
        snprintf(order->chain, sizeof(order->chain), "%.*s", (int)pem.size, pem.data);
        gnutls_free(pem.data);
        is_good = gnutls_x509_crt_export2(root, GNUTLS_X509_FMT_PEM, &pem) == 0;
    }
    if (is_good) {
        size_t n = strlen(order->chain);
        snprintf(order->chain + n, sizeof(order->chain) - n, "%.*s", (int)pem.size, pem.data);
        gnutls_free(pem.data);
    }
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_crq_deinit(request);
    return is_good;
}

/* ---- answers ---- */

static unsigned say(unsigned status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static unsigned say(unsigned status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(answer_body, sizeof(answer_body), format, args);
    va_end(args);
    return status;
}

static unsigned say_error(unsigned status, const char *type)
{
    return say(status, "{\"type\":\"urn:ietf:params:acme:error:%s\",\"detail\":\"so it is\"}",
               type);
}

static unsigned say_order(const struct fake_order *o, unsigned id, unsigned status)
{
    bool is_ready = true;
    size_t n = 0;
    for (unsigned i = 0; i < o->name_count; i++) {
        is_ready &= o->is_valid[i];
    }
    const char *state = o->is_invalid                            ? "invalid"
                        : o->is_finalized && o->processing_polls ? "processing"
                        : o->is_finalized                        ? "valid"
                        : is_ready                               ? "ready"
                                                                 : "pending";
    n += (size_t)snprintf(answer_body, sizeof(answer_body),
                          "{\"status\":\"%s\",\"finalize\":\"https://ca.test/finalize/%u\","
                          "\"certificate\":\"https://ca.test/certificate/%u\","
                          "\"authorizations\":[",
                          state, id, id);
    for (unsigned i = 0; i < o->name_count; i++) {
        n += (size_t)snprintf(answer_body + n, sizeof(answer_body) - n,
                              "%s\"https://ca.test/authorization/%u-%u\"", i ? "," : "", id, i);
    }
    snprintf(answer_body + n, sizeof(answer_body) - n, "]}");
    return status;
}

static unsigned say_authorization(struct fake_ca *f, struct fake_order *o, unsigned id, unsigned i)
{
    if (o->was_asked[i] && !o->is_valid[i] && o->polls[i]++ >= f->pending_polls) {
        o->is_valid[i] = !f->refuses_proofs;
        o->is_invalid = f->refuses_proofs;
    }
    const char *name = strncmp(o->names[i], "*.", 2) == 0 ? o->names[i] + 2 : o->names[i];
    const char *state = o->is_invalid ? "invalid" : o->is_valid[i] ? "valid" : "pending";
    return say(200,
               "{\"status\":\"%s\",\"identifier\":{\"type\":\"dns\",\"value\":\"%s\"},"
               "\"challenges\":[{\"type\":\"other-01\"},"
               "{\"type\":\"%s\",\"url\":\"https://ca.test/challenge/%u-%u\",\"token\":\"to_%u\","
               "\"status\":\"%s\",\"error\":{\"type\":\"urn:ietf:params:acme:error:connection\","
               "\"detail\":\"nobody home\"}},"
               "{\"type\":\"http-01\",\"url\":\"https://ca.test/challenge/%u-%u\","
               "\"token\":\"to_%u\",\"status\":\"%s\"},"
               "{\"type\":\"dns-01\",\"url\":\"https://ca.test/challenge/%u-%u\","
               "\"token\":\"to_%u\",\"status\":\"%s\"}]}",
               state, name, f->has_no_tls_alpn ? "none-01" : "tls-alpn-01", id, i, i, state, id, i,
               i, state, id, i, i, state);
}

/* The part of a JWS, decoded from base64url and parsed; NULL for the empty payload. */
static json_t *part(const json_t *jws, const char *name)
{
    struct buf bytes;
    json_error_t fault;
    buf_init(&bytes, 0);
    ASSERT(base64url_decode(&bytes, str_of(json_string_value(json_object_get(jws, name)))) ==
           ERR_OK);
    json_t *value = bytes.n ? json_loadb(bytes.p, bytes.n, 0, &fault) : NULL;
    buf_done(&bytes);
    return value;
}

static unsigned take_account(struct fake_ca *f, const json_t *payload)
{
    const char *contact = json_string_value(json_array_get(json_object_get(payload, "contact"), 0));
    ASSERT(json_is_true(json_object_get(payload, "termsOfServiceAgreed")));
    f->had_eab = json_object_get(payload, "externalAccountBinding") != NULL;
    snprintf(f->last_contact, sizeof(f->last_contact), "%s", contact ? contact : "");
    snprintf(answer_location, sizeof(answer_location), "https://ca.test/account/1");
    f->accounts++;
    return say(201, "{\"status\":\"valid\"}");
}

static unsigned take_new_order(struct fake_ca *f, const json_t *payload)
{
    const json_t *list = json_object_get(payload, "identifiers");
    const char *replaces = json_string_value(json_object_get(payload, "replaces"));
    unsigned id = f->order_count++;
    ASSERT(id < FAKE_ORDERS_MAX && json_array_size(list) <= FAKE_NAMES_MAX);
    struct fake_order *o = &f->orders[id];
    *o = (struct fake_order){.name_count = (unsigned)json_array_size(list)};
    for (unsigned i = 0; i < o->name_count; i++) {
        snprintf(o->names[i], sizeof(o->names[i]), "%s",
                 json_string_value(json_object_get(json_array_get(list, i), "value")));
    }
    snprintf(f->replaces, sizeof(f->replaces), "%s", replaces ? replaces : "");
    snprintf(answer_location, sizeof(answer_location), "https://ca.test/order/%u", id);
    return say_order(o, id, 201);
}

static unsigned take_finalize(struct fake_ca *f, struct fake_order *o, unsigned id,
                              const json_t *payload)
{
    struct buf csr;
    buf_init(&csr, 0);
    ASSERT(base64url_decode(&csr, str_of(json_string_value(json_object_get(payload, "csr")))) ==
           ERR_OK);
    bool is_good = !o->is_invalid && sign(f, o, buf_str(&csr));
    buf_done(&csr);
    o->is_finalized = is_good;
    o->processing_polls = f->processing_polls;
    return is_good ? say_order(o, id, 200) : say_error(403, "badCSR");
}

static enum fake_step step_of(const char *url, unsigned *ret_id, unsigned *ret_at)
{
    static const char *const names[FAKE_STEPS] = {
        [FAKE_AT_DIRECTORY] = "dir",
        [FAKE_AT_NONCE] = "nonce",
        [FAKE_AT_ACCOUNT] = "new-account",
        [FAKE_AT_NEW_ORDER] = "new-order",
        [FAKE_AT_AUTHORIZATION] = "authorization/",
        [FAKE_AT_CHALLENGE] = "challenge/",
        [FAKE_AT_FINALIZE] = "finalize/",
        [FAKE_AT_ORDER] = "order/",
        [FAKE_AT_CERTIFICATE] = "certificate/",
        [FAKE_AT_WINDOW] = "window/",
    };
    const char *path = url + strlen("https://ca.test/");
    for (int i = 1; i < FAKE_STEPS; i++) {
        if (strncmp(path, names[i], strlen(names[i])) == 0) {
            sscanf(path + strlen(names[i]), "%u-%u", ret_id, ret_at);
            return (enum fake_step)i;
        }
    }
    return FAKE_NONE;
}

static unsigned answer_post(struct fake_ca *f, enum fake_step step, unsigned id, unsigned at,
                            const json_t *payload)
{
    struct fake_order *o = &f->orders[id];
    if (step == FAKE_AT_ACCOUNT) {
        return take_account(f, payload);
    }
    if (step == FAKE_AT_NEW_ORDER) {
        return take_new_order(f, payload);
    }
    if (id >= f->order_count || at >= FAKE_NAMES_MAX) {
        return say_error(404, "malformed");
    }
    if (step == FAKE_AT_AUTHORIZATION) {
        return say_authorization(f, o, id, at);
    }
    if (step == FAKE_AT_CHALLENGE) {
        ASSERT(json_is_object(payload));
        o->was_asked[at] = true;
        return say(200, "{}");
    }
    if (step == FAKE_AT_FINALIZE) {
        return take_finalize(f, o, id, payload);
    }
    if (step == FAKE_AT_ORDER) {
        unsigned status = say_order(o, id, 200);
        o->processing_polls -= o->is_finalized && o->processing_polls;
        return status;
    }
    return o->is_finalized ? say(200, "%s", o->chain) : say_error(403, "orderNotReady");
}

/* A nonce is good once. */
static bool take_nonce(struct fake_ca *f, const char *nonce)
{
    unsigned number;
    if (!nonce || sscanf(nonce, "nonce%u", &number) != 1 || number > f->nonce_count ||
        f->is_nonce_used[number]) {
        return false;
    }
    f->is_nonce_used[number] = true;
    if (f->bad_nonces) {
        f->bad_nonces--;
        return false;
    }
    return true;
}

static unsigned check_post(struct fake_ca *f, const char *url, enum fake_step step, unsigned id,
                           unsigned at, struct str body)
{
    json_error_t fault;
    json_t *jws = json_loadb(body.p, body.n, 0, &fault);
    ASSERT(jws);
    json_t *header = part(jws, "protected"), *payload = part(jws, "payload");
    const char *kid = json_string_value(json_object_get(header, "kid"));
    unsigned status;
    ASSERT(strcmp(json_string_value(json_object_get(header, "alg")), "ES256") == 0);
    ASSERT(strcmp(json_string_value(json_object_get(header, "url")), url) == 0);
    if (!take_nonce(f, json_string_value(json_object_get(header, "nonce")))) {
        status = say_error(400, "badNonce");
    } else if (step == FAKE_AT_ACCOUNT) {
        ASSERT(json_object_get(header, "jwk") && !kid);
        status = answer_post(f, step, id, at, payload);
    } else if (f->accounts == 0 || !kid || strcmp(kid, "https://ca.test/account/1") != 0) {
        status = say_error(400, "accountDoesNotExist");
    } else {
        status = answer_post(f, step, id, at, payload);
    }
    json_decref(jws);
    json_decref(header);
    json_decref(payload);
    return status;
}

static unsigned answer_get(const struct fake_ca *f, enum fake_step step)
{
    if (step == FAKE_AT_WINDOW) {
        return say(200, "{\"suggestedWindow\":{\"start\":\"2001-11-01T00:00:00Z\","
                        "\"end\":\"2001-11-02T01:00:00.5+01:00\"}}");
    }
    if (step != FAKE_AT_DIRECTORY) {
        return say(200, "%s", "");
    }
    return say(200,
               "{\"newNonce\":\"https://ca.test/nonce\",%s"
               "\"newAccount\":\"https://ca.test/new-account\","
               "\"newOrder\":\"https://ca.test/new-order\","
               "\"meta\":{\"externalAccountRequired\":%s}}",
               f->has_window ? "\"renewalInfo\":\"https://ca.test/window\"," : "",
               f->needs_eab ? "true" : "false");
}

static unsigned answer(struct fake_ca *f, const struct acme_action *request)
{
    char url[ACME_URL_BYTES_MAX];
    unsigned id = 0, at = 0;
    snprintf(url, sizeof(url), STR_FMT, STR_ARG(request->url));
    ASSERT(strncmp(url, "https://ca.test/", 16) == 0);
    enum fake_step step = step_of(url, &id, &at);
    ASSERT(step != FAKE_NONE);
    f->requests[step]++;
    if (f->error_count && f->error_at == step) {
        f->error_count--;
        return say_error(f->error_status, f->error_type);
    }
    unsigned status = request->method == WEB_POST ? check_post(f, url, step, id, at, request->body)
                                                  : answer_get(f, step);
    if (f->garbage_at == step && status < 300) {
        say(status, "%s", f->garbage);
    }
    return status;
}

void fake_ca_answer(struct fake_ca *f, const struct acme_action *request,
                    struct web_answer *ret_answer)
{
    unsigned long made = mem_test_fail_at(0);
    fake_ca_fail_at = fake_ca_fail_at > made ? fake_ca_fail_at - made : 0;
    answer_location[0] = '\0';
    snprintf(answer_nonce, sizeof(answer_nonce), "nonce%u", ++f->nonce_count);
    ASSERT(f->nonce_count < COUNT_OF(f->is_nonce_used));
    unsigned status = answer(f, request);
    *ret_answer = (struct web_answer){
        .status = status,
        .body = request->method == WEB_HEAD ? STR("") : str_of(answer_body),
        .nonce = request->method == WEB_GET ? STR("") : str_of(answer_nonce),
        .location = str_of(answer_location),
        .retry_after = f->retry_after ? str_of(f->retry_after) : STR(""),
    };
    mem_test_fail_at(fake_ca_fail_at);
}
