/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/task.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/assert.h"

/* The texts of a set, by the names they have in the configuration. */
static const struct {
    const char *key;
    size_t offset;
} set_texts[] = {
    {"email", offsetof(struct task_set, acme.email)},
    {"ca", offsetof(struct task_set, acme.ca)},
    {"fallback", offsetof(struct task_set, acme.fallback)},
    {"ca_pem", offsetof(struct task_set, acme.ca_pem)},
    {"dns.exec", offsetof(struct task_set, acme.dns.exec)},
    {"dns.server", offsetof(struct task_set, acme.dns.rfc2136.server)},
    {"dns.key_name", offsetof(struct task_set, acme.dns.rfc2136.key_name)},
    {"dns.key_secret", offsetof(struct task_set, acme.dns.rfc2136.key_secret)},
    {"ask", offsetof(struct task_set, acme.ask)},
    {"origin.token", offsetof(struct task_set, origin.token)},
    {"eab.kid", offsetof(struct task_set, acme.eab.kid)},
    {"eab.key", offsetof(struct task_set, acme.eab.key)},
};

static json_t *text_pack(struct str s)
{
    return json_stringn(s.p ? s.p : "", s.n);
}

static json_t *set_pack(const struct task_set *set)
{
    json_t *names = json_array();
    json_t *root = json_pack("{s:o, s:I}", "names", names, "days", (json_int_t)set->origin.days);
    bool is_good = root != NULL;
    for (size_t i = 0; i < set->name_count && is_good; i++) {
        is_good = json_array_append_new(names, text_pack(set->names[i])) == 0;
    }
    for (size_t i = 0; i < COUNT_OF(set_texts) && is_good; i++) {
        const struct str *text =
            (const struct str *)(const void *)((const char *)set + set_texts[i].offset);
        is_good =
            text->n == 0 || json_object_set_new(root, set_texts[i].key, text_pack(*text)) == 0;
    }
    if (!is_good) {
        json_decref(root);
        return NULL;
    }
    return root;
}

enum err task_write(const struct task *t, struct buf *out)
{
    json_t *sets = json_array();
    json_t *root =
        json_pack("{s:o, s:o, s:o, s:o, s:I, s:b, s:b, s:b}", "sets", sets, "folder",
                  text_pack(t->folder), "user", text_pack(t->user), "log", text_pack(t->log),
                  "log_level", (json_int_t)t->log_level, "has_sandbox", t->has_sandbox, "has_plain",
                  t->has_plain, "user_is_default", t->user_is_default);
    bool is_good = root != NULL;
    for (size_t i = 0; i < t->count && is_good; i++) {
        is_good = json_array_append_new(sets, set_pack(&t->sets[i])) == 0;
    }
    json_t *demands = is_good ? json_array() : NULL;
    is_good = is_good && json_object_set_new(root, "demands", demands) == 0;
    for (size_t i = 0; i < t->demand_count && is_good; i++) {
        is_good = json_array_append_new(demands, set_pack(&t->demands[i])) == 0;
    }
    json_t *chains = is_good ? json_array() : NULL;
    is_good = is_good && json_object_set_new(root, "chains", chains) == 0;
    for (size_t i = 0; i < t->chain_count && is_good; i++) {
        is_good = json_array_append_new(chains, text_pack(t->chains[i])) == 0;
    }
    char *text = is_good ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text) {
        buf_add_str(out, str_of(text));
        explicit_bzero(text, strlen(text)); /* it may hold keys */
    }
    is_good = text && !out->is_failed;
    free(text);
    json_decref(root);
    return is_good ? ERR_OK : ERR_NOMEM;
}

static enum err text_read(struct arena *arena, const json_t *value, struct str *ret)
{
    if (!json_is_string(value)) {
        return ERR_SYNTAX;
    }
    *ret = arena_str(arena, str_make(json_string_value(value), json_string_length(value)));
    return ret->p ? ERR_OK : ERR_NOMEM;
}

