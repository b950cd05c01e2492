/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/certificate_int.h"

#include <arpa/inet.h>
#include <gnutls/x509-ext.h>

#include "base/mem.h"

#define OID_SUBJECT_ALT_NAME "2.5.29.17"
#define LABEL_BYTES_MAX 63
#define NAME_BYTES_MAX 253

static bool is_label(struct str label)
{
    if (label.n == 0 || label.n > LABEL_BYTES_MAX || label.p[0] == '-' ||
        label.p[label.n - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < label.n; i++) {
        char c = label.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
            return false;
        }
    }
    return true;
}

bool certificate_name_is_legal(struct str name)
{
    struct str rest = str_starts_with(name, STR("*.")) ? str_sub(name, 2, name.n) : name;
    struct str label;
    if (name.n == 0 || name.n > NAME_BYTES_MAX || rest.n == 0 || rest.p[rest.n - 1] == '.') {
        return false;
    }
    while (str_split(&rest, '.', &label)) {
        if (!is_label(label)) {
            return false;
        }
    }
    return true;
}

static enum err add_name(struct certificate_core *core, struct str name)
{
    if (core->name_count == CERTIFICATE_NAMES_MAX) {
        return ERR_LIMIT;
    }
    struct str *grown = mem_realloc(core->names, (core->name_count + 1) * sizeof(*grown));
    if (!grown) {
        return ERR_NOMEM;
    }
    core->names = grown;
    char *copy = mem_dup(name.p, name.n);
    if (!copy) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < name.n; i++) {
        copy[i] = ascii_lower(copy[i]);
    }
    core->names[core->name_count++] = str_make(copy, name.n);
    return ERR_OK;
}

static enum err read_name(struct certificate_core *core, unsigned type, struct str value,
                          struct fault *fault)
{
    char text[INET6_ADDRSTRLEN];
    enum err e = ERR_OK;
    if (type == GNUTLS_SAN_DNSNAME) {
        if (!certificate_name_is_legal(value)) {
            return fault_set(fault, ERR_SYNTAX, "the certificate has a name that no host can have");
        }
        e = add_name(core, value);
    } else if (type == GNUTLS_SAN_IPADDRESS) {
        if (value.n != 4 && value.n != 16) {
            return fault_set(fault, ERR_SYNTAX, "the certificate has a malformed IP address");
        }
        inet_ntop(value.n == 4 ? AF_INET : AF_INET6, value.p, text, sizeof(text));
        e = add_name(core, str_of(text));
    }
    return e ? fault_set(fault, e, "the names of the certificate: %s", err_text(e)) : ERR_OK;
}

enum err certificate_read_names(struct certificate_core *core, gnutls_x509_crt_t leaf,
                                struct fault *reterr_fault)
{
    gnutls_datum_t extension = {NULL, 0};
    gnutls_subject_alt_names_t sans = NULL;
    unsigned is_critical = 0;
    enum err e = ERR_OK;
    int r = gnutls_x509_crt_get_extension_by_oid2(leaf, OID_SUBJECT_ALT_NAME, 0, &extension,
                                                  &is_critical);
    if (r == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        return ERR_OK;
    }
    if (r >= 0) {
        r = gnutls_subject_alt_names_init(&sans);
    }
    if (r >= 0) {
        r = gnutls_x509_ext_import_subject_alt_names(&extension, sans, 0);
    }
    for (unsigned i = 0; r >= 0 && !e; i++) {
        gnutls_datum_t value;
        unsigned type = 0;
        r = gnutls_subject_alt_names_get(sans, i, &type, &value, NULL);
        if (r >= 0) {
            e = read_name(core, type, str_make((const char *)value.data, value.size), reterr_fault);
        }
    }
    if (!e && r != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
        e = fault_set(reterr_fault, crypto_err(r), "the names of the certificate: %s",
                      gnutls_strerror(r));
    }
    if (sans) {
        gnutls_subject_alt_names_deinit(sans);
    }
    gnutls_free(extension.data);
    return e;
}
