/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/origin.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "crypto/csr.h"

#define DETAIL_BYTES_MAX 200

enum err origin_write(const struct str *names, size_t count, struct str csr, int64_t days,
                      struct buf *out)
{
    struct buf pem;
    buf_init(&pem, 0);
    enum err e = csr_put_pem(csr, &pem);
    json_t *hostnames = e ? NULL : json_array();
    json_t *root =
        hostnames ? json_pack("{s:o, s:s%, s:s, s:I}", "hostnames", hostnames, "csr", pem.p, pem.n,
                              "request_type", "origin-ecc", "requested_validity", (json_int_t)days)
                  : NULL;
    bool is_good = root != NULL;
    for (size_t i = 0; i < count && is_good; i++) {
        is_good = json_array_append_new(hostnames, json_stringn(names[i].p, names[i].n)) == 0;
    }
    char *text = is_good ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text) {
        buf_add_str(out, str_of(text));
    }
    is_good = text && !out->is_failed;
    free(text);
    json_decref(root);
    buf_done(&pem);
    return is_good ? ERR_OK : ERR_NOMEM;
}

/* What an API says becomes part of a line in a log: printable, and not endless. */
static void origin_say(char ret_reason[ORIGIN_REASON_BYTES], unsigned status, const json_t *root)
{
    const json_t *error = json_array_get(json_object_get(root, "errors"), 0);
    const char *message = json_string_value(json_object_get(error, "message"));
    long long code = json_integer_value(json_object_get(error, "code"));
    int n = snprintf(ret_reason, ORIGIN_REASON_BYTES,
                     message ? "the Origin CA answers with status %u, code %lld: %.*s"
                             : "the Origin CA answers with status %u",
                     status, code, DETAIL_BYTES_MAX, message ? message : "");
    for (int i = 0; i < n && i < ORIGIN_REASON_BYTES; i++) {
        if (ret_reason[i] > 0 && ret_reason[i] < ' ') {
            ret_reason[i] = ' ';
        }
    }
}

enum err origin_read(const struct web_answer *answer, struct buf *out,
                     char ret_reason[ORIGIN_REASON_BYTES])
{
    json_error_t fault;
    json_t *root = json_loadb(answer->body.p ? answer->body.p : "", answer->body.n,
                              JSON_REJECT_DUPLICATES, &fault);
    bool is_good = json_is_true(json_object_get(root, "success")) && answer->status / 100 == 2;
    const json_t *certificate = json_object_get(json_object_get(root, "result"), "certificate");
    enum err e = ERR_SYNTAX;
    if (!root && json_error_code(&fault) == json_error_out_of_memory) {
        snprintf(ret_reason, ORIGIN_REASON_BYTES, "%s", err_text(ERR_NOMEM));
        return ERR_NOMEM;
    }
    if (is_good && json_is_string(certificate)) {
        buf_add(out, json_string_value(certificate), json_string_length(certificate));
        e = out->is_failed ? ERR_NOMEM : ERR_OK;
    }
    origin_say(ret_reason, answer->status, root);
    json_decref(root);
    return e;
}
