/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/site_tls.h"

#include "base/assert.h"

#define TLS_ACME_NAMES_MAX 100

static enum err tls_fault(struct site_tls *t, const char *key, const char *sentence,
                          struct diag_list *diags)
{
    struct conf_origin origin = conf_origin_of(t->settings, key);
    diag_add(diags, origin, "%s: %s", key, sentence);
    return ERR_CONFIG;
}

static bool tls_speaks(const struct enum_list *protocols, enum protocol_choice protocol)
{
    for (uint32_t i = 0; i < protocols->count; i++) {
        if (protocols->items[i] == protocol) {
            return true;
        }
    }
    return false;
}

static enum err tls_build_policy(struct site_tls *t, const struct enum_list *protocols,
                                 struct diag_list *diags)
{
    const struct tls_settings *s = t->settings;
    struct fault fault;
    struct tls_policy_config config = {
        .min_version = s->min_version == TLS_CHOICE_13 ? TLS_VERSION_13 : TLS_VERSION_12,
        .ciphers = s->ciphers.items,
        .cipher_count = s->ciphers.count,
        .client_auth = TLS_CLIENT_OFF,
        .client_ca_pem = s->client_ca_pem,
        .takes_early_data = s->early_data == EARLY_DATA_SAFE,
    };
    if (tls_speaks(protocols, PROTOCOL_H2)) {
        config.alpn[config.alpn_count++] = STR("h2");
    }
    if (tls_speaks(protocols, PROTOCOL_H1)) {
        config.alpn[config.alpn_count++] = STR("http/1.1");
    }
    if (s->client_ca.p) {
        config.client_auth =
            s->client_auth == CLIENT_AUTH_OPTIONAL ? TLS_CLIENT_OPTIONAL : TLS_CLIENT_REQUIRE;
    }
    enum err e = tls_policy_create(&config, &t->policy, &fault);
    if (!e || e == ERR_NOMEM) {
        return e;
    }
    return tls_fault(t, config.client_auth == TLS_CLIENT_OFF ? "ciphers" : "client_ca", fault.text,
                     diags);
}

static bool tls_has_files_of(const struct tls_settings *a, const struct tls_settings *b)
{
    bool is_same = a->cert.count == b->cert.count && a->key.count == b->key.count;
    for (size_t i = 0; is_same && i < a->cert.count; i++) {
        is_same = str_eq(a->cert.items[i], b->cert.items[i]);
    }
    for (size_t i = 0; is_same && i < a->key.count; i++) {
        is_same = str_eq(a->key.items[i], b->key.items[i]);
    }
    return is_same;
}

/* By name, or by the wildcard one label up. */
static bool tls_covers(struct str name, struct str domain)
{
    ptrdiff_t dot = str_index(domain, '.');
    bool is_wild = str_starts_with(name, STR("*.")) && dot >= 0;
    return str_eq(name, domain) ||
           (is_wild && str_eq(str_sub(name, 1, name.n), str_sub(domain, (size_t)dot, domain.n)));
}

bool site_tls_carries(const struct certificate *c, struct str domain)
{
    for (size_t i = 0; i < certificate_name_count(c); i++) {
        if (tls_covers(certificate_name(c, i), domain)) {
            return true;
        }
    }
    return false;
}

bool site_tls_is_acme(const struct site_tls *t, struct str name)
{
    for (size_t i = 0; i < t->acme_count; i++) {
        if (tls_covers(t->acme_names[i], name)) {
            return true;
        }
    }
    return false;
}

/* At least two labels of letters, digits and hyphens, and no address. */
static bool tls_is_public_name(struct str name)
{
    char before = '.';
    size_t dots = 0;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool is_inner = before != '.' && before != '-';
        if (c == '.'   ? !is_inner
            : c == '-' ? before == '.'
                       : !ascii_is_alpha(c) && !ascii_is_digit(c)) {
            return false;
        }
        dots += c == '.';
        before = c;
    }
    return dots && before != '.' && before != '-' && !site_tls_is_local(name);
}

bool site_tls_is_on_demand(const struct site_tls *t, struct str name)
{
    return t->takes_demands && tls_is_public_name(name) && !site_tls_is_acme(t, name);
}

