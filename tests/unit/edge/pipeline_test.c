/* SPDX-License-Identifier: Apache-2.0 */
/* What a request is answered with, and what is left of that when memory runs out anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/mem.h"
#include "os/socket.h"
#include "rig.h"

#define TO(host) " HTTP/1.1\r\nHost: " host "\r\n"
#define A TO("a.test")
#define CODED TO("coded.test")
#define GET(path) "GET " path A "\r\n"
#define BROWSER "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n"
#define LINES_MAX 6

/* What may come instead where memory ran out, besides a 5xx and the end of the connection. */
enum instead {
    INSTEAD_NOTHING,
    INSTEAD_OTHER_FORM, /* the same content in another coding */
    INSTEAD_PLAIN_PAGE, /* the same status with the built-in page */
};

struct scenario {
    const char *name;
    const char *request;
    unsigned status;
    const char *lines[LINES_MAX]; /* that the head has; with a `!` in front: has not */
    const char *content;          /* the whole of it, or */
    const char *file;             /* whose bytes it is, or */
    const char *parts[LINES_MAX]; /* which stand in it in this order; nothing: it is empty */
    enum instead instead;
    bool is_tcp;
};

static const struct scenario scenarios[] = {
    {"echo of a request", "GET /a?b" TO("echo.test") "X-One: 1\r\nCookie: s\r\n\r\n", .status = 200,
     .lines = {"Content-Type: text/plain; charset=utf-8"},
     .content = "GET /a?b HTTP/1.1\nHost: echo.test\nX-One: 1\nCookie: (not shown)\n\n"
                "client: unix\n"},
    {"echo as JSON", "DELETE /a" TO("echo.test") "Accept: application/json\r\n\r\n", .status = 200,
     .lines = {"Content-Type: application/json"},
     .content = "{\"method\":\"DELETE\",\"target\":\"/a\",\"version\":\"HTTP/1.1\",\"fields\":"
                "[[\"Host\",\"echo.test\"],[\"Accept\",\"application/json\"]],"
                "\"client\":\"unix\"}\n"},
    {"echo of a body",
     "PUT /" TO("echo.test") "Content-Type: a/b\r\nContent-Length: 5\r\n\r\nhello", .status = 200,
     .lines = {"Content-Type: a/b", "Content-Length: 5"}, .content = "hello"},
    {"echo of chunks",
     "POST /" TO(
         "echo.test") "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n",
     .status = 200, .lines = {"Content-Type: application/octet-stream"}, .content = "hello!"},
    {"echo of no chunks", "POST /" TO("echo.test") "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     .status = 200},
    {"echo of a bad chunk", "POST /" TO("echo.test") "Transfer-Encoding: chunked\r\n\r\nx\r\n",
     .status = 400, .lines = {"Connection: close"}, .parts = {"400"}},
    {"proxied request",
     "GET //a/./b?c" TO("proxy.test") "X-One: 1\r\nX_One: 2\r\nX-Gone: 1\r\nX-Request-ID: id\r\n"
                                      "Connection: X-Hop\r\nX-Hop: 1\r\nX-Forwarded-For: "
                                      "6.6.6.6\r\nProxy: a\r\nTE: trailers, gzip\r\n\r\n",
     .status = 200, .lines = {"Via: 1.1 selenia", "X-Two: 2", "!Connection: X-Hop"},
     .content = "GET /a/b?c HTTP/1.1\nHost: echo.test\nX-One: 1\nTE: trailers\n"
                "X-Request-ID: id\nForwarded: for=unknown;host=\"proxy.test\";proto=http\n"
                "X-Forwarded-Proto: http\nX-Forwarded-Host: proxy.test\nVia: 1.1 selenia\n"
                "X-Own: ours\nConnection: te\n\nclient: unix\n"},
    {"proxied HEAD", "HEAD /" TO("proxy.test") "\r\n", .status = 200},
    {"proxied body", "PUT /" TO("proxy.test") "Content-Type: a/b\r\nContent-Length: 5\r\n\r\nhello",
     .status = 200, .lines = {"Content-Type: a/b", "Content-Length: 5"}, .content = "hello"},
    {"proxied chunks",
     "POST /" TO(
         "proxy.test") "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\n\r\n",
     .status = 200, .lines = {"Content-Type: application/octet-stream"}, .content = "hello!"},
    {"FastCGI, a file", "GET /app.js" TO("fcgi.test") "\r\n", .status = 200, .file = "app.js"},
    {"FastCGI, a directory", "GET /deep?a=b" TO("fcgi.test") "\r\n", .status = 308,
     .lines = {"Location: /deep/?a=b"}},
    {"FastCGI, a page of a directory", "GET /dir/" TO("fcgi.test") "\r\n", .status = 200,
     .content = "<p>dir</p>\n"},
    {"FastCGI, its script", "GET /deep/" TO("fcgi.test") "\r\n", .status = 502,
     .content = "502 Bad Gateway\n", .instead = INSTEAD_PLAIN_PAGE},
    {"FastCGI, a script and more", "GET /deep/x.txt/a%2Fb%25?c" TO("fcgi.test") "\r\n",
     .status = 502, .content = "502 Bad Gateway\n", .instead = INSTEAD_PLAIN_PAGE},
    {"FastCGI, no script", "GET /app.js/x.txt" TO("fcgi.test") "\r\n", .status = 404,
     .content = "404 Not Found\n", .instead = INSTEAD_PLAIN_PAGE},
    {"FastCGI, no index", "GET /empty/none" TO("fcgi.test") "\r\n", .status = 404,
     .content = "404 Not Found\n", .instead = INSTEAD_PLAIN_PAGE},
    {"FastCGI, hidden", "GET /.secret" TO("fcgi.test") "\r\n", .status = 404,
     .content = "404 Not Found\n", .instead = INSTEAD_PLAIN_PAGE},
    {"FastCGI, gathered",
     "POST /plain.txt" TO("fcgi.test") "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
     .status = 502, .content = "502 Bad Gateway\n", .instead = INSTEAD_PLAIN_PAGE},
    {"FastCGI, too much to gather",
     "POST /plain.txt" TO("fcgi.test") "Transfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n"
                                       "\r\n",
     .status = 413, .content = "413 Content Too Large\n", .instead = INSTEAD_PLAIN_PAGE},
    {"proxied to nobody", "GET /" TO("down.test") "\r\n", .status = 502,
     .content = "502 Bad Gateway\n", .instead = INSTEAD_PLAIN_PAGE},
    {"WebSocket of another version",
     "GET /" TO("echo.test") "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                             "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: "
                             "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
     .status = 426, .lines = {"Sec-WebSocket-Version: 13", "Upgrade: websocket"},
     .content = "this server speaks WebSocket 13\n"},
    {"WebSocket of another site",
     "GET /" TO(
         "echo.test") "Connection: Upgrade\r\nUpgrade: websocket\r\nOrigin: https://a.test\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                      "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
     .status = 403, .content = "403 Forbidden\n", .instead = INSTEAD_PLAIN_PAGE},
    {"file", GET("/plain.txt"), .status = 200,
     .lines = {"Content-Type: text/plain; charset=utf-8", "Content-Length: 11",
               "Accept-Ranges: bytes", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
               "Server: selenia", "X-Content-Type-Options: nosniff"},
     .content = "plain text\n"},
    {"file over TCP", GET("/plain.txt"), .status = 200, .content = "plain text\n", .is_tcp = true},
    {"empty file", GET("/none.txt"), .status = 200, .lines = {"Content-Length: 0"}},
    {"file of HTTP/1.0", "GET /plain.txt HTTP/1.0\r\nHost: a.test\r\n\r\n", .status = 200,
     .lines = {"Connection: close"}, .content = "plain text\n"},
    {"large file", GET("/huge.bin"), .status = 200,
     .lines = {"Content-Length: 300000", "Content-Type: application/octet-stream"},
     .file = "huge.bin"},
    {"HEAD", "HEAD /plain.txt" A "\r\n", .status = 200, .lines = {"Content-Length: 11"}},
    {"HEAD of a large file", "HEAD /huge.bin" A "\r\n", .status = 200,
     .lines = {"Content-Length: 300000"}},
    {"index", GET("/"), .status = 200, .lines = {"Content-Type: text/html; charset=utf-8"},
     .content = "<p>index</p>\n"},
    {"index of a directory", GET("/dir/"), .status = 200, .content = "<p>dir</p>\n"},
    {"slash", GET("/dir?a=b"), .status = 308, .lines = {"Location: /dir/?a=b"}},
    {"directory without index", GET("/empty/"), .status = 404, .content = "<p>my 404</p>\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"file as a directory", GET("/plain.txt/"), .status = 404, .content = "<p>my 404</p>\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"listing", "GET /list/" A BROWSER "\r\n", .status = 200,
     .lines = {"Content-Type: text/html; charset=utf-8"},
     .parts = {"<a href=\"./sub/\">sub/</a>", "<a href=\"./a.txt\">a.txt</a>",
               "<a href=\"./b%20%26%20c.txt\">b &amp; c.txt</a>", "</html>"}},
    {"listing as JSON where asked for", "GET /list/" A "Accept: application/json\r\n\r\n",
     .status = 200, .lines = {"Content-Type: application/json"},
     .parts = {"{\"name\":\"sub\",\"type\":\"directory\"",
               "\"a.txt\",\"type\":\"file\",\"size\":14", "\"b & c.txt\"", "\n]\n"}},
    {"listing as JSON", "GET /json/" A BROWSER "\r\n", .status = 200,
     .lines = {"Content-Type: application/json"},
     .parts = {"\"a\\\"b\"", "\"z\",\"type\":\"file\",\"size\":10,\"mtime\":1704067200}"}},
    {"missing", GET("/no"), .status = 404, .lines = {"Content-Type: text/html; charset=utf-8"},
     .content = "<p>my 404</p>\n", .instead = INSTEAD_PLAIN_PAGE},
    {"missing, the operator's page", "GET /no" TO("pages.test") "\r\n", .status = 404,
     .content = "<p>operator</p>\n", .instead = INSTEAD_PLAIN_PAGE},
    {"missing, the built-in page", "GET /no" TO("spa.test") "\r\n", .status = 404,
     .lines = {"Content-Type: text/plain; charset=utf-8"}, .content = "404 Not Found\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"missing, the problem in JSON",
     "GET /no" TO("spa.test") "Accept: application/json\r\nX-Request-ID: 7\r\n\r\n", .status = 404,
     .lines = {"Content-Type: application/problem+json", "X-Request-ID: 7"},
     .content = "{\"status\":404,\"title\":\"Not Found\",\"request_id\":\"7\"}\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"refused method, the page in HTML",
     "PUT /plain.txt" TO("open.test") BROWSER "Content-Length: 2\r\n\r\nab", .status = 405,
     .lines = {"Allow: GET, HEAD, OPTIONS"}, .parts = {"<p class=\"code\">405</p>", "</html>"},
     .instead = INSTEAD_PLAIN_PAGE},
    {"fallback of a navigation", "GET /some/page" TO("spa.test") BROWSER "\r\n", .status = 200,
     .lines = {"Content-Type: text/html; charset=utf-8"}, .content = "<p>index</p>\n"},
    {"no fallback for data", "GET /some/page" TO("spa.test") "Accept: */*\r\n\r\n", .status = 404,
     .content = "404 Not Found\n", .instead = INSTEAD_PLAIN_PAGE},
    {"range", "GET /digits.bin" A "Range: bytes=2-4\r\n\r\n", .status = 206,
     .lines = {"Content-Range: bytes 2-4/20", "Content-Length: 3"}, .content = "234"},
    {"range at the end", "GET /digits.bin" A "Range: bytes=-2\r\n\r\n", .status = 206,
     .lines = {"Content-Range: bytes 18-19/20"}, .content = "ij"},
    {"ranges", "GET /digits.bin" A "Range: bytes=0-1,10-11\r\n\r\n", .status = 206,
     .parts = {"\r\nContent-Range: bytes 0-1/20\r\n\r\n01\r\n",
               "\r\nContent-Range: bytes 10-11/20\r\n\r\nab\r\n", "--\r\n"}},
    {"range beyond", "GET /digits.bin" A "Range: bytes=20-\r\n\r\n", .status = 416,
     .lines = {"Content-Range: bytes */20"}},
    {"range of another version",
     "GET /digits.bin" A "Range: bytes=2-4\r\nIf-Range: \"other\"\r\n\r\n", .status = 200,
     .content = "0123456789abcdefghij"},
    {"range of HEAD", "HEAD /digits.bin" A "Range: bytes=2-4\r\n\r\n", .status = 200,
     .lines = {"Content-Length: 20"}},
    {"not modified", "GET /plain.txt" A "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT\r\n\r\n",
     .status = 304,
     .lines = {"!Content-Length: 11", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT"}},
    {"any tag", "GET /plain.txt" A "If-None-Match: *\r\n\r\n", .status = 304},
    {"condition failed", "GET /plain.txt" A "If-Match: \"other\"\r\n\r\n", .status = 412},
    {"precompressed", "GET /app.js" A "Accept-Encoding: gzip, br\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: br", "Vary: Accept-Encoding",
               "Content-Type: text/javascript; charset=utf-8"},
     .file = "app.js", .instead = INSTEAD_OTHER_FORM},
    {"range of the precompressed one",
     "GET /app.js" A "Accept-Encoding: br\r\nRange: bytes=0-0\r\n\r\n", .status = 206,
     .lines = {"Content-Length: 1"}, .parts = {""}, .instead = INSTEAD_OTHER_FORM},
    {"not the precompressed one", "GET /app.js" A "\r\n", .status = 200,
     .lines = {"!Content-Encoding: br", "Vary: Accept-Encoding", "Content-Length: 4000"},
     .file = "app.js"},
    {"gzip", "GET /code.css" CODED "Accept-Encoding: gzip\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: gzip", "Vary: Accept-Encoding", "!Accept-Ranges: bytes"},
     .file = "code.css", .instead = INSTEAD_OTHER_FORM},
    {"br", "GET /code.css" CODED "Accept-Encoding: br\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: br"}, .file = "code.css", .instead = INSTEAD_OTHER_FORM},
    {"zstd", "GET /code.css" CODED "Accept-Encoding: gzip, br, zstd\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: zstd", "Content-Type: text/css; charset=utf-8"},
     .file = "code.css", .instead = INSTEAD_OTHER_FORM},
    {"coded HEAD", "HEAD /code.css" CODED "Accept-Encoding: gzip\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: gzip"}, .instead = INSTEAD_OTHER_FORM},
    {"coded as it is sent", "GET /big.txt" CODED "Accept-Encoding: gzip\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: gzip", "Transfer-Encoding: chunked"}, .file = "big.txt"},
    {"HEAD of what is coded as it is sent", "HEAD /big.txt" CODED "Accept-Encoding: gzip\r\n\r\n",
     .status = 200, .lines = {"Content-Encoding: gzip"}},
    {"coded as it is sent, for HTTP/1.0",
     "GET /big.txt HTTP/1.0\r\nHost: coded.test\r\nAccept-Encoding: br\r\n\r\n", .status = 200,
     .lines = {"Content-Encoding: br", "Connection: close"}, .file = "big.txt", .is_tcp = true},
    {"too small to be coded", "GET /plain.txt" CODED "Accept-Encoding: gzip\r\n\r\n", .status = 200,
     .lines = {"!Content-Encoding: gzip"}, .content = "plain text\n"},
    {"range is of the stored bytes",
     "GET /code.css" CODED "Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n\r\n", .status = 206,
     .lines = {"!Content-Encoding: gzip"}, .content = "line"},
    {"compression off", "GET /code.css" TO("open.test") "Accept-Encoding: gzip\r\n\r\n",
     .status = 200,
     .lines = {"!Content-Encoding: gzip", "!Vary: Accept-Encoding", "Content-Type: text/css",
               "!X-Content-Type-Options: nosniff"},
     .file = "code.css"},
    {"dotfile", GET("/.secret"), .status = 404, .content = "<p>my 404</p>\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"dotfile that is allowed", "GET /.secret" TO("open.test") "\r\n", .status = 200,
     .content = "secret\n"},
    {"link inside", GET("/link-in"), .status = 200, .content = "plain text\n"},
    {"link to the outside", GET("/link-out"), .status = 404, .content = "<p>my 404</p>\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"link to the outside that is allowed", "GET /link-out" TO("open.test") "\r\n", .status = 200,
     .content = "outside\n"},
    {"link where none is allowed", GET("/deep/link"), .status = 404, .content = "<p>my 404</p>\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"fields of a route", GET("/deep/x.txt"), .status = 200,
     .lines = {"X-One: 1", "!Server: selenia", "Referrer-Policy: origin",
               "!Referrer-Policy: no-referrer", "Cross-Origin-Opener-Policy: same-origin"},
     .content = "www/deep/x.txt"},
    {"respond", GET("/respond"), .status = 201, .lines = {"Content-Type: text/x-made"},
     .content = "made\n"},
    {"respond without content", GET("/nothing"), .status = 204},
    {"redirect", GET("/to/x%20y?q=1"), .status = 308,
     .lines = {"Location: https://other.test/base/to/x%20y?q=1"}},
    {"redirect to one place", GET("/here?q=1"), .status = 302, .lines = {"Location: /there"}},
    {"route by method", "POST /method" A "Content-Length: 3\r\n\r\nabc", .status = 200,
     .content = "post"},
    {"route by another method", GET("/method"), .status = 200, .content = "other"},
    {"route by field", "GET /header" A "X-Version: 2\r\n\r\n", .status = 200, .content = "two"},
    {"route by absent field", GET("/header"), .status = 200, .content = "no cookie"},
    {"route by neither field", "GET /header" A "Cookie: a=b\r\n\r\n", .status = 200,
     .content = "plain"},
    {"route by query", GET("/query?a=b&v=2"), .status = 200, .content = "two"},
    {"route by other query", GET("/query?v=22"), .status = 200, .content = "plain"},
    {"route by address", GET("/ip"), .status = 200, .content = "near", .is_tcp = true},
    {"route by no address", GET("/ip"), .status = 200, .content = "far"},
    {"route by expression", GET("/re/12"), .status = 200, .content = "number"},
    {"route by no expression", GET("/re/12x"), .status = 200, .content = "no number"},
    {"rewrite", "GET /old/plain.txt" TO("rewrite.test") "\r\n", .status = 200,
     .content = "plain text\n"},
    {"rewrite, redirect", "GET /moved/x%20y?c=d" TO("rewrite.test") "\r\n", .status = 301,
     .lines = {"Location: https://other.test/x%20y?a=b&c=d"}},
    {"rewrite, forbidden", "GET /forbidden" TO("rewrite.test") "\r\n", .status = 403,
     .content = "403 Forbidden\n", .instead = INSTEAD_PLAIN_PAGE},
    {"rewrite, gone", "GET /gone" TO("rewrite.test") "\r\n", .status = 410, .content = "410 Gone\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"rewrite, last", "GET /last?swap=1" TO("rewrite.test") "X-Swap: y\r\n\r\n", .status = 200,
     .content = "plain text\n"},
    {"rewrite by query and field", "GET /plain.txt?swap=1" TO("rewrite.test") "X-Swap: y\r\n\r\n",
     .status = 200, .content = "<p>index</p>\n"},
    {"rewrite of what does not exist", "GET /only/x" TO("rewrite.test") "\r\n", .status = 200,
     .content = "0123456789abcdefghij"},
    {"no rewrite of what exists", "GET /list/a.txt" TO("rewrite.test") "\r\n", .status = 200,
     .content = "www/list/a.txt"},
    {"rewrite without end", "GET /loop" TO("rewrite.test") "\r\n", .status = 500,
     .instead = INSTEAD_PLAIN_PAGE},
    {"TRACE", "TRACE /" A "\r\n", .status = 405, .lines = {"Allow: GET, HEAD, OPTIONS"},
     .content = "405 Method Not Allowed\n", .instead = INSTEAD_PLAIN_PAGE},
    {"OPTIONS", "OPTIONS /plain.txt" A "\r\n", .status = 204,
     .lines = {"Allow: GET, HEAD, OPTIONS"}},
    {"OPTIONS of the server", "OPTIONS *" A "\r\n", .status = 204,
     .lines = {"Allow: GET, HEAD, OPTIONS"}},
    {"DELETE", "DELETE /plain.txt" A "\r\n", .status = 405, .lines = {"Allow: GET, HEAD, OPTIONS"},
     .content = "405 Method Not Allowed\n", .instead = INSTEAD_PLAIN_PAGE},
    {"path above the root", GET("/../outside.txt"), .status = 400, .instead = INSTEAD_PLAIN_PAGE,
     .content = "400 Bad Request\n"},
    {"bad escape", GET("/%zz"), .status = 400, .instead = INSTEAD_PLAIN_PAGE},
    {"encoded slash", GET("/dir%2findex.html"), .status = 404, .content = "<p>my 404</p>\n",
     .instead = INSTEAD_PLAIN_PAGE},
    {"encoded name", GET("/%70lain.txt"), .status = 200, .content = "plain text\n"},
    {"unknown host", "GET /" TO("nobody.test") "\r\n", .status = 421,
     .content = "421 Misdirected Request\n", .instead = INSTEAD_PLAIN_PAGE},
    {"no host", "GET / HTTP/1.1\r\n\r\n", .status = 400},
    {"live", GET("/livez"), .status = 200, .content = "ok\n"},
    {"ready", GET("/readyz"), .status = 200, .content = "ok\n"},
};

