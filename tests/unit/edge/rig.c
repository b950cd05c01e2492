/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "edge/compress.h"
#include "http/h1_parse.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/socket.h"

#define TURNS_MAX 20000
#define ANSWER_MS 20000                 /* of real time, for what the kernel may put off */
#define ANSWER_BYTES_MAX (512u * 1024u) /* of one answer, in any of its forms */

static char home[64];

/* ---- files ---- */

static void path_of(const char *name, char path[256])
{
    ASSERT(snprintf(path, 256, "%s/%s", home, name) < 256);
}

static void set_time(const char *path)
{
    const struct timespec times[2] = {{.tv_sec = RIG_TIME_S}, {.tv_sec = RIG_TIME_S}};
    ASSERT(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

static void make_file(const char *name, struct str bytes)
{
    char path[256];
    path_of(name, path);
    FILE *f = fopen(path, "w");
    ASSERT(f);
    ASSERT(fwrite(bytes.p, 1, bytes.n, f) == bytes.n);
    ASSERT(fclose(f) == 0);
    set_time(path);
}

static void make_directory(const char *name)
{
    char path[256];
    path_of(name, path);
    ASSERT(mkdir(path, 0755) == 0);
}

static void make_link(const char *name, const char *target)
{
    char path[256];
    path_of(name, path);
    ASSERT(symlink(target, path) == 0);
}

/* Text that a coding makes shorter, and that tells where in it one is. */
static void fill_text(struct buf *out, size_t n)
{
    buf_init(out, 0);
    for (unsigned i = 0; out->n < n; i++) {
        buf_printf(out, "line %u: const value = %u;\n", i, i * 2654435761u % 1000u);
    }
    ASSERT(!out->is_failed);
    out->n = n;
}

static void make_big_files(void)
{
    struct buf text, coded;
    fill_text(&text, RIG_BIG_BYTES);
    make_file("www/big.txt", buf_str(&text));
    make_file("www/huge.bin", buf_str(&text));
    text.n = RIG_SCRIPT_BYTES;
    make_file("www/code.css", buf_str(&text));
    make_file("www/app.js", buf_str(&text));
    const struct compress_options options = {.coding = COMPRESS_BROTLI, .level = 5};
    struct str input = buf_str(&text);
    struct compress *c;
    bool is_done;
    buf_init(&coded, 0);
    ASSERT(compress_create(&options, &c) == ERR_OK);
    ASSERT(compress_run(c, COMPRESS_END, &input, 65536, &coded, &is_done) == ERR_OK);
    ASSERT(is_done);
    make_file("www/app.js.br", buf_str(&coded));
    compress_destroy(c);
    buf_done(&coded);
    buf_done(&text);
}

void rig_files_make(void)
{
    static const char *const directories[] = {"www",      "www/dir",   "www/list", "www/list/sub",
                                              "www/json", "www/empty", "pages",    "www/deep"};
    static const char *const names[] = {"www/list/a.txt", "www/list/b & c.txt", "www/json/a\"b",
                                        "www/json/z",     "www/list/.hidden",   "www/deep/x.txt"};
    snprintf(home, sizeof(home), "/tmp/sws-edge-XXXXXX");
    ASSERT(mkdtemp(home));
    for (size_t i = 0; i < COUNT_OF(directories); i++) {
        make_directory(directories[i]);
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        make_file(names[i], str_of(names[i]));
    }
    make_file("www/plain.txt", STR("plain text\n"));
    make_file("www/none.txt", STR(""));
    make_file("www/index.html", STR("<p>index</p>\n"));
    make_file("www/dir/index.html", STR("<p>dir</p>\n"));
    make_file("www/404.html", STR("<p>my 404</p>\n"));
    make_file("www/.secret", STR("secret\n"));
    make_file("www/digits.bin", STR("0123456789abcdefghij"));
    make_file("outside.txt", STR("outside\n"));
    make_file("pages/4xx.html", STR("<p>operator</p>\n"));
    make_link("www/link-in", "plain.txt");
    make_link("www/link-out", "../outside.txt");
    make_link("www/deep/link", "x.txt");
    make_big_files();
    char path[256];
    for (size_t i = 0; i < COUNT_OF(directories); i++) {
        path_of(directories[i], path);
        set_time(path);
    }
}

void rig_files_done(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", home);
    ASSERT(system(command) == 0);
}

void rig_file_read(const char *name, struct buf *ret_bytes)
{
    char path[256], below[128];
    snprintf(below, sizeof(below), "www/%s", name);
    path_of(below, path);
    buf_init(ret_bytes, 0);
    ASSERT(file_read_all(path, ANSWER_BYTES_MAX, ret_bytes) == ERR_OK);
}

static void rig_file_move(const char *from, const char *to)
{
    char old_path[256], new_path[256];
    path_of(from, old_path);
    path_of(to, new_path);
    ASSERT(rename(old_path, new_path) == 0);
}

void rig_file_hide(const char *name)
{
    char below[128];
    snprintf(below, sizeof(below), "www/%s", name);
    rig_file_move(below, "hidden");
}

void rig_file_show(const char *name)
{
    char below[128];
    snprintf(below, sizeof(below), "www/%s", name);
    rig_file_move("hidden", below);
}

/* ---- the site ---- */

static const char configuration[] =
    "hosts:\n"
    "- domains: [a.test, 127.0.0.1]\n"
    "  root: www\n"
    "  error_pages: {404: 404.html}\n"
    "  routes:\n"
    "  - {path: /list/**, listing: html}\n"
    "  - {path: /json/**, listing: json}\n"
    "  - {path: /respond, respond: {status: 201, body: \"made\\n\", type: text/x-made}}\n"
    "  - {path: /nothing, respond: 204}\n"
    "  - {path: /to/**, redirect: https://other.test/base/}\n"
    "  - {path: /here, redirect: {to: /there, keep_path: false, status: 302}}\n"
    "  - {path: /method, methods: [POST], respond: {body: post}}\n"
    "  - {path: /method, respond: {body: other}}\n"
    "  - {path: /header, match: {header: {X-Version: \"2\"}}, respond: {body: two}}\n"
    "  - {path: /header, match: {header: {Cookie: null}}, respond: {body: no cookie}}\n"
    "  - {path: /header, respond: {body: plain}}\n"
    "  - {path: /query, match: {query: {v: \"2\"}}, respond: {body: two}}\n"
    "  - {path: /query, respond: {body: plain}}\n"
    "  - {path: /ip, match: {ip: [127.0.0.0/8]}, respond: {body: near}}\n"
    "  - {path: /ip, respond: {body: far}}\n"
    "  - {path: /re/**, match: {regex: \"^/re/[0-9]+$\"}, respond: {body: number}}\n"
    "  - {path: /re/**, respond: {body: no number}}\n"
    "  - path: /deep/**\n"
    "    symlinks: off\n"
    "    security: strict\n"
    "    headers: {response: {X-One: \"1\", Server: null, Referrer-Policy: origin}}\n"
    "- domains: spa.test\n"
    "  root: www\n"
    "  fallback: /index.html\n"
    "- domains: pages.test\n"
    "  root: www\n"
    "  error_pages: {4xx: \"${env:RIG_HOME}/pages/4xx.html\"}\n"
    "- domains: coded.test\n"
    "  root: www\n"
    "  precompressed: off\n"
    "  compress: {codings: [zstd, br, gzip], types: [\"text/*\", application/javascript]}\n"
    "  log: {format: combined}\n"
    "- domains: rewrite.test\n"
    "  root: www\n"
    "  rewrites:\n"
    "  - {from: \"^/list/(.*)$\", to: /404.html, if: \"!file\"}\n"
    "  - {from: \"^/old/(.*)$\", to: /$1}\n"
    "  - {from: \"^/moved/(.*)$\", to: \"https://other.test/$1?a=b\", flags: [R], status: 301}\n"
    "  - {from: \"^/forbidden\", flags: [F]}\n"
    "  - {from: \"^/gone\", flags: [L, G]}\n"
    "  - {from: \"^/last$\", to: /plain.txt, flags: [L]}\n"
    "  - {from: \"^/plain.txt$\", to: /index.html, if: \"query swap ^1$ && header X-Swap\"}\n"
    "  - {from: \"^/only/(.*)$\", to: /digits.bin, if: \"!exists && method GET\"}\n"
    "  - {from: \"^/loop(.*)$\", to: /loop$1x}\n"
    "- domains: echo.test\n"
    "  backend: echo\n"
    "  websocket: {origins: [\"https://friend.test\"]}\n"
    "- domains: proxy.test\n"
    "  backend:\n"
    "    proxy: \"unix:${env:RIG_HOME}/up.sock\"\n"
    "    host: echo.test\n"
    "    health: {path: /check, interval: 1s, body: \"GET /check\"}\n"
    "  headers: {request: {X-Own: ours, X-Gone: null}, response: {X-Two: \"2\"}}\n"
    "- domains: down.test\n"
    "  backend: {proxy: \"unix:${env:RIG_HOME}/nobody.sock\", health: {tcp: true}}\n"
    "- domains: fcgi.test\n"
    "  root: www\n"
    "  backend:\n"
    "    proxy: \"unix+fcgi:${env:RIG_HOME}/nobody.sock\"\n"
    "    fcgi: {split: .txt, index: x.txt, body: 10B, env: {A: b, SERVER_NAME: null}}\n"
    "- domains: open.test\n"
    "  root: www\n"
    "  dotfiles: true\n"
    "  symlinks: all\n"
    "  security: off\n"
    "  charset: \"\"\n"
    "  precompressed: [gz]\n"
    "  compress: off\n";

static const char *rig_get_env(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "RIG_HOME") == 0 ? home : NULL;
}

struct settings *rig_settings(void)
{
    const struct conf_io io = {.get_env = rig_get_env};
    char name[256];
    struct settings *settings = NULL;
    struct diag_list diags;
    struct buf text;
    path_of("test.yaml", name);
    diag_list_init(&diags);
    enum err e = settings_load_text(name, str_of(configuration), &io, &settings, &diags);
    if (e) {
        buf_init(&text, 0);
        diag_list_print(&diags, &text);
        fprintf(stderr, STR_FMT "\n", STR_ARG(buf_str(&text)));
        buf_done(&text);
    }
    ASSERT(e == ERR_OK);
    diag_list_done(&diags);
    return settings;
}

struct site *rig_site(void)
{
    struct diag_list diags;
    struct site *site = NULL;
    diag_list_init(&diags);
    ASSERT(site_create(rig_settings(), NULL, &site, &diags) == ERR_OK);
    diag_list_done(&diags);
    return site;
}

/* ---- the server ---- */

static int rig_listen(struct rig *r, struct socket_address *address)
{
    struct listener *listener;
    int fd;
    ASSERT(socket_listen(address, false, &fd) == ERR_OK);
    ASSERT(socket_local(fd, address) == ERR_OK);
    ASSERT(server_listen(r->server, fd, false, &listener) == ERR_OK);
    return fd;
}

void rig_start(struct rig *r, struct site *site)
{
    static unsigned count;
    const struct metrics_options options = {
        .loop_count = 1,
        .limit_names = pipeline_limit_names(),
        .limit_count = SERVER_LIMIT_COUNT,
        .reason_names = pipeline_reason_names(),
        .reason_count = H1_REJECT_COUNT,
        .cause_names = pipeline_cause_names(),
        .cause_count = CLIENT_FAULT_COUNT,
    };
    const struct server_limits limits = {
        .connections_max = 100,
        .header_bytes_max = 8192,
        .header_count_max = 100,
        .uri_bytes_max = 4096,
        .body_bytes_max = 1u << 20,
        .header_ms = 10000,
        .idle_ms = 60000,
        .read_idle_ms = 20000,
        .write_idle_ms = 30000,
        .tunnel_idle_ms = 3600000,
    };
    struct writer_settings log;
    char name[64];
    int n = snprintf(name, sizeof(name), "@sws-edge-test-%d-%u", (int)getpid(), count++);
    *r = (struct rig){0};
    atomic_init(&r->is_ready, true);
    writer_settings_default(&log);
    log.path = STR("/dev/null");
    ASSERT(writer_create(&log, &r->writer) == ERR_OK);
    ASSERT(metrics_create(&options, &r->metrics) == ERR_OK);
    ASSERT(loop_create(POLLER_KIND_SIM, &r->loop) == ERR_OK);
    ASSERT(pipeline_init(&r->pipeline, r->loop, site) == ERR_OK);
    r->pipeline.metrics = metrics_block(r->metrics, 0);
    r->pipeline.access = writer_producer(r->writer, 0);
    r->pipeline.is_ready = &r->is_ready;
    const struct server_hooks hooks = pipeline_hooks(&r->pipeline);
    ASSERT(server_create(r->loop, &limits, &hooks, &r->server) == ERR_OK);
    r->pipeline.server = r->server;
    ASSERT(socket_address_unix(str_make(name, (size_t)n), &r->local) == ERR_OK);
    ASSERT(socket_address_ip(STR("127.0.0.1"), 0, &r->tcp) == ERR_OK);
    r->local_fd = rig_listen(r, &r->local);
    r->tcp_fd = rig_listen(r, &r->tcp);
    /* Where proxy.test finds an upstream: this server again, whose echo it asks for. */
    char up[256];
    struct socket_address upstream;
    path_of("up.sock", up);
    ASSERT(socket_address_unix(str_of(up), &upstream) == ERR_OK);
    r->up_fd = rig_listen(r, &upstream);
}

static void rig_settle(struct rig *r)
{
    unsigned turns = 0;
    while (loop_turn(r->loop, 0)) {
        ASSERT(++turns < TURNS_MAX);
    }
}

void rig_stop(struct rig *r)
{
    rig_settle(r);
    server_destroy(r->server);
    ASSERT(metrics_get(r->metrics, METRICS_CONN_ACTIVE) == 0);
    pipeline_done(&r->pipeline);
    loop_destroy(r->loop);
    metrics_destroy(r->metrics);
    writer_destroy(r->writer);
    file_close(r->local_fd);
    file_close(r->tcp_fd);
    file_close(r->up_fd);
}

void rig_advance(struct rig *r, uint64_t ms)
{
    uint64_t end_ns = loop_now_ns(r->loop) + ms * NS_PER_MS;
    unsigned turns = 0;
    while (loop_now_ns(r->loop) < end_ns) {
        loop_turn(r->loop, end_ns);
        ASSERT(++turns < TURNS_MAX);
    }
    rig_settle(r);
}

/* ---- answers ---- */

static const char *answer_value(const struct answer *a, const char *name)
{
    char line[64];
    snprintf(line, sizeof(line), "\r\n%s: ", name);
    const char *at = a->head.p ? strcasestr(a->head.p, line) : NULL;
    return at ? at + strlen(line) : NULL;
}

bool answer_has(const struct answer *a, const char *line)
{
    char whole[256];
    snprintf(whole, sizeof(whole), "\r\n%s\r\n", line);
    return a->head.p && strcasestr(a->head.p, whole);
}

/* False: the chunks have not come whole. */
static bool answer_dechunk(struct answer *a, const char *at, const char *end)
{
    for (;;) {
        char *rest = NULL;
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line_end) {
            return false;
        }
        size_t n = strtoul(at, &rest, 16);
        ASSERT(rest == line_end);
        at = line_end + 2;
        if ((size_t)(end - at) < n + 2) {
            return false;
        }
        ASSERT(memcmp(at + n, "\r\n", 2) == 0);
        if (n == 0) {
            ASSERT(at + 2 == end);
            return true;
        }
        buf_add(&a->content, at, n);
        at += n + 2;
    }
}

