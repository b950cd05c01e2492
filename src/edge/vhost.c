/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/vhost.h"

#include <arpa/inet.h>

#include "base/hash.h"

/* The order of this enum is the order of preference among names that match equally long. */
enum vhost_kind {
    VHOST_EXACT,
    VHOST_BELOW,         /* *.x, filed under x */
    VHOST_APEX_OR_BELOW, /* .x, filed under x */
    VHOST_PREFIX,        /* x.*, filed under x */
    VHOST_DEFAULT,
    VHOST_KIND_COUNT,
};

struct vhost_entry {
    struct str name;
    uint64_t hash;
    uint32_t rule; /* NO_RULE: a free slot */
    int32_t priority;
    enum vhost_kind kind;
};

#define NO_RULE UINT32_MAX

struct vhost_table {
    struct vhost_entry *slots; /* open addressing; a power of two, at most half full */
    size_t slot_mask;
    size_t labels_max[VHOST_KIND_COUNT]; /* longest name of each kind: longer ones are not asked */
    bool has_priorities;                 /* more than one: the first found need not be the best */
};

struct vhost_search {
    const struct vhost_table *table;
    const struct vhost_entry *best;
};

static bool vhost_is_label_byte(char c)
{
    return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

/* A name of one or more labels of 1 to 63 bytes, without trailing dot. */
static bool vhost_is_name(struct str name)
{
    size_t label_bytes = 0;
    if (name.n == 0 || name.n > VHOST_NAME_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '.') {
            if (label_bytes == 0) {
                return false;
            }
            label_bytes = 0;
        } else if (!vhost_is_label_byte(name.p[i]) || ++label_bytes > 63) {
            return false;
        }
    }
    return label_bytes > 0;
}

static bool vhost_is_port(struct str port)
{
    uint64_t value;
    return port.n == 0 || (str_to_u64(port, &value) == ERR_OK && value <= 65535);
}

/* "[...]" with an optional port. */
static enum err vhost_canonical_ipv6(struct str host, char *out, struct str *ret_host)
{
    ptrdiff_t end = str_index(host, ']');
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (end < 2 || (size_t)end - 1 >= sizeof(text)) {
        return ERR_SYNTAX;
    }
    struct str rest = str_sub(host, (size_t)end + 1, host.n);
    if (rest.n > 0 && (rest.p[0] != ':' || !vhost_is_port(str_sub(rest, 1, rest.n)))) {
        return ERR_SYNTAX;
    }
    memcpy(text, host.p + 1, (size_t)end - 1);
    text[end - 1] = '\0';
    if (memchr(text, '\0', (size_t)end - 1) || inet_pton(AF_INET6, text, &address) != 1 ||
        !inet_ntop(AF_INET6, &address, text, sizeof(text))) {
        return ERR_SYNTAX;
    }
    size_t n = strlen(text);
    out[0] = '[';
    memcpy(out + 1, text, n);
    out[n + 1] = ']';
    *ret_host = str_make(out, n + 2);
    return ERR_OK;
}

enum err vhost_canonical(struct str host, char out[VHOST_NAME_BYTES_MAX + 1], struct str *ret_host)
{
    if (host.n == 0) {
        *ret_host = str_make(out, 0);
        return ERR_OK;
    }
    if (host.p[0] == '[') {
        return vhost_canonical_ipv6(host, out, ret_host);
    }
    ptrdiff_t colon = str_index(host, ':');
    if (colon >= 0) {
        if (!vhost_is_port(str_sub(host, (size_t)colon + 1, host.n))) {
            return ERR_SYNTAX;
        }
        host = str_sub(host, 0, (size_t)colon);
    }
    if (host.n > 1 && host.p[host.n - 1] == '.') {
        host.n--;
    }
    if (!vhost_is_name(host)) {
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < host.n; i++) {
        out[i] = ascii_lower(host.p[i]);
    }
    *ret_host = str_make(out, host.n);
    return ERR_OK;
}

static size_t vhost_label_count(struct str name)
{
    size_t count = name.n > 0;
    for (size_t i = 0; i < name.n; i++) {
        count += name.p[i] == '.';
    }
    return count;
}

static uint64_t vhost_hash(enum vhost_kind kind, struct str name)
{
    return hash_str(name) + (uint64_t)kind * 0x9e3779b97f4a7c15u;
}

/* The slot that holds the name, or the free one where it belongs. */
static struct vhost_entry *vhost_slot(const struct vhost_table *table, enum vhost_kind kind,
                                      struct str name, uint64_t hash)
{
    size_t i = (size_t)(hash ^ (hash >> 32)) & table->slot_mask;
    for (;; i = (i + 1) & table->slot_mask) {
        struct vhost_entry *slot = &table->slots[i];
        if (slot->rule == NO_RULE ||
            (slot->hash == hash && slot->kind == kind && str_eq(slot->name, name))) {
            return slot;
        }
    }
}

/* Splits a name of the configuration into its kind and the name it is filed under; NULL, or what
 * is wrong with it. */
static const char *vhost_parse_rule(struct str text, enum vhost_kind *ret_kind,
                                    struct str *ret_name)
{
    if (str_eq(text, STR("default"))) {
        *ret_kind = VHOST_DEFAULT;
        *ret_name = str_make(text.p, 0);
        return NULL;
    }
    *ret_kind = VHOST_EXACT;
    if (str_starts_with(text, STR("*."))) {
        *ret_kind = VHOST_BELOW;
        text = str_sub(text, 2, text.n);
    } else if (str_starts_with(text, STR("."))) {
        *ret_kind = VHOST_APEX_OR_BELOW;
        text = str_sub(text, 1, text.n);
    } else if (str_ends_with(text, STR(".*"))) {
        *ret_kind = VHOST_PREFIX;
        text = str_sub(text, 0, text.n - 2);
    }
    if (text.n == 0) {
        return "the name is empty";
    }
    if (str_index(text, '*') >= 0) {
        return "`*` may only be the first or the last label";
    }
    if (*ret_kind != VHOST_EXACT && text.p[0] == '[') {
        return "an address takes no wildcard";
    }
    if (text.p[0] != '[' && str_index(text, ':') >= 0) {
        return "a host stands here without a port, an IPv6 address in brackets";
    }
    *ret_name = text;
    return NULL;
}

