/* SPDX-License-Identifier: Apache-2.0 */
#include "issuer/web_client.h"

#include "base/buf.h"
#include "base/mem.h"
#include "issuer/web_library.h"

#define CONNECT_MS 10000L
#define TOTAL_MS 30000L
#define ANSWER_BYTES_MAX (1024u * 1024u)
#define FIELD_BYTES_MAX 2048u

struct web_client {
    const struct web_library *library;
    CURL *curl;
    struct curl_slist *fields; /* of the request under way */
    struct buf url, body, nonce, location, retry_after;
    char error[CURL_ERROR_SIZE];
};

static size_t client_on_body(char *bytes, size_t size, size_t n, void *user)
{
    struct web_client *c = user;
    buf_add(&c->body, bytes, size * n);
    return c->body.is_failed ? 0 : size * n;
}

static size_t client_on_field(char *bytes, size_t size, size_t n, void *user)
{
    struct web_client *c = user;
    struct str line = str_make(bytes, size * n), name;
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r')) {
        line.n--;
    }
    struct buf *into = NULL;
    if (str_split(&line, ':', &name)) {
        into = str_eq_ci(name, STR("replay-nonce"))  ? &c->nonce
               : str_eq_ci(name, STR("location"))    ? &c->location
               : str_eq_ci(name, STR("retry-after")) ? &c->retry_after
                                                     : NULL;
    }
    if (into && line.p) {
        buf_clear(into);
        buf_add_str(into, str_trim(line));
    }
    return size * n;
}

static CURLcode client_set_up(struct web_client *c, const char *ca_file)
{
    CURLcode r = c->library->easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_MAXFILESIZE, (long)ANSWER_BYTES_MAX);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_USERAGENT, "selenia/" SWS_VERSION);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, client_on_body);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, client_on_field);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->error);
    return r || !ca_file ? r : c->library->easy_setopt(c->curl, CURLOPT_CAINFO, ca_file);
}

enum err web_client_create(const char *ca_file, struct web_client **ret_client)
{
    struct web_client *c = mem_zalloc(1, sizeof(*c));
    if (!c) {
        return ERR_NOMEM;
    }
    buf_init(&c->url, 0);
    buf_init(&c->body, ANSWER_BYTES_MAX);
    buf_init(&c->nonce, FIELD_BYTES_MAX);
    buf_init(&c->location, FIELD_BYTES_MAX);
    buf_init(&c->retry_after, FIELD_BYTES_MAX);
    enum err e = web_library_load(&c->library);
    if (e) {
        mem_free(c);
        return e;
    }
    c->curl = c->library->easy_init();
    if (!c->curl || client_set_up(c, ca_file) != CURLE_OK) {
        web_client_destroy(c);
        return ERR_NOMEM;
    }
    *ret_client = c;
    return ERR_OK;
}

void web_client_destroy(struct web_client *c)
{
    if (!c) {
        return;
    }
    c->library->easy_cleanup(c->curl);
    c->library->slist_free_all(c->fields);
    buf_done(&c->url);
    buf_done(&c->body);
    buf_done(&c->nonce);
    buf_done(&c->location);
    buf_done(&c->retry_after);
    mem_free(c);
}

/* Adds a field to the request; false: out of memory. */
static bool client_add_field(struct web_client *c, const char *name, struct str value)
{
    struct buf line;
    buf_init(&line, 0);
    buf_printf(&line, "%s: " STR_FMT, name, STR_ARG(value));
    buf_add_char(&line, '\0');
    struct curl_slist *fields = line.is_failed ? NULL : c->library->slist_append(c->fields, line.p);
    buf_done_secret(&line);
    if (fields) {
        c->fields = fields;
    }
    return fields != NULL;
}

static CURLcode client_prepare(struct web_client *c, const struct web_request *request)
{
    bool is_post = request->method == WEB_POST;
    c->library->slist_free_all(c->fields);
    c->fields = NULL;
    if ((is_post && !client_add_field(c, "Content-Type", str_of(request->type))) ||
        (request->secret.n && !client_add_field(c, request->secret_field, request->secret))) {
        return CURLE_OUT_OF_MEMORY;
    }
    CURLcode r = c->library->easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR,
                                         request->may_be_plain ? "https,http" : "https");
    long timeout_ms = request->timeout_ms ? (long)request->timeout_ms : TOTAL_MS;
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, timeout_ms);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_URL, c->url.p);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_HTTPGET, 1L);
    r = r ? r
          : c->library->easy_setopt(c->curl, CURLOPT_NOBODY, request->method == WEB_HEAD ? 1L : 0L);
    r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->fields);
    if (is_post) {
        r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_POST, 1L);
        r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE, (long)request->body.n);
        r = r ? r : c->library->easy_setopt(c->curl, CURLOPT_POSTFIELDS, request->body.p);
    }
    return r;
}

enum err web_client_send(struct web_client *c, const struct web_request *request,
                         struct web_answer *ret_answer, const char **ret_reason)
{
    long status = 0;
    buf_clear(&c->url);
    buf_clear(&c->body);
    buf_clear(&c->nonce);
    buf_clear(&c->location);
    buf_clear(&c->retry_after);
    buf_add_str(&c->url, request->url);
    buf_add_char(&c->url, '\0');
    c->error[0] = '\0';
    *ret_reason = "out of memory";
    if (c->url.is_failed || client_prepare(c, request) != CURLE_OK) {
        return ERR_NOMEM;
    }
    CURLcode r = c->library->easy_perform(c->curl);
    if (r != CURLE_OK) {
        *ret_reason = c->error[0] ? c->error : c->library->easy_strerror(r);
        return r == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_IO;
    }
    c->library->easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    *ret_answer = (struct web_answer){
        .status = (unsigned)status,
        .body = buf_str(&c->body),
        .nonce = buf_str(&c->nonce),
        .location = buf_str(&c->location),
        .retry_after = buf_str(&c->retry_after),
    };
    return ERR_OK;
}
