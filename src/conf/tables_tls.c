/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of encryption and of those who sign. Order here is order in every print. */
#include "base/base64url.h"
#include "conf/tables_int.h"

static const char *const TSIG_ALGORITHMS[] = {"hmac-sha256", NULL};
static const char *const ISSUERS[] = {"auto", "acme", "internal", "cloudflare", "none", NULL};
static const char *const VALIDITIES[] = {"7d",   "30d",   "90d",   "365d",
                                         "730d", "1095d", "5475d", NULL};
static const char *const CLIENT_AUTHS[] = {"require", "optional", NULL};
static const char *const TLS_VERSIONS[] = {"1.2", "1.3", NULL};
static const char *const EARLY_DATA[] = {"off", "safe", NULL};
static const char *const TLS_LATER[] = {"ech", NULL};

static const char *check_url_text(struct str text, size_t from, size_t *ret_at)
{
    for (*ret_at = from; *ret_at < text.n; (*ret_at)++) {
        char c = text.p[*ret_at];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\') {
            return "this character cannot stand in a URL";
        }
    }
    return NULL;
}

static const char *check_https_url(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (!str_starts_with(text, STR("https://")) || text.n == 8) {
        return "a URL that begins with https:// is due here";
    }
    return check_url_text(text, 8, ret_at);
}

/* A service of one's own is often on the same machine. */
static const char *check_web_url(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (!str_starts_with(text, STR("http://")) || text.n == 7) {
        return check_https_url(text, ret_at)
                   ? "a URL that begins with http:// or https:// is due here"
                   : NULL;
    }
    return check_url_text(text, 7, ret_at);
}

static const char *check_base64url(struct str text, size_t *ret_at)
{
    struct buf bytes;
    buf_init(&bytes, 0);
    *ret_at = 0;
    bool is_good = text.n != 0 && base64url_decode(&bytes, text) == ERR_OK;
    buf_done(&bytes);
    return is_good ? NULL : "a key in base64url, without padding, is due here";
}

/* As key files of name servers have it, padded. */
static const char *check_base64(struct str text, size_t *ret_at)
{
    size_t n = text.n;
    while (n && text.p[n - 1] == '=') {
        n--;
    }
    for (*ret_at = 0; *ret_at < n; (*ret_at)++) {
        char c = text.p[*ret_at];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '+' && c != '/') {
            return "a key in base64 is due here";
        }
    }
    return n && n % 4 != 1 ? NULL : "a key in base64 is due here";
}

static const char *check_server(struct str text, size_t *ret_at)
{
    struct arena arena;
    struct listen_address l;
    arena_init(&arena, 256, 0);
    const char *fault = value_parse_listen(&arena, text, &l, ret_at);
    if (!fault && (l.kind != LISTEN_INET || l.family == 0 || l.is_tls || l.port == 0)) {
        *ret_at = 0;
        fault = "an address and port is due here, such as 192.0.2.1:53";
    }
    arena_done(&arena);
    return fault;
}

static const char *check_email(struct str text, size_t *ret_at)
{
    ptrdiff_t at = str_index(text, '@');
    *ret_at = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~') {
            *ret_at = i;
            return "an address is printable ASCII without spaces";
        }
    }
    return at > 0 && (size_t)at + 1 < text.n ? NULL : "an address such as a@example.com is due";
}

static const struct conf_key EAB_KEYS[] = {
    {.name = "kid",
     .type = CONF_STRING,
     AT(eab_settings, kid),
     .flags = CONF_REQUIRED,
     .check = value_check_not_empty,
     .example = "kid-1",
     .doc = "The name of the key, as the CA gave it."},
    {.name = "key",
     .type = CONF_STRING,
     AT(eab_settings, key),
     .flags = CONF_REQUIRED | CONF_SECRET,
     .check = check_base64url,
     .example = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W",
     .doc = "The key in base64url, as the CA gave it; best as ${file:/path}."},
};
static const struct conf_table EAB_TABLE = {.name = "acme.eab",
                                            KEYS(EAB_KEYS),
                                            .struct_bytes = sizeof(struct eab_settings),
                                            .has_switch = true,
                                            .on_offset = offsetof(struct eab_settings, is_on)};