static struct site *site;
static unsigned fault_count;

static int begin(void **state)
{
    rig_files_make();
    site = rig_site();
    return 0;
}

static int end(void **state)
{
    site_unref(site);
    rig_files_done();
    return 0;
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d)) {
        count++;
    }
    closedir(d);
    return count;
}

/* Says what is wrong and goes on: one run shows all that a change broke. */
static void refuse(const struct scenario *s, const struct answer *a, unsigned long fail_at,
                   const char *why)
{
    int n = a->content.n < 500 ? (int)a->content.n : 500;
    fault_count++;
    print_error("%s, allocation %lu: %s\n%s%.*s\n", s->name, fail_at, why,
                a->head.p ? a->head.p : "", n, a->content.p);
}

/* NULL, or what is wrong with the head. */
static const char *head_fault(const struct scenario *s, const struct answer *a)
{
    for (unsigned i = 0; i < LINES_MAX && s->lines[i]; i++) {
        const char *line = s->lines[i];
        bool is_unwanted = line[0] == '!';
        if (answer_has(a, line + is_unwanted) == is_unwanted) {
            return line;
        }
    }
    return NULL;
}

static const char *content_fault(const struct scenario *s, const struct answer *a)
{
    if (s->file) {
        struct buf bytes;
        rig_file_read(s->file, &bytes);
        bool is_same = str_eq(buf_str(&bytes), buf_str(&a->content));
        buf_done(&bytes);
        return is_same ? NULL : "not the bytes of the file";
    }
    const char *at = a->content.p, *last = at + a->content.n;
    for (unsigned i = 0; i < LINES_MAX && s->parts[i]; i++) {
        at = memmem(at, (size_t)(last - at), s->parts[i], strlen(s->parts[i]));
        if (!at) {
            return s->parts[i];
        }
        at += strlen(s->parts[i]);
    }
    if (!s->parts[0] && (s->content || s->status < 400)) {
        struct str want = str_of(s->content ? s->content : "");
        return str_eq(want, buf_str(&a->content)) ? NULL : "not this content";
    }
    return NULL;
}

