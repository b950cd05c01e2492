/* SPDX-License-Identifier: Apache-2.0 */
/*
 * h1_agree [COUNT [SEED]]: every scanner of this machine gives exactly the result of the scalar
 * one, on COUNT request heads that are made and spoilt at random and cut at every place. The bytes
 * end where a page begins that may not be read. A plain program, because cmocka is not there for
 * the machines it is cross-compiled for. Exits with 77 where there is nothing to compare with.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "http/h1_parse.h"
#include "http/h1_scan_int.h"

#define TEXT_BYTES_MAX 1024
#define SCANS_PER_HEAD 64
#define EXIT_SKIPPED 77

struct outcome {
    ptrdiff_t result;
    struct h1_request request;
    struct http_field fields[HTTP_FIELDS_MAX];
};

struct text {
    char bytes[TEXT_BYTES_MAX];
    size_t n;
};

static uint64_t random_state;
static char *guard; /* the first byte that may not be read */

/* splitmix64: neighbouring seeds give unlike sequences. */
static size_t below(size_t n)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (size_t)((z ^ (z >> 31)) % n);
}

static void add(struct text *t, const char *p, size_t n)
{
    n = n < sizeof(t->bytes) - t->n ? n : sizeof(t->bytes) - t->n;
    memcpy(t->bytes + t->n, p, n);
    t->n += n;
}

static void add_text(struct text *t, const char *text)
{
    add(t, text, strlen(text));
}

static void add_one_of(struct text *t, const char *const *texts, size_t count)
{
    add_text(t, texts[below(count)]);
}

/* Fewer than `n_max` bytes that are in the class. */
static void add_of_class(struct text *t, const struct h1_class *class, size_t n_max)
{
    for (size_t n = below(n_max); n > 0; n--) {
        char c = (char)below(256);
        while (!h1_class_has(class, c)) {
            c = (char)below(256);
        }
        add(t, &c, 1);
    }
}

static void add_host(struct text *t)
{
    static const char *const hosts[] = {"a", "[::1]:8080", "192.0.2.7:80", "b.example.", "x%41"};
    add_text(t, "Host: ");
    if (below(2)) {
        add_text(t, "h");
        add_of_class(t, &h1_class_host, 50);
    } else {
        add_one_of(t, hosts, COUNT_OF(hosts));
    }
    add_text(t, "\r\n");
}

static void add_field(struct text *t)
{
    static const char *const lines[] = {
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Connection: close, te",
        "Expect: 100-continue",
        "Connection: upgrade\r\nUpgrade: x",
        "TE: trailers",
        "Cookie: \t",
        "Host: again",
    };
    if (below(3) == 0) {
        add_one_of(t, lines, COUNT_OF(lines));
    } else {
        add_text(t, "X");
        add_of_class(t, &h1_class_token, 40);
        add_text(t, below(4) ? ": " : ":\t ");
        add_of_class(t, &h1_class_value, 90);
    }
    add_text(t, "\r\n");
}

static void make_head(struct text *t)
{
    static const char *const methods[] = {"GET ", "POST ", "OPTIONS ", "CONNECT ", "BREW "};
    static const char *const forms[] = {"/", "/", "/", "http://h:1/", "*", "h:443"};
    static const char *const versions[] = {" HTTP/1.1\r\n", " HTTP/1.1\r\n", " HTTP/1.0\r\n"};
    t->n = 0;
    if (below(8) == 0) {
        add_text(t, "\r\n");
    }
    add_one_of(t, methods, below(2) ? 2 : COUNT_OF(methods));
    add_one_of(t, forms, COUNT_OF(forms));
    add_of_class(t, &h1_class_target, 80);
    add_one_of(t, versions, COUNT_OF(versions));
    add_host(t);
    for (size_t n = below(5); n > 0; n--) {
        add_field(t);
    }
    add_text(t, "\r\n");
}

/* Replaces, puts in, takes out or doubles, at a random place. */
static void spoil(struct text *t)
{
    static const char odd[] = "\r\n \t\0\x7f\x80\xff:#,;\"\x1f!~@[`{";
    char c = below(3) ? odd[below(sizeof(odd) - 1)] : (char)below(256);
    size_t at = below(t->n);
    size_t n = 1 + below(4);
    size_t rest = t->n - at;
    n = n < rest ? n : rest;
    switch (below(4)) {
    case 0:
        t->bytes[at] = c;
        break;
    case 1:
        if (t->n < sizeof(t->bytes)) {
            memmove(t->bytes + at + 1, t->bytes + at, rest);
            t->bytes[at] = c;
            t->n++;
        }
        break;
    case 2:
        if (t->n > n) {
            memmove(t->bytes + at, t->bytes + at + n, rest - n);
            t->n -= n;
        }
        break;
    default:
        if (t->n + n <= sizeof(t->bytes)) {
            memmove(t->bytes + at + n, t->bytes + at, rest);
            t->n += n;
        }
    }
}

static bool same_view(struct str a, struct str b)
{
    return a.p == b.p && a.n == b.n;
}