static enum err set_read(struct arena *arena, const json_t *item, struct task_set *set)
{
    const json_t *names = json_object_get(item, "names");
    set->name_count = json_array_size(names);
    set->names = arena_zalloc(arena, (set->name_count + 1) * sizeof(*set->names));
    enum err e = set->names ? ERR_OK : ERR_NOMEM;
    set->origin.days = json_integer_value(json_object_get(item, "days"));
    if (set->name_count > TASK_NAMES_MAX) {
        e = ERR_SYNTAX;
    }
    for (size_t i = 0; i < set->name_count && !e; i++) {
        e = text_read(arena, json_array_get(names, i), &set->names[i]);
    }
    for (size_t i = 0; i < COUNT_OF(set_texts) && !e; i++) {
        struct str *text = (struct str *)(void *)((char *)set + set_texts[i].offset);
        const json_t *value = json_object_get(item, set_texts[i].key);
        e = value ? text_read(arena, value, text) : ERR_OK;
    }
    return !e && set->acme.ca.n == 0 ? ERR_SYNTAX : e;
}

/* The sets below `key`. */
static enum err sets_read(struct arena *arena, const json_t *root, const char *key,
                          struct task_set **ret_sets, size_t *ret_count)
{
    const json_t *sets = json_object_get(root, key);
    size_t count = json_array_size(sets);
    if (!json_is_array(sets) || count > TASK_SETS_MAX) {
        return ERR_SYNTAX;
    }
    *ret_sets = arena_zalloc(arena, (count + 1) * sizeof(**ret_sets));
    enum err e = *ret_sets ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < count && !e; i++) {
        e = set_read(arena, json_array_get(sets, i), &(*ret_sets)[i]);
    }
    *ret_count = count;
    return e;
}

static enum err chains_read(struct arena *arena, const json_t *chains, struct task *t)
{
    size_t count = json_array_size(chains);
    if (!json_is_array(chains) || count > TASK_SETS_MAX) {
        return ERR_SYNTAX;
    }
    t->chains = arena_zalloc(arena, (count + 1) * sizeof(*t->chains));
    enum err e = t->chains ? ERR_OK : ERR_NOMEM;
    for (size_t i = 0; i < count && !e; i++) {
        e = text_read(arena, json_array_get(chains, i), &t->chains[i]);
        t->chain_count += !e;
    }
    return e;
}

static enum err task_fill(struct arena *arena, const json_t *root, struct task *t)
{
    enum err e = text_read(arena, json_object_get(root, "folder"), &t->folder);
    if (!e) {
        e = text_read(arena, json_object_get(root, "user"), &t->user);
    }
    if (!e) {
        e = text_read(arena, json_object_get(root, "log"), &t->log);
    }
    t->log_level = json_integer_value(json_object_get(root, "log_level"));
    t->has_sandbox = json_is_true(json_object_get(root, "has_sandbox"));
    t->has_plain = json_is_true(json_object_get(root, "has_plain"));
    t->user_is_default = json_is_true(json_object_get(root, "user_is_default"));
    if (!e) {
        e = chains_read(arena, json_object_get(root, "chains"), t);
    }
    if (!e) {
        e = sets_read(arena, root, "sets", &t->sets, &t->count);
    }
    for (size_t i = 0; i < t->count && !e; i++) {
        e = t->sets[i].name_count ? ERR_OK : ERR_SYNTAX;
    }
    if (!e) {
        e = sets_read(arena, root, "demands", &t->demands, &t->demand_count);
    }
    return e;
}

enum err task_read(struct arena *arena, struct str bytes, struct task *ret_task)
{
    json_error_t fault;
    json_t *root = json_loadb(bytes.p ? bytes.p : "", bytes.n, 0, &fault);
    *ret_task = (struct task){0};
    if (!root) {
        return json_error_code(&fault) == json_error_out_of_memory ? ERR_NOMEM : ERR_SYNTAX;
    }
    enum err e = task_fill(arena, root, ret_task);
    json_decref(root);
    return e;
}

bool task_set_has_dns(const struct task_set *set)
{
    return set->acme.dns.exec.n || set->acme.dns.rfc2136.server.n;
}