/* Looks whether the answer is whole by now, and fills it in. */
static void answer_read(struct answer *a, bool is_head, bool is_reset)
{
    buf_add_char(&a->got, '\0');
    a->got.n--;
    ASSERT(!a->got.is_failed);
    const char *empty_line = memmem(a->got.p, a->got.n, "\r\n\r\n", 4);
    if (!empty_line) {
        return;
    }
    const char *at = empty_line + 4, *end = a->got.p + a->got.n;
    buf_clear(&a->head);
    buf_clear(&a->content);
    buf_add(&a->head, a->got.p, (size_t)(at - a->got.p));
    buf_add_char(&a->head, '\0');
    ASSERT(sscanf(a->head.p, "HTTP/1.1 %u ", &a->status) == 1);
    const char *length = answer_value(a, "Content-Length");
    if (is_head || a->status == 204 || a->status == 304) {
        ASSERT(at == end);
        a->is_whole = true;
    } else if (length) {
        size_t n = strtoul(length, NULL, 10);
        ASSERT((size_t)(end - at) <= n);
        a->is_whole = (size_t)(end - at) == n;
        buf_add(&a->content, at, (size_t)(end - at));
    } else if (answer_has(a, "Transfer-Encoding: chunked")) {
        a->is_whole = answer_dechunk(a, at, end);
    } else {
        a->is_whole = a->is_closed && !is_reset;
        buf_add(&a->content, at, (size_t)(end - at));
    }
}