static void assert_right(const struct scenario *s, const struct answer *a, unsigned long fail_at)
{
    if (!a->is_whole || a->status != s->status) {
        refuse(s, a, fail_at, a->is_whole ? "another status" : "not whole");
        return;
    }
    const char *fault = head_fault(s, a);
    fault = fault ? fault : content_fault(s, a);
    if (fault) {
        refuse(s, a, fail_at, fault);
    }
}

static void test_answers(void **state)
{
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        struct rig rig;
        rig_start(&rig, site);
        /* The second time everything comes from memory, the third time it is looked at again. */
        for (unsigned round = 0; round < 3; round++) {
            struct answer answer;
            rig_ask(&rig, scenarios[i].is_tcp, scenarios[i].request, 0, &answer);
            assert_right(&scenarios[i], &answer, 0);
            answer_done(&answer);
            rig_advance(&rig, round * 1500);
        }
        rig_stop(&rig);
    }
    assert_int_equal(fault_count, 0);
}

/* What must hold although an allocation failed. */
static void assert_allowed(const struct scenario *s, const struct answer *a,
                           const struct answer *reference, unsigned long fail_at)
{
    if (!a->is_whole || (a->status >= 500 && a->status != s->status)) {
        return; /* an answer that is not whole ended with its connection: rig_ask saw to it */
    }
    if (s->instead == INSTEAD_PLAIN_PAGE && a->status == s->status) {
        return;
    }
    bool is_part = a->status == 206 && s->instead == INSTEAD_OTHER_FORM; /* of the other form */
    if (a->status != s->status || a->content.n != reference->content.n ||
        (!is_part && !str_eq(buf_str(&a->content), buf_str(&reference->content)))) {
        refuse(s, a, fail_at, "neither right nor an error");
        return;
    }
    const char *fault = s->instead == INSTEAD_OTHER_FORM ? NULL : head_fault(s, a);
    if (fault) {
        refuse(s, a, fail_at, fault);
    }
}