static const struct conf_key DNS_UPDATE_KEYS[] = {
    {.name = "server",
     .type = CONF_STRING,
     AT(dns_update_settings, server),
     .flags = CONF_REQUIRED,
     .check = check_server,
     .example = "\"192.0.2.1:53\"",
     .doc = "The address and port of the primary name server of the zone; spoken to over TCP."},
    {.name = "key_name",
     .type = CONF_STRING,
     AT(dns_update_settings, key_name),
     .flags = CONF_REQUIRED,
     .check = value_check_not_empty,
     .example = "selenia",
     .doc = "The name of the key that both sides have."},
    {.name = "key_secret",
     .type = CONF_STRING,
     AT(dns_update_settings, key_secret),
     .flags = CONF_REQUIRED | CONF_SECRET,
     .check = check_base64,
     .example = "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3I=",
     .doc = "The key in base64; best as ${file:/path}."},
    {.name = "algorithm",
     .type = CONF_ENUM,
     AT(dns_update_settings, algorithm),
     .names = TSIG_ALGORITHMS,
     .default_text = "hmac-sha256",
     .example = "hmac-sha256",
     .doc = "How messages are signed."},
};
static const struct conf_table DNS_UPDATE_TABLE = {
    .name = "acme.dns.rfc2136",
    KEYS(DNS_UPDATE_KEYS),
    .struct_bytes = sizeof(struct dns_update_settings),
    .has_switch = true,
    .on_offset = offsetof(struct dns_update_settings, is_on)};

static const struct conf_key DNS_KEYS[] = {
    {.name = "exec",
     .type = CONF_PATH,
     AT(dns_settings, exec),
     .example = "/etc/selenia/dns-hook",
     .doc = "A program that is called with present or cleanup, the name and the value of a TXT "
            "record; it must end with 0, within two minutes."},
    {.name = "rfc2136",
     .type = CONF_OBJECT,
     AT(dns_settings, rfc2136),
     .child = &DNS_UPDATE_TABLE,
     .doc = "A name server that takes updates signed with a shared key, such as BIND or Knot."},
};
static const struct conf_table DNS_TABLE = {.name = "acme.dns",
                                            KEYS(DNS_KEYS),
                                            .struct_bytes = sizeof(struct dns_settings),
                                            .has_switch = true,
                                            .on_offset = offsetof(struct dns_settings, is_on)};

static const struct conf_key ACME_KEYS[] = {
    {.name = "email",
     .type = CONF_STRING,
     AT(acme_settings, email),
     .check = check_email,
     .example = "admin@example.com",
     .doc = "Where the CA may write to."},
    {.name = "ca",
     .type = CONF_STRING,
     AT(acme_settings, ca),
     .check = check_https_url,
     .default_text = "https://acme-v02.api.letsencrypt.org/directory",
     .example = "https://acme-staging-v02.api.letsencrypt.org/directory",
     .doc = "The directory URL of the authority; using it means agreeing to its terms."},
    {.name = "fallback",
     .type = CONF_STRING,
     AT(acme_settings, fallback),
     .check = check_https_url,
     .example = "https://acme.example.net/directory",
     .doc = "The directory URL of another authority, which is asked when the first one fails."},
    {.name = "ca_file",
     .type = CONF_PATH,
     AT(acme_settings, ca_file),
     .example = "/etc/selenia/acme-roots.pem",
     .doc = "Whom to trust when talking to them; without it whom the system trusts."},
    {.name = "dns",
     .type = CONF_OBJECT,
     AT(acme_settings, dns),
     .child = &DNS_TABLE,
     .example = "{exec: /etc/selenia/dns-hook}",
     .doc = "Prove names by a DNS record, which wildcards need; without it by HTTP and TLS."},
    {.name = "ask",
     .type = CONF_STRING,
     AT(acme_settings, ask),
     .check = check_web_url,
     .example = "http://127.0.0.1:8081/allowed",
     .doc =
         "A service that is asked with ?domain=NAME whether a name that clients bring may have a "
         "certificate, which status 200 allows: for default and wildcards."},
    {.name = "eab",
     .type = CONF_OBJECT,
     AT(acme_settings, eab),
     .child = &EAB_TABLE,
     .doc = "The external account that some authorities ask for."},
};
static const struct conf_table ACME_TABLE = {
    .name = "acme", KEYS(ACME_KEYS), .struct_bytes = sizeof(struct acme_settings)};

/* What becomes part of a field of a request. */
static const char *check_token(struct str text, size_t *ret_at)
{
    for (*ret_at = 0; *ret_at < text.n; (*ret_at)++) {
        if (text.p[*ret_at] <= ' ' || text.p[*ret_at] > '~') {
            return "a token is printable ASCII without spaces";
        }
    }
    return text.n ? NULL : "a token is due here";
}