static size_t decode(const char *coding, struct str in, char *out)
{
    if (strncmp(coding, "gzip", 4) == 0) {
        z_stream z = {.next_in = (Bytef *)(uintptr_t)in.p,
                      .avail_in = (uInt)in.n,
                      .next_out = (Bytef *)out,
                      .avail_out = ANSWER_BYTES_MAX};
        ASSERT(inflateInit2(&z, 15 + 16) == Z_OK);
        ASSERT(inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0);
        inflateEnd(&z);
        return z.total_out;
    }
    if (strncmp(coding, "br", 2) == 0) {
        size_t n = ANSWER_BYTES_MAX;
        ASSERT(BrotliDecoderDecompress(in.n, (const uint8_t *)in.p, &n, (uint8_t *)out) ==
               BROTLI_DECODER_RESULT_SUCCESS);
        return n;
    }
    ASSERT(strncmp(coding, "zstd", 4) == 0);
    ZSTD_DCtx *d = ZSTD_createDCtx();
    ZSTD_inBuffer from = {in.p, in.n, 0};
    ZSTD_outBuffer to = {out, ANSWER_BYTES_MAX, 0};
    ASSERT(ZSTD_decompressStream(d, &to, &from) == 0 && from.pos == from.size);
    ZSTD_freeDCtx(d);
    return to.pos;
}