/* Fails each allocation of the request in turn, with nothing in memory yet or with all of it. */
static unsigned long sweep(const struct scenario *s, bool is_warm)
{
    struct answer reference = {0};
    unsigned long count = 0;
    unsigned descriptors = open_descriptors();
    for (unsigned long n = 0; n <= count; n++) {
        struct rig rig;
        struct answer answer, again;
        rig_start(&rig, site);
        if (is_warm) {
            rig_ask(&rig, s->is_tcp, s->request, 0, &answer);
            answer_done(&answer);
            rig_advance(&rig, 1500);
        }
        unsigned long made = rig_ask(&rig, s->is_tcp, s->request, n, &answer);
        if (n == 0) {
            count = made;
            reference = answer;
        } else {
            assert_allowed(s, &answer, &reference, n);
            answer_done(&answer);
        }
        /* What went wrong once leaves no trace. */
        rig_ask(&rig, s->is_tcp, s->request, 0, &again);
        assert_right(s, &again, n);
        answer_done(&again);
        rig_stop(&rig);
    }
    answer_done(&reference);
    assert_int_equal(open_descriptors(), descriptors);
    return count;
}

static void test_memory_runs_out(void **state)
{
    unsigned long count = 0;
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        count += sweep(&scenarios[i], false);
    }
    assert_true(count > 400);
    assert_int_equal(fault_count, 0);
}

