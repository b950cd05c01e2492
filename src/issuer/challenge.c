/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/challenge.h"

#include <stdio.h>
#include <string.h>

#include "base/base64url.h"
#include "crypto/csr.h"
#include "crypto/digest.h"
#include "issuer/acme_store.h"
#include "issuer/dns_zone.h"
#include "os/file.h"
#include "os/process.h"
#include "os/socket.h"

#define NAME_BYTES 300
#define HOOK_MS 120000u
#define ANSWER_MODE 0640u
#define KEY_MODE 0600u

/* The name that a CA puts into its ClientHello: that of the host, or for an address its name in
 * the reverse tree (RFC 8738 6). */
static enum err challenge_server_name(struct str name, char ret_text[NAME_BYTES])
{
    struct socket_address a;
    if (socket_address_ip(name, 0, &a) != ERR_OK) {
        int n = snprintf(ret_text, NAME_BYTES, STR_FMT, STR_ARG(name));
        return n < NAME_BYTES && !memchr(ret_text, '/', (size_t)n) ? ERR_OK : ERR_SYNTAX;
    }
    uint8_t bytes[SOCKET_ADDRESS_BYTES_MAX];
    size_t count = socket_address_bytes(&a, bytes);
    size_t n = 0;
    for (size_t i = count; i-- > 0;) {
        n += (size_t)snprintf(ret_text + n, NAME_BYTES - n, count == 4 ? "%u." : "%x.%x.",
                              count == 4 ? bytes[i] : bytes[i] & 15u, bytes[i] >> 4);
    }
    snprintf(ret_text + n, NAME_BYTES - n, "%s", count == 4 ? "in-addr.arpa" : "ip6.arpa");
    return ERR_OK;
}

static enum err challenge_path(const struct challenge_place *place,
                               const struct acme_action *action, char ret_path[PATH_MAX])
{
    char name[NAME_BYTES], file[NAME_BYTES + 8];
    if (action->challenge == ACME_HTTP_01) {
        snprintf(file, sizeof(file), STR_FMT, STR_ARG(action->token));
        return store_path(place->folder, STORE_CHALLENGE_FOLDER, file, ret_path);
    }
    enum err e = challenge_server_name(action->name, name);
    snprintf(file, sizeof(file), "%s.pem", e ? "" : name);
    return e ? e : store_path(place->folder, STORE_ALPN_FOLDER, file, ret_path);
}

static enum err challenge_put_certificate(const struct challenge_place *place,
                                          const struct acme_action *action, struct buf *out)
{
    struct private_key *key;
    uint8_t hash[32];
    enum err e = digest_of(DIGEST_SHA256, action->key_authorization, hash);
    if (!e) {
        e = private_key_create(PRIVATE_KEY_P256, &key);
    }
    if (!e) {
        e = csr_create_challenge(key, action->name, hash, place->now_s, out);
        if (!e) {
            e = private_key_export(key, out);
        }
        private_key_destroy(key);
    }
    return e;
}

static enum err challenge_put_file(const struct challenge_place *place,
                                   const struct acme_action *action)
{
    char path[PATH_MAX], folder[PATH_MAX];
    struct buf bytes;
    bool is_http = action->challenge == ACME_HTTP_01;
    enum err e =
        store_path(place->folder, is_http ? STORE_CHALLENGE_FOLDER : STORE_ALPN_FOLDER, "", folder);
    if (!e) {
        e = challenge_path(place, action, path);
    }
    if (!e) {
        e = file_make_directories(folder);
    }
    if (e) {
        return e;
    }
    buf_init(&bytes, 0);
    if (is_http) {
        buf_add_str(&bytes, action->key_authorization);
        e = bytes.is_failed ? ERR_NOMEM : ERR_OK;
    } else {
        e = challenge_put_certificate(place, action, &bytes);
    }
    if (!e) {
        e = file_replace(path, buf_str(&bytes), is_http ? ANSWER_MODE : KEY_MODE);
    }
    store_wipe(&bytes);
    return e;
}

/* The value of the record (RFC 8555 8.4), after its name. */
static enum err challenge_record(const struct acme_action *action, struct buf *name,
                                 struct buf *value)
{
    uint8_t hash[32];
    enum err e = digest_of(DIGEST_SHA256, action->key_authorization, hash);
    if (!e) {
        buf_printf(name, "_acme-challenge." STR_FMT, STR_ARG(action->name));
        base64url_encode(value, str_make((char *)hash, sizeof(hash)));
        buf_add_char(name, '\0');
        buf_add_char(value, '\0');
        e = name->is_failed || value->is_failed ? ERR_NOMEM : ERR_OK;
    }
    return e;
}

static enum err challenge_run_hook(const struct challenge_place *place, const char *verb,
                                   const struct acme_action *action, struct fault *fault)
{
    struct buf name, value;
    int code = 0;
    buf_init(&name, 0);
    buf_init(&value, 0);
    enum err e = challenge_record(action, &name, &value);
    if (!e) {
        const char *argv[] = {place->dns->exec.p, verb, name.p, value.p, NULL};
        e = process_run_within(argv, HOOK_MS, &code);
    }
    if (e) {
        fault_set(fault, e, STR_FMT " %s: %s", STR_ARG(place->dns->exec), verb, err_text(e));
    } else if (code) {
        e = fault_set(fault, ERR_IO, STR_FMT " %s ended with %d", STR_ARG(place->dns->exec), verb,
                      code);
    }
    buf_done(&name);
    buf_done(&value);
    return e;
}

static enum err challenge_change_dns(const struct challenge_place *place, bool is_removal,
                                     const struct acme_action *action, struct fault *fault)
{
    struct buf name, value;
    if (place->dns->exec.n) {
        return challenge_run_hook(place, is_removal ? "cleanup" : "present", action, fault);
    }
    buf_init(&name, 0);
    buf_init(&value, 0);
    enum err e = challenge_record(action, &name, &value);
    if (e) {
        fault_set(fault, e, "%s", err_text(e));
    } else {
        e = dns_zone_change(&place->dns->rfc2136, str_of(name.p), str_of(value.p), is_removal,
                            place->now_s, fault);
    }
    buf_done(&name);
    buf_done(&value);
    return e;
}

enum err challenge_present(const struct challenge_place *place, const struct acme_action *action,
                           struct fault *reterr_fault)
{
    if (action->challenge == ACME_DNS_01) {
        return challenge_change_dns(place, false, action, reterr_fault);
    }
    enum err e = challenge_put_file(place, action);
    return e ? fault_set(reterr_fault, e,
                         "the answer of a challenge cannot be kept in " STR_FMT ": %s",
                         STR_ARG(place->folder), err_text(e))
             : ERR_OK;
}

enum err challenge_clean(const struct challenge_place *place, const struct acme_action *action,
                         struct fault *reterr_fault)
{
    char path[PATH_MAX];
    if (action->challenge == ACME_DNS_01) {
        return challenge_change_dns(place, true, action, reterr_fault);
    }
    enum err e = challenge_path(place, action, path);
    if (!e) {
        e = file_remove(path);
    }
    return e ? fault_set(reterr_fault, e, "%s", err_text(e)) : ERR_OK;
}