static enum err vhost_insert(struct arena *arena, struct vhost_table *table,
                             const struct vhost_rule *rule, uint32_t index, const char **ret_reason)
{
    char canonical[VHOST_NAME_BYTES_MAX + 1];
    enum vhost_kind kind;
    struct str name;
    *ret_reason = vhost_parse_rule(rule->name, &kind, &name);
    if (*ret_reason) {
        return ERR_SYNTAX;
    }
    if (vhost_canonical(name, canonical, &name)) {
        *ret_reason = "this is no host name (labels of letters, digits and `-`; others as xn--)";
        return ERR_SYNTAX;
    }
    uint64_t hash = vhost_hash(kind, name);
    struct vhost_entry *slot = vhost_slot(table, kind, name, hash);
    if (slot->rule != NO_RULE) {
        *ret_reason = "another rule has the same name";
        return ERR_EXISTS;
    }
    name = arena_str(arena, name);
    if (!name.p) {
        return ERR_NOMEM;
    }
    *slot = (struct vhost_entry){name, hash, index, rule->priority, kind};
    size_t labels = vhost_label_count(name);
    if (labels > table->labels_max[kind]) {
        table->labels_max[kind] = labels;
    }
    return ERR_OK;
}

enum err vhost_build(struct arena *arena, const struct vhost_rule *rules, size_t rule_count,
                     const struct vhost_table **ret_table, struct pattern_fault *reterr_fault)
{
    size_t slot_count = 8;
    if (rule_count > UINT32_MAX / 4) {
        return ERR_NOMEM;
    }
    while (slot_count < rule_count * 2) {
        slot_count *= 2;
    }
    struct vhost_table *table = arena_zalloc(arena, sizeof(*table));
    struct vhost_entry *slots = arena_zalloc(arena, slot_count * sizeof(*slots));
    if (!table || !slots) {
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < slot_count; i++) {
        slots[i].rule = NO_RULE;
    }
    table->slots = slots;
    table->slot_mask = slot_count - 1;
    for (size_t i = 0; i < rule_count; i++) {
        const char *reason = NULL;
        enum err e = vhost_insert(arena, table, &rules[i], (uint32_t)i, &reason);
        if (e) {
            if (reason && reterr_fault) {
                *reterr_fault = (struct pattern_fault){i, 0, reason};
            }
            return e;
        }
        table->has_priorities |= rules[i].priority != rules[0].priority;
    }
    *ret_table = table;
    return ERR_OK;
}

/* Asks for one name. True where the search is over: names are asked from the most to the least
 * preferred, so without priorities the first one found is the best. */
static bool vhost_ask(struct vhost_search *s, enum vhost_kind kind, struct str name)
{
    const struct vhost_entry *found = vhost_slot(s->table, kind, name, vhost_hash(kind, name));
    if (found->rule != NO_RULE && (!s->best || found->priority > s->best->priority)) {
        s->best = found;
    }
    return s->best && !s->table->has_priorities;
}

/* Suffixes from the longest: the host itself, then what follows each dot. */
static bool vhost_ask_suffixes(struct vhost_search *s, struct str host, size_t labels)
{
    const size_t *max = s->table->labels_max;
    struct str suffix = host;
    for (;; labels--) {
        if (suffix.n < host.n && labels <= max[VHOST_BELOW] && vhost_ask(s, VHOST_BELOW, suffix)) {
            return true;
        }
        if (labels <= max[VHOST_APEX_OR_BELOW] && vhost_ask(s, VHOST_APEX_OR_BELOW, suffix)) {
            return true;
        }
        ptrdiff_t dot = str_index(suffix, '.');
        if (dot < 0) {
            return false;
        }
        suffix = str_sub(suffix, (size_t)dot + 1, suffix.n);
    }
}

/* Prefixes from the longest, each with at least one label behind it. */
static bool vhost_ask_prefixes(struct vhost_search *s, struct str host, size_t labels)
{
    struct str prefix = host;
    while (prefix.n > 0) {
        prefix.n--;
        if (host.p[prefix.n] == '.' && --labels <= s->table->labels_max[VHOST_PREFIX] &&
            vhost_ask(s, VHOST_PREFIX, prefix)) {
            return true;
        }
    }
    return false;
}

bool vhost_match(const struct vhost_table *table, struct str host, uint32_t *ret_rule)
{
    char canonical[VHOST_NAME_BYTES_MAX + 1];
    struct vhost_search s = {.table = table};
    if (vhost_canonical(host, canonical, &host)) {
        return false;
    }
    bool is_over = host.n > 0 && vhost_ask(&s, VHOST_EXACT, host);
    if (!is_over && host.n > 0 && host.p[0] != '[') {
        size_t labels = vhost_label_count(host);
        is_over = vhost_ask_suffixes(&s, host, labels) || vhost_ask_prefixes(&s, host, labels);
    }
    if (!is_over) {
        vhost_ask(&s, VHOST_DEFAULT, str_make(canonical, 0));
    }
    if (!s.best) {
        return false;
    }
    *ret_rule = s.best->rule;
    return true;
}