static void test_memory_runs_out_later(void **state)
{
    unsigned long count = 0;
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        count += sweep(&scenarios[i], true);
    }
    assert_true(count > 200);
    assert_int_equal(fault_count, 0);
}

/* A tag that the server gave is one that it knows again. */
static void test_tags(void **state)
{
    static const char *const heads[] = {"GET /app.js" A, "GET /app.js" A "Accept-Encoding: br\r\n",
                                        "GET /code.css" CODED "Accept-Encoding: zstd\r\n"};
    struct rig rig;
    rig_start(&rig, site);
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        struct answer answer;
        char request[512];
        snprintf(request, sizeof(request), "%s\r\n", heads[i]);
        rig_ask(&rig, false, request, 0, &answer);
        const char *tag = strstr(answer.head.p, "\r\nETag: ");
        assert_non_null(tag);
        int n = (int)strcspn(tag + 8, "\r");
        snprintf(request, sizeof(request), "%sIf-None-Match: \"x\", %.*s\r\n\r\n", heads[i], n,
                 tag + 8);
        answer_done(&answer);
        rig_ask(&rig, false, request, 0, &answer);
        assert_int_equal(answer.status, 304);
        answer_done(&answer);
    }
    rig_stop(&rig);
}

/* A precompressed file under its own name and in place of the other one, in any order. */
static void test_sibling_by_its_own_name(void **state)
{
    static const struct {
        const char *request;
        const char *lines[2];
    } asked[] = {
        {GET("/app.js.br"), {"!Content-Encoding: br", "Content-Type: application/octet-stream"}},
        {"GET /app.js" A "Accept-Encoding: br\r\n\r\n",
         {"Content-Encoding: br", "Content-Type: text/javascript; charset=utf-8"}},
    };
    for (unsigned first = 0; first < 2; first++) {
        struct rig rig;
        rig_start(&rig, site);
        for (unsigned i = 0; i < 4; i++) {
            struct answer answer;
            unsigned at = (first + i) % 2;
            rig_ask(&rig, false, asked[at].request, 0, &answer);
            assert_int_equal(answer.status, 200);
            for (unsigned k = 0; k < 2; k++) {
                bool is_unwanted = asked[at].lines[k][0] == '!';
                assert_true(answer_has(&answer, asked[at].lines[k] + is_unwanted) != is_unwanted);
            }
            answer_done(&answer);
        }
        rig_stop(&rig);
    }
}