static enum err tls_check_names(struct site_tls *t, const struct domain_list *domains,
                                struct diag_list *diags)
{
    for (size_t d = 0; domains && d < domains->count; d++) {
        struct str domain = domains->items[d].text;
        bool is_carried = !site_tls_is_certifiable(domain) || domain.p[0] == '.';
        for (size_t i = 0; i < t->certificate_count && !is_carried; i++) {
            is_carried = site_tls_carries(t->certificates[i], domain);
        }
        if (!is_carried) {
            diag_add(diags, conf_origin_of(t->settings, "cert"),
                     "cert: the certificate does not carry the name " STR_FMT, STR_ARG(domain));
            return ERR_CONFIG;
        }
    }
    return ERR_OK;
}

static enum err tls_build_certificates(struct site_tls *t, const struct site_tls_input *input,
                                       struct diag_list *diags)
{
    const struct tls_settings *s = t->settings;
    t->certificates = arena_zalloc(input->arena, (s->cert.count + 1) * sizeof(*t->certificates));
    if (!t->certificates) {
        return ERR_NOMEM;
    }
    if (input->outer && input->outer->settings && tls_has_files_of(s, input->outer->settings)) {
        for (size_t i = 0; i < input->outer->certificate_count; i++) {
            t->certificates[t->certificate_count++] =
                certificate_ref(input->outer->certificates[i]);
        }
        return ERR_OK;
    }
    for (size_t i = 0; i < s->cert.count; i++) {
        struct fault fault;
        struct str key = s->key.count ? s->key_pem[i] : s->cert_pem[i];
        enum err e = certificate_create(s->cert_pem[i], key, &t->certificates[i], &fault);
        if (e) {
            return e == ERR_NOMEM ? e : tls_fault(t, "cert", fault.text, diags);
        }
        t->certificate_count++;
    }
    return s->cert.count ? tls_check_names(t, input->domains, diags) : ERR_OK;
}

bool site_tls_is_certifiable(struct str domain)
{
    ptrdiff_t star = str_index(domain, '*');
    return domain.n && !str_eq(domain, STR("default")) &&
           (star < 0 || (star == 0 && str_starts_with(domain, STR("*."))));
}

bool site_tls_is_local(struct str domain)
{
    bool is_address =
        domain.n &&
        (domain.p[0] == '[' || (domain.p[domain.n - 1] >= '0' && domain.p[domain.n - 1] <= '9'));
    return is_address || str_eq(domain, STR("default")) || str_eq(domain, STR("localhost")) ||
           str_ends_with(domain, STR(".localhost")) || str_ends_with(domain, STR(".local")) ||
           str_ends_with(domain, STR(".test")) || str_ends_with(domain, STR(".internal"));
}

static enum err tls_nobody_signs(const struct domain *domain, struct diag_list *diags)
{
    struct diag *d =
        diag_add(diags, domain->origin,
                 "there is no certificate for " STR_FMT ", and the server listens for HTTPS",
                 STR_ARG(domain->text));
    diag_set_expected(diags, d,
                      "ssl: {cert: FILE, key: FILE}, ssl: {issuer: internal}, or ssl: off");
    return ERR_CONFIG;
}

/* ERR_CONFIG: only a record in the DNS proves a wildcard (RFC 8555 8.4). */
static enum err tls_add_acme_name(struct site_tls *t, const struct domain *domain, struct str name,
                                  struct diag_list *diags)
{
    bool is_proved = t->settings->acme.dns.is_on || t->settings->issuer == ISSUER_CLOUDFLARE;
    if (str_starts_with(name, STR("*.")) && !is_proved) {
        struct diag *d =
            diag_add(diags, domain->origin,
                     STR_FMT " needs a certificate with a wildcard, and public authorities give "
                             "one only to those who can write into the DNS",
                     STR_ARG(domain->text));
        diag_set_expected(diags, d,
                          "ssl: {acme: {dns: {exec: PROGRAM}}}, or ssl: {issuer: internal}");
        return ERR_CONFIG;
    }
    for (size_t i = 0; i < t->acme_count; i++) {
        if (str_eq(t->acme_names[i], name)) {
            return ERR_OK;
        }
    }
    t->acme_names[t->acme_count++] = name;
    return ERR_OK;
}

static enum err tls_add_acme(struct site_tls *t, struct arena *arena, const struct domain *domain,
                             struct diag_list *diags)
{
    struct str text = domain->text;
    if (text.p[0] == '[') {
        return tls_add_acme_name(t, domain, str_sub(text, 1, text.n - 2), diags);
    }
    if (text.p[0] != '.') {
        return tls_add_acme_name(t, domain, text, diags);
    }
    struct str wild = arena_printf(arena, "*" STR_FMT, STR_ARG(text));
    enum err e = wild.p ? ERR_OK : ERR_NOMEM;
    if (!e) {
        e = tls_add_acme_name(t, domain, str_sub(text, 1, text.n), diags);
    }
    return e ? e : tls_add_acme_name(t, domain, wild, diags);
}