static const struct conf_key CLOUDFLARE_KEYS[] = {
    {.name = "token",
     .type = CONF_STRING,
     AT(cloudflare_settings, token),
     .flags = CONF_REQUIRED | CONF_SECRET,
     .check = check_token,
     .example = "0123456789abcdef0123456789abcdef01234567",
     .doc = "An API token that may edit SSL and certificates of the zones, or an Origin CA key "
            "(v1.0-...); best as ${file:/path}."},
    {.name = "url",
     .type = CONF_STRING,
     AT(cloudflare_settings, url),
     .check = check_https_url,
     .default_text = "https://api.cloudflare.com/client/v4",
     .example = "https://api.cloudflare.com/client/v4",
     .doc = "Where the API is."},
    {.name = "ca_file",
     .type = CONF_PATH,
     AT(cloudflare_settings, ca_file),
     .example = "/etc/selenia/api-roots.pem",
     .doc = "Whom to trust when talking to it; without it whom the system trusts."},
    {.name = "validity",
     .type = CONF_ENUM,
     AT(cloudflare_settings, validity),
     .names = VALIDITIES,
     .default_text = "90d",
     .example = "365d",
     .doc = "How long certificates are good for; they are renewed when a third of it is left."},
};
static const struct conf_table CLOUDFLARE_TABLE = {
    .name = "cloudflare",
    KEYS(CLOUDFLARE_KEYS),
    .struct_bytes = sizeof(struct cloudflare_settings),
    .has_switch = true,
    .on_offset = offsetof(struct cloudflare_settings, is_on)};

static const struct conf_key TLS_KEYS[] = {
    {.name = "issuer",
     .type = CONF_ENUM,
     AT(tls_settings, issuer),
     .names = ISSUERS,
     .default_text = "auto",
     .example = "internal",
     .doc = "Who signs where no certificate is given: acme is a public authority, internal one of "
            "this machine's own, cloudflare the one for servers behind it, none is nobody; auto "
            "takes internal for localhost, addresses and "
            ".local, and acme for the rest."},
    {.name = "acme",
     .type = CONF_OBJECT,
     AT(tls_settings, acme),
     .child = &ACME_TABLE,
     .example = "{email: admin@example.com}",
     .doc = "How certificates are got from a public authority (RFC 8555)."},
    {.name = "cloudflare",
     .type = CONF_OBJECT,
     AT(tls_settings, cloudflare),
     .child = &CLOUDFLARE_TABLE,
     .example = "{token: 0123456789abcdef0123456789abcdef01234567}",
     .doc = "How certificates are got from the Origin CA of Cloudflare."},
    {.name = "cert",
     .type = CONF_STRING_LIST,
     AT(tls_settings, cert),
     .flags = CONF_PATHS,
     .default_text = "[]",
     .example = "[/etc/ssl/site-ecdsa.pem, /etc/ssl/site-rsa.pem]",
     .doc = "Files with certificate chains in PEM, the leaf first; several for several kinds of "
            "key."},
    {.name = "key",
     .type = CONF_STRING_LIST,
     AT(tls_settings, key),
     .flags = CONF_PATHS,
     .default_text = "[]",
     .example = "/etc/ssl/site.key",
     .doc = "Their private keys in the same order; none where they stand in the same files."},
    {.name = "client_ca",
     .type = CONF_PATH,
     AT(tls_settings, client_ca),
     .example = "/etc/ssl/clients.pem",
     .doc = "Who may sign the certificates of clients; without it none is asked for."},
    {.name = "client_auth",
     .type = CONF_ENUM,
     AT(tls_settings, client_auth),
     .names = CLIENT_AUTHS,
     .default_text = "require",
     .example = "optional",
     .doc = "Whether a client without a certificate is turned away."},
    {.name = "min_version",
     .type = CONF_ENUM,
     AT(tls_settings, min_version),
     .names = TLS_VERSIONS,
     .default_text = "1.2",
     .example = "\"1.3\"",
     .doc = "The oldest TLS that is spoken."},
    {.name = "ciphers",
     .type = CONF_STRING_LIST,
     AT(tls_settings, ciphers),
     .default_text = "[]",
     .example = "[AES-256-GCM, CHACHA20-POLY1305]",
     .doc = "AES-128-GCM, AES-256-GCM, CHACHA20-POLY1305, the best first; empty is all, in "
            "this order, but ChaCha20 for clients that like it best."},
    {.name = "early_data",
     .type = CONF_ENUM,
     AT(tls_settings, early_data),
     .names = EARLY_DATA,
     .default_text = "off",
     .example = "safe",
     .doc =
         "Requests within the first flight of a resumed session. safe: over HTTP/3, GET and HEAD "
         "without query or body are answered at once, unless a route of the host asks for the "
         "address; everything else waits for the end of the handshake."},
    {.name = "hsts",
     .type = CONF_DURATION,
     AT(tls_settings, hsts_ms),
     .unit = "ms",
     .flags = CONF_OFF_OK,
     .default_text = "off",
     .example = "365d",
     .doc = "How long browsers shall insist on HTTPS, or off."},
};
const struct conf_table conf_table_tls = {.name = "tls",
                                          KEYS(TLS_KEYS),
                                          .struct_bytes = sizeof(struct tls_settings),
                                          .has_switch = true,
                                          .is_on_default = true,
                                          .on_offset = offsetof(struct tls_settings, is_on),
                                          .later_keys = TLS_LATER};