/* A precompressed file goes in the second between two looks: the file itself is still there. */
static void test_sibling_vanishes(void **state)
{
    static const char request[] = "GET /app.js" A "Accept-Encoding: br\r\n\r\n";
    struct rig rig;
    struct answer answer;
    rig_start(&rig, site);
    rig_ask(&rig, false, GET("/app.js.br"), 0, &answer);
    assert_int_equal(answer.status, 200);
    answer_done(&answer);
    rig_advance(&rig, 900);
    rig_ask(&rig, false, request, 0, &answer);
    assert_true(answer_has(&answer, "Content-Encoding: br"));
    answer_done(&answer);
    rig_advance(&rig, 200);
    rig_file_hide("app.js.br");
    rig_ask(&rig, false, request, 0, &answer);
    rig_file_show("app.js.br");
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.content.n, RIG_SCRIPT_BYTES);
    answer_done(&answer);
    rig_stop(&rig);
}

/* Takes what has come; true when there was something. */
static bool take(int fd, struct buf *got)
{
    char block[65536];
    ssize_t n = recv(fd, block, sizeof(block), MSG_DONTWAIT);
    buf_add(got, block, n > 0 ? (size_t)n : 0);
    return n > 0;
}

/* The site changes while an answer is under way: it goes on as it began, whether the client takes
 * it or breaks off, and the old site ends with it. */