static bool same_outcome(const struct outcome *x, const struct outcome *y)
{
    const struct h1_request *a = &x->request, *b = &y->request;
    const struct request_head *m = &a->head, *n = &b->head;
    if (x->result != y->result || a->reject != b->reject || a->framing != b->framing ||
        a->content_length != b->content_length || a->keep_alive != b->keep_alive ||
        a->expect_continue != b->expect_continue || a->upgrade != b->upgrade ||
        a->connection_names != b->connection_names ||
        !same_view(a->upgrade_value, b->upgrade_value)) {
        return false;
    }
    if (m->method != n->method || m->version != n->version || m->has_query != n->has_query ||
        !same_view(m->method_text, n->method_text) || !same_view(m->target, n->target) ||
        !same_view(m->scheme, n->scheme) || !same_view(m->authority, n->authority) ||
        !same_view(m->path, n->path) || !same_view(m->query, n->query) ||
        m->fields.n != n->fields.n ||
        memcmp(m->fields.known, n->fields.known, sizeof(m->fields.known)) != 0) {
        return false;
    }
    for (unsigned i = 0; i < m->fields.n; i++) {
        const struct http_field *f = &x->fields[i], *g = &y->fields[i];
        if (f->id != g->id || !same_view(f->name, g->name) || !same_view(f->value, g->value)) {
            return false;
        }
    }
    return true;
}

static void parse(enum h1_simd simd, const char *p, size_t n, struct outcome *out)
{
    const struct h1_limits limits = h1_limits_default();
    ASSERT(h1_simd_select(simd));
    http_fields_init(&out->request.head.fields, out->fields, COUNT_OF(out->fields));
    out->result = h1_parse_request(p, n, 0, &limits, &out->request);
}

static void report(const char *what, enum h1_simd simd, uint64_t seed, const char *p, size_t n)
{
    printf("%s: %s differs from scalar; h1_agree 1 %llu\n", what, h1_simd_name(simd),
           (unsigned long long)seed);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        printf(c >= ' ' && c < 0x7f && c != '\\' ? "%c" : "\\x%02x", c);
    }
    printf("\n");
}

static bool agree_on_heads(const enum h1_simd *simds, unsigned count, const struct text *t,
                           uint64_t seed, unsigned *accepted)
{
    static struct outcome want, got;
    for (size_t cut = 1; cut <= t->n; cut++) {
        char *p = guard - cut;
        memcpy(p, t->bytes, cut);
        parse(H1_SIMD_SCALAR, p, cut, &want);
        for (unsigned i = 0; i < count; i++) {
            parse(simds[i], p, cut, &got);
            if (!same_outcome(&want, &got)) {
                report("head", simds[i], seed, p, cut);
                return false;
            }
        }
    }
    *accepted += want.result > 0;
    return true;
}

static bool agree_on_scans(const enum h1_simd *simds, unsigned count, const struct text *t,
                           uint64_t seed)
{
    static const struct h1_class *const classes[] = {&h1_class_token, &h1_class_value,
                                                     &h1_class_target, &h1_class_host};
    const char *start = guard - t->n;
    for (unsigned round = 0; round < SCANS_PER_HEAD; round++) {
        const struct h1_class *class = classes[below(COUNT_OF(classes))];
        const char *p = start + below(t->n + 1);
        const char *end = below(2) ? guard : p + below((size_t)(guard - p) + 1);
        ASSERT(h1_simd_select(H1_SIMD_SCALAR));
        const char *want = h1_scan(p, end, class);
        for (unsigned i = 0; i < count; i++) {
            ASSERT(h1_simd_select(simds[i]));
            if (h1_scan(p, end, class) != want) {
                report("scan", simds[i], seed, p, (size_t)(end - p));
                return false;
            }
        }
    }
    return true;
}

static void map_guard(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = (TEXT_BYTES_MAX + page - 1) / page * page;
    char *p = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(p != MAP_FAILED);
    guard = p + room;
    ASSERT(mprotect(guard, page, PROT_NONE) == 0);
}

int main(int argc, char **argv)
{
    unsigned long heads = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000;
    uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    enum h1_simd simds[H1_SIMD_COUNT];
    unsigned count = 0, accepted = 0;
    bool has_neon = false;
    for (unsigned simd = H1_SIMD_SCALAR + 1; simd < H1_SIMD_COUNT; simd++) {
        if (h1_simd_select((enum h1_simd)simd)) {
            simds[count++] = (enum h1_simd)simd;
            has_neon = has_neon || simd == H1_SIMD_NEON;
            printf("compared with scalar: %s\n", h1_simd_name((enum h1_simd)simd));
        }
    }
#if defined(__aarch64__)
    if (!has_neon) {
        printf("neon was not among them\n");
        return EXIT_FAILURE;
    }
#endif
    if (heads == 0) {
        printf("usage: h1_agree [COUNT [SEED]], COUNT at least 1\n");
        return EXIT_FAILURE;
    }
    if (count == 0) {
        printf("this machine has the scalar scanner only\n");
        return EXIT_SKIPPED;
    }
    map_guard();
    for (uint64_t seed = first; seed - first < heads; seed++) {
        struct text t;
        random_state = seed;
        make_head(&t);
        for (size_t n = below(2) * below(4); n > 0; n--) {
            spoil(&t);
        }
        if (!agree_on_heads(simds, count, &t, seed, &accepted) ||
            !agree_on_scans(simds, count, &t, seed)) {
            return EXIT_FAILURE;
        }
    }
    printf("%lu heads agree at every cut, %u of them well-formed\n", heads, accepted);
    /* Comparing refusals alone would say little. */
    return heads >= 1000 && accepted < heads / 10 ? EXIT_FAILURE : EXIT_SUCCESS;
}
