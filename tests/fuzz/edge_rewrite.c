/* SPDX-License-Identifier: Apache-2.0 */
/* Lines: path, query, then from, to, if, flags of each rule. What goes on to routing starts with a
 * slash, has no dot segment, and nothing that comes out holds CR, LF or NUL. */
#include <stdint.h>
#include <stdlib.h>

#include "edge/rewrite.h"

#define RULES_MAX 4

static bool fuzz_field(void *user, struct str name, struct str *ret_value)
{
    (void)name;
    *ret_value = *(struct str *)user;
    return true;
}

static bool fuzz_has_file(void *user, enum rewrite_file_kind kind, struct str path)
{
    (void)user;
    return ((unsigned)kind + path.n) % 2 == 0;
}

static void refuse_breaks(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '\r' || text.p[i] == '\n' || text.p[i] == '\0') {
            abort();
        }
    }
}

static void check(const struct rewrite_result *result)
{
    if (result->outcome == REWRITE_REDIRECT) {
        refuse_breaks(result->location);
    }
    if (result->outcome != REWRITE_CHANGED) {
        return;
    }
    refuse_breaks(result->path);
    refuse_breaks(result->query);
    struct str rest = result->path;
    struct str part;
    if (rest.n == 0 || rest.p[0] != '/') {
        abort();
    }
    while (rest.p && str_split(&rest, '/', &part)) {
        if (str_eq(part, STR(".")) || str_eq(part, STR(".."))) {
            abort();
        }
    }
}

static struct str next_line(struct str *rest)
{
    struct str line = {NULL, 0};
    if (rest->p && !str_split(rest, '\n', &line)) {
        line.n = 0;
    }
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rewrite_scratch *scratch;
    struct str rest = {(const char *)data, size};
    struct rewrite_rule rules[RULES_MAX];
    struct rewrite_set *set;
    struct rewrite_result result;
    size_t rule_count = 0;

    if (!scratch && rewrite_scratch_create(&scratch)) {
        abort();
    }
    struct str path = next_line(&rest);
    struct str query = next_line(&rest);
    if (path.n == 0 || path.p[0] != '/') {
        return 0;
    }
    while (rest.p && rule_count < RULES_MAX) {
        struct rewrite_rule rule;
        rule.from = next_line(&rest);
        rule.to = next_line(&rest);
        rule.condition = next_line(&rest);
        rule.flags = next_line(&rest);
        rules[rule_count++] = rule;
    }
    if (rewrite_create(rules, rule_count, &set, NULL)) {
        return 0;
    }
    struct rewrite_request request = {.method = STR("GET"),
                                      .host = STR("example.com"),
                                      .path = path,
                                      .query = query,
                                      .user = &query,
                                      .field = fuzz_field,
                                      .has_file = fuzz_has_file};
    if (rewrite_run(set, scratch, &request, &result) == ERR_OK) {
        check(&result);
    }
    rewrite_destroy(set);
    return 0;
}