static void test_site_changes(void **state)
{
    static const char request[] = GET("/huge.bin");
    for (unsigned is_broken_off = 0; is_broken_off < 2; is_broken_off++) {
        struct rig rig;
        struct site *old = rig_site(), *new = rig_site();
        struct buf got, bytes;
        int fd;
        rig_start(&rig, old);
        buf_init(&got, 0);
        assert_int_equal(socket_connect(&rig.local, &fd), ERR_OK);
        assert_int_equal(send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
        rig_advance(&rig, 1);
        assert_true(take(fd, &got));
        assert_int_equal(pipeline_set_site(&rig.pipeline, new), ERR_OK);
        rig_advance(&rig, 1);
        assert_int_equal(atomic_load(&old->ref_count), 2); /* ours, and the answer's */
        while (!is_broken_off && take(fd, &got)) {
            rig_advance(&rig, 1);
        }
        close(fd);
        rig_advance(&rig, 1);
        assert_int_equal(atomic_load(&old->ref_count), 1);
        rig_file_read("huge.bin", &bytes);
        assert_true(is_broken_off || str_ends_with(buf_str(&got), buf_str(&bytes)));
        buf_done(&bytes);
        buf_done(&got);
        rig_stop(&rig);
        site_unref(old);
        site_unref(new);
    }
}

/* The requests that expressions decide about. */
static void assert_expressions_right(struct site *made, unsigned long fail_at)
{
    struct rig rig;
    rig_start(&rig, made);
    for (size_t i = 0; i < COUNT_OF(scenarios); i++) {
        const struct scenario *s = &scenarios[i];
        if (strstr(s->request, "rewrite.test") || strstr(s->request, "/re/")) {
            struct answer answer;
            rig_ask(&rig, s->is_tcp, s->request, 0, &answer);
            assert_right(s, &answer, fail_at);
            answer_done(&answer);
        }
    }
    rig_stop(&rig);
}

static void test_site_without_memory(void **state)
{
    unsigned descriptors = open_descriptors();
    unsigned long count = 0, failures = 0;
    for (unsigned long n = 0; n <= count; n++) {
        struct diag_list diags;
        struct site *made = NULL;
        struct settings *settings = rig_settings();
        diag_list_init(&diags);
        (void)mem_test_fail_at(n);
        enum err e = site_create(settings, NULL, &made, &diags);
        unsigned long asked = mem_test_fail_at(0);
        if (n == 0) {
            count = asked;
        }
        if (e && e != ERR_NOMEM) {
            fail_msg("allocation %lu: %s", n, err_text(e));
        }
        failures += e == ERR_NOMEM;
        if (e) {
            settings_destroy(settings);
        } else {
            /* PCRE2 goes on without JIT where only that could not be had. */
            assert_expressions_right(made, n);
            site_unref(made);
        }
        assert_int_equal(diags.count, 0);
        diag_list_done(&diags);
    }
    assert_true(count > 30);
    assert_int_equal(fault_count, 0);
    assert_true(failures > 30);
    assert_int_equal(open_descriptors(), descriptors);
}

static void test_pipeline_without_memory(void **state)
{
    struct loop *loop;
    unsigned long count = 0;
    assert_int_equal(loop_create(POLLER_KIND_SIM, &loop), ERR_OK);
    for (unsigned long n = 0; n <= count; n++) {
        struct pipeline p = {0};
        (void)mem_test_fail_at(n);
        enum err e = pipeline_init(&p, loop, site);
        unsigned long made = mem_test_fail_at(0);
        count = n == 0 ? made : count;
        assert_int_equal(e, n ? ERR_NOMEM : ERR_OK);
        if (!e) {
            struct site_use *before = p.use;
            (void)mem_test_fail_at(1);
            e = pipeline_set_site(&p, site);
            assert_true(e ? p.use == before : p.use->site == site);
            (void)mem_test_fail_at(0);
            pipeline_done(&p);
        }
    }
    assert_true(count >= 5);
    loop_destroy(loop);
}

static int no_fault(void **state)
{
    fault_count = 0;
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, no_fault)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_answers),
        TEST(test_tags),
        TEST(test_sibling_by_its_own_name),
        TEST(test_sibling_vanishes),
        TEST(test_site_changes),
        TEST(test_site_without_memory),
        TEST(test_pipeline_without_memory),
        TEST(test_memory_runs_out),
        TEST(test_memory_runs_out_later),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
