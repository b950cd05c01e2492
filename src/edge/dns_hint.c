/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/dns_hint.h"

#define HTTPS_PORT 443
#define TTL_S 3600

static bool hint_speaks(const struct site *site, enum protocol_choice protocol)
{
    const struct enum_list *protocols = &site->settings->server.protocols;
    for (uint32_t i = 0; i < protocols->count; i++) {
        if (protocols->items[i] == protocol) {
            return true;
        }
    }
    return false;
}

/* RFC 9460 7.1.2: HTTP/1.1 is what clients expect, unless they are told not to. */
static void hint_parameters(const struct site *site, struct buf *out)
{
    bool has_h3 = hint_speaks(site, PROTOCOL_H3), has_h2 = hint_speaks(site, PROTOCOL_H2);
    if (has_h3 || has_h2) {
        buf_printf(out, " alpn=\"%s%s%s\"", has_h3 ? "h3" : "", has_h3 && has_h2 ? "," : "",
                   has_h2 ? "h2" : "");
        buf_add_str(out, hint_speaks(site, PROTOCOL_H1) ? STR("") : STR(" no-default-alpn"));
    }
    buf_add_char(out, '\n');
}

/* 9.1: on another port than the usual one the name says which, and leads to the host by its target,
 * because it has no address of its own. */
static void hint_name(const struct site *site, const char *wild, struct str name, uint16_t port,
                      struct buf *out)
{
    if (port == HTTPS_PORT) {
        buf_printf(out, "# %s" STR_FMT ". %d IN HTTPS 1 .", wild, STR_ARG(name), TTL_S);
    } else if (*wild) {
        return; /* a star within a name means nothing (RFC 4592) */
    } else {
        buf_printf(out, "# _%u._https." STR_FMT ". %d IN HTTPS 1 " STR_FMT ".", port, STR_ARG(name),
                   TTL_S, STR_ARG(name));
    }
    hint_parameters(site, out);
}

static void hint_domain(const struct site *site, const struct domain *domain, uint16_t port,
                        struct buf *out)
{
    struct str text = domain->text;
    if (site_tls_is_local(text)) {
        return;
    }
    if (domain->kind == DOMAIN_EXACT) {
        hint_name(site, "", text, port, out);
    } else if (domain->kind == DOMAIN_BELOW) {
        hint_name(site, "*.", str_sub(text, 2, text.n), port, out);
    } else if (domain->kind == DOMAIN_APEX) {
        hint_name(site, "", str_sub(text, 1, text.n), port, out);
        hint_name(site, "*.", str_sub(text, 1, text.n), port, out);
    }
}

static void hint_port(const struct site *site, uint16_t port, struct buf *out)
{
    for (size_t h = 0; h < site->host_count; h++) {
        const struct domain_list *domains = &site->host_list[h].settings->domains;
        for (size_t d = 0; site->host_list[h].tls.policy && d < domains->count; d++) {
            hint_domain(site, &domains->items[d], port, out);
        }
    }
}

void dns_hint_print(const struct site *site, struct buf *out)
{
    const struct listen_list *listen = &site->settings->server.listen;
    struct buf records;
    buf_init(&records, 0);
    for (size_t i = 0; i < listen->count; i++) {
        const struct listen_address *l = &listen->items[i];
        bool is_told = l->kind != LISTEN_INET || !l->is_tls || l->port == 0;
        for (size_t k = 0; k < i && !is_told; k++) {
            is_told = listen->items[k].kind == LISTEN_INET && listen->items[k].is_tls &&
                      listen->items[k].port == l->port;
        }
        if (!is_told) {
            hint_port(site, l->port, &records);
        }
    }
    if (records.n) {
        buf_add_str(out, STR("# Records for the DNS, which save clients the way over http and tell "
                             "them of HTTP/3 at once:\n"));
        buf_add_str(out, buf_str(&records));
    }
    out->is_failed |= records.is_failed;
    buf_done(&records);
}
