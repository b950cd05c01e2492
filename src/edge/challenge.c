/* SPDX-License-Identifier: Apache-2.0 */
#include "edge/challenge.h"

#include <stdio.h>
#include <string.h>

#include "crypto/certificate.h"
#include "os/file.h"

#define TOKEN_BYTES_MAX 128
#define ANSWER_BYTES_MAX 512u
#define PEM_BYTES_MAX 16384u

static const struct str prefix = STR("/.well-known/acme-challenge/");

static bool challenge_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_') {
            return false;
        }
    }
    return s.n != 0 && s.n <= TOKEN_BYTES_MAX;
}

/* A small file below `root`, whole. */
static enum err challenge_read(int root, const char *name, char *bytes, size_t bytes_max,
                               size_t *ret_n)
{
    struct file_info info;
    int fd;
    enum err e = file_open_beneath(root, name, FILE_LINKS_OFF, &info, &fd);
    if (e) {
        return e;
    }
    e = info.is_regular && info.size <= bytes_max ? file_read_at(fd, 0, bytes, bytes_max, ret_n)
                                                  : ERR_NOT_FOUND;
    file_close(fd);
    return e;
}

bool challenge_pass(struct request *r)
{
    char name[TOKEN_BYTES_MAX + 1], bytes[ANSWER_BYTES_MAX];
    size_t n;
    int root = r->pipeline->challenge_root;
    struct str token = str_sub(r->path, prefix.n, r->path.n);
    if (r->pipeline->explain && str_starts_with(r->path, prefix)) {
        REQUEST_NOTE(r, "challenge", "answered for an authority while it asks; else passed over");
    }
    if (root < 0 || r->x->peer->tls || r->x->request->method == HTTP_CONNECT ||
        !str_starts_with(r->path, prefix) || !challenge_is_token(token)) {
        return true;
    }
    memcpy(name, token.p, token.n);
    name[token.n] = '\0';
    if (challenge_read(root, name, bytes, sizeof(bytes), &n) != ERR_OK) {
        return true; /* somebody else may have asked for it: a file of the host, perhaps */
    }
    struct str body = arena_str(&r->x->arena, str_make(bytes, n));
    if (body.p) {
        request_answer(r, 200, STR("application/octet-stream"), body, (struct str){NULL, 0});
    } else {
        request_fail(r, 503, "out of memory");
    }
    return false;
}

bool challenge_is_asked(const struct pipeline *p, const struct client_hello *hello)
{
    return p->alpn_root >= 0 && hello->sni.n && hello->alpn_count == 1 &&
           str_eq(hello->alpn[0], STR(CHALLENGE_PROTOCOL));
}

static enum err challenge_make_policy(struct tls_policy **ret_policy)
{
    const struct tls_policy_config config = {
        .min_version = TLS_VERSION_12,
        .alpn = {STR(CHALLENGE_PROTOCOL)},
        .alpn_count = 1,
        .client_auth = TLS_CLIENT_OFF,
    };
    struct fault fault;
    return tls_policy_create(&config, ret_policy, &fault);
}

static enum err challenge_open_store(struct pipeline *p, const char *file,
                                     struct certificate_store **ret_store)
{
    char pem[PEM_BYTES_MAX];
    struct certificate *certificate;
    struct fault fault;
    size_t n;
    enum err e = challenge_read(p->alpn_root, file, pem, sizeof(pem), &n);
    if (!e) {
        e = certificate_create(str_make(pem, n), str_make(pem, n), &certificate, &fault);
    }
    explicit_bzero(pem, sizeof(pem));
    if (e) {
        return e == ERR_NOMEM ? e : ERR_NOT_FOUND;
    }
    /* The certificate for an address carries that, and not its name in the reverse tree. */
    e = certificate_store_create(&certificate, 1, 0, ret_store);
    certificate_unref(certificate);
    return e;
}

enum err challenge_choose(struct pipeline *p, const struct client_hello *hello,
                          struct tls_choice *ret_choice)
{
    char file[CLIENT_HELLO_NAME_BYTES_MAX + 8];
    struct certificate_store *store;
    snprintf(file, sizeof(file), STR_FMT ".pem", STR_ARG(hello->sni));
    if (!p->alpn_policy && challenge_make_policy(&p->alpn_policy) != ERR_OK) {
        p->alpn_policy = NULL;
        return ERR_NOMEM;
    }
    enum err e = challenge_open_store(p, file, &store);
    if (e) {
        return e;
    }
    certificate_store_unref(p->alpn_store);
    p->alpn_store = store;
    *ret_choice = (struct tls_choice){p->alpn_policy, store, false};
    return ERR_OK;
}

void challenge_done(struct pipeline *p)
{
    tls_policy_unref(p->alpn_policy);
    certificate_store_unref(p->alpn_store);
    p->alpn_policy = NULL;
    p->alpn_store = NULL;
}