/* The domain stands for names that nobody knows yet, and there is somebody to ask about them. Where
 * the DNS proves a wildcard, that serves them. */
static bool tls_is_demanded(const struct site_tls *t, const struct domain *domain)
{
    const struct acme_settings *acme = &t->settings->acme;
    bool is_wild = domain->kind == DOMAIN_BELOW || domain->kind == DOMAIN_APEX;
    bool is_asked = t->settings->issuer == ISSUER_AUTO || t->settings->issuer == ISSUER_ACME;
    return acme->ask.n && is_asked && domain->kind != DOMAIN_EXACT &&
           !(is_wild && (acme->dns.is_on || site_tls_is_local(domain->text)));
}

/* Who signs for which name. Patterns other than wildcards stand in no certificate. */
static enum err tls_choose_issuer(struct site_tls *t, const struct site_tls_input *input,
                                  struct diag_list *diags)
{
    const struct domain_list *domains = input->domains;
    enum issuer_choice issuer = t->settings->issuer;
    t->acme_names = arena_zalloc(input->arena, (2 * domains->count + 1) * sizeof(struct str));
    if (!t->acme_names) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < domains->count; i++) {
        const struct domain *domain = &domains->items[i];
        bool is_default = domain->kind == DOMAIN_DEFAULT;
        bool is_demanded = tls_is_demanded(t, domain);
        bool is_own = (issuer == ISSUER_AUTO || issuer == ISSUER_CLOUDFLARE) &&
                      site_tls_is_local(domain->text);
        bool is_named = site_tls_is_certifiable(domain->text);
        enum err e = ERR_OK;
        t->takes_demands |= is_demanded;
        if (issuer == ISSUER_NONE || (!is_own && !is_default && !is_named && !is_demanded)) {
            e = tls_nobody_signs(domain, diags);
        } else if (is_own) {
            t->is_issued_here = true;
        } else if (is_demanded && domain->kind == DOMAIN_APEX) {
            e = tls_add_acme_name(t, domain, str_sub(domain->text, 1, domain->text.n), diags);
        } else if (is_demanded) {
            continue;
        } else if (!is_default) {
            e = tls_add_acme(t, input->arena, domain, diags);
        }
        if (e) {
            return e;
        }
    }
    if (t->acme_count > TLS_ACME_NAMES_MAX) {
        diag_add(diags, domains->items[0].origin,
                 "a certificate carries %d names at most: use several hosts", TLS_ACME_NAMES_MAX);
        return ERR_CONFIG;
    }
    return t->acme_count || t->is_issued_here || t->takes_demands
               ? ERR_OK
               : tls_nobody_signs(domains->items, diags);
}

enum err site_tls_init(struct site_tls *t, const struct site_tls_input *input,
                       struct diag_list *reterr_diags)
{
    const struct tls_settings *settings = input->settings;
    *t = (struct site_tls){.settings = settings};
    if (!settings->is_on) {
        return ERR_OK;
    }
    if (settings->key.count && !settings->cert.count) {
        return tls_fault(t, "key", "there is no certificate (cert) for it", reterr_diags);
    }
    enum err e = tls_build_policy(t, input->protocols, reterr_diags);
    if (!e) {
        e = tls_build_certificates(t, input, reterr_diags);
    }
    if (!e && settings->hsts_ms) {
        t->hsts = arena_printf(input->arena, "max-age=%lld", (long long)(settings->hsts_ms / 1000));
        e = t->hsts.p ? ERR_OK : ERR_NOMEM;
    }
    if (e || t->certificate_count || !input->needs_certificate || !input->domains) {
        return e;
    }
    if (settings->issuer == ISSUER_INTERNAL) {
        t->is_issued_here = true;
        return ERR_OK;
    }
    if (settings->issuer == ISSUER_CLOUDFLARE && !settings->cloudflare.is_on) {
        return tls_fault(t, "issuer", "the Origin CA wants a token: cloudflare: {token: ...}",
                         reterr_diags);
    }
    return tls_choose_issuer(t, input, reterr_diags);
}

void site_tls_done(struct site_tls *t)
{
    tls_policy_unref(t->policy);
    for (size_t i = 0; i < t->certificate_count; i++) {
        certificate_unref(t->certificates[i]);
    }
}