static void answer_decode(struct answer *a)
{
    const char *coding = answer_value(a, "Content-Encoding");
    const char *boundary = a->head.p ? strstr(a->head.p, "; boundary=") : NULL;
    if (coding && a->content.n && a->status == 200) {
        char *out = malloc(ANSWER_BYTES_MAX);
        ASSERT(out);
        size_t n = decode(coding, buf_str(&a->content), out);
        buf_clear(&a->content);
        buf_add(&a->content, out, n);
        free(out);
    }
    if (boundary) {
        char text[33];
        memcpy(text, boundary + strlen("; boundary="), 32);
        text[32] = '\0';
        for (size_t i = 0; i + 32 <= a->content.n; i++) {
            if (memcmp(a->content.p + i, text, 32) == 0) {
                memset(a->content.p + i, '.', 32);
            }
        }
    }
    ASSERT(!a->content.is_failed && !a->head.is_failed);
}

static bool rig_take(int fd, struct answer *a, bool *is_reset)
{
    char block[65536];
    ssize_t n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
    if (n > 0) {
        buf_add(&a->got, block, (size_t)n);
        return true;
    }
    *is_reset = n < 0 && errno == ECONNRESET;
    a->is_closed = n == 0 || *is_reset;
    return false;
}

unsigned long rig_ask(struct rig *r, bool is_tcp, const char *request, unsigned long fail_at,
                      struct answer *ret_answer)
{
    struct answer *a = ret_answer;
    bool is_head = strncmp(request, "HEAD ", 5) == 0, is_reset = false;
    const struct linger reset = {.l_onoff = 1};
    uint64_t end_ns = clock_monotonic_ns() + (uint64_t)ANSWER_MS * NS_PER_MS;
    int fd;
    *a = (struct answer){0};
    /* All that the client needs, so that only the server can fail. */
    ASSERT(buf_reserve(&a->got, ANSWER_BYTES_MAX) && buf_reserve(&a->head, ANSWER_BYTES_MAX) &&
           buf_reserve(&a->content, ANSWER_BYTES_MAX));
    (void)mem_test_fail_at(fail_at);
    ASSERT(socket_connect(is_tcp ? &r->tcp : &r->local, &fd) == ERR_OK);
    /* No port may wait for a minute behind each of thousands of connections. */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    struct str rest = str_of(request);
    while (!a->is_whole && !a->is_closed) {
        ssize_t sent = rest.n ? send(fd, rest.p, rest.n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        rest = sent > 0 ? str_sub(rest, (size_t)sent, rest.n) : rest;
        rig_settle(r);
        while (rig_take(fd, a, &is_reset)) {
            rig_settle(r);
        }
        if (a->got.n) {
            answer_read(a, is_head, is_reset);
        }
        if (!a->is_whole && !a->is_closed) {
            struct pollfd p = {.fd = fd, .events = POLLIN};
            poll(&p, 1, 1);
            rig_advance(r, 1);
            ASSERT(clock_monotonic_ns() < end_ns);
        }
    }
    close(fd);
    rig_settle(r);
    unsigned long made = mem_test_fail_at(0);
    if (a->is_whole) {
        answer_decode(a);
    }
    return made;
}

void answer_done(struct answer *a)
{
    buf_done(&a->got);
    buf_done(&a->head);
    buf_done(&a->content);
}
