/* SPDX-License-Identifier: Apache-2.0 */
/* The documents of an ACME server: whatever they hold, what is taken over is fit to be used, and
 * reading them again gives the same. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "issuer/acme_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_url(struct str url)
{
    ASSERT(!url.p || (acme_url_is_good(url) && url.p[url.n] == '\0'));
}

static void check_directory(struct arena *arena, struct str json)
{
    struct acme_directory d;
    if (acme_parse_directory(arena, json, &d) == ERR_OK) {
        ASSERT(d.new_nonce.p && d.new_account.p && d.new_order.p);
        check_url(d.new_nonce);
        check_url(d.new_account);
        check_url(d.new_order);
        check_url(d.renewal_info);
    }
}

static void check_order(struct arena *arena, struct str json)
{
    struct acme_order o, again;
    if (acme_parse_order(arena, json, &o) != ERR_OK) {
        return;
    }
    ASSERT(o.authorization_count && o.authorization_count <= ACME_NAMES_MAX && o.finalize.p);
    ASSERT(o.status != ACME_VALID || o.certificate.p);
    check_url(o.finalize);
    check_url(o.certificate);
    ASSERT(acme_parse_order(arena, json, &again) == ERR_OK);
    ASSERT(o.status == again.status && o.authorization_count == again.authorization_count);
    for (size_t i = 0; i < o.authorization_count; i++) {
        check_url(o.authorizations[i]);
        ASSERT(str_eq(o.authorizations[i], again.authorizations[i]));
    }
}

static void check_authorization(struct arena *arena, struct str json)
{
    struct acme_authorization a;
    if (acme_parse_authorization(arena, json, &a) != ERR_OK) {
        return;
    }
    ASSERT(a.name.n);
    for (int i = 0; i < ACME_CHALLENGE_KINDS; i++) {
        check_url(a.challenges[i].url);
        ASSERT(!a.challenges[i].url.p || acme_token_is_good(a.challenges[i].token));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str json = str_make((const char *)data, size);
    struct arena arena;
    struct acme_problem problem;
    struct acme_window window;
    int64_t s;
    arena_init(&arena, 1024, 0);
    check_directory(&arena, json);
    check_order(&arena, json);
    check_authorization(&arena, json);
    ASSERT(acme_parse_problem(&arena, json, &problem) == ERR_OK);
    ASSERT(problem.type.n <= 200 && problem.detail.n <= 200);
    ASSERT(acme_parse_window(json, &window) != ERR_OK || window.start_s < window.end_s);
    enum err ignored = acme_parse_date(json, &s);
    (void)ignored;
    arena_done(&arena);
    return 0;
}
