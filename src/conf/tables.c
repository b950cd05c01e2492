/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of what this version serves. Order here is order in every print. */
#include <assert.h>

#include "conf/tables_int.h"

static_assert(sizeof(enum poller_choice) == sizeof(int), "enum fields are written as int");

static const char *const LISTINGS[] = {"off", "html", "json", NULL};
static const char *const SYMLINKS[] = {"off", "inside", "all", NULL};
static const char *const SECURITIES[] = {"off", "basic", "strict", NULL};
static const char *const CODING_NAMES[] = {"zstd", "br", "gzip", NULL};
static const char *const CODING_FILES[] = {"zst", "br", "gz", NULL};
static const char *const LOG_FORMATS[] = {"json", "common", "combined", "logfmt", NULL};
static const char *const LOG_LEVELS[] = {"debug", "info", "warn", "error", NULL};
static const char *const REWRITE_FLAGS[] = {"L", "R", "F", "G", NULL};
static const char *const REWRITE_FLAGS_LATER[] = {"P", NULL};

static const char *const ROOT_LATER[] = {"auth",   "cache",   "tracing", "secrets",
                                         "notify", "plugins", "cluster", NULL};
static const char *const METRICS_LATER[] = {"labels", NULL};
static const char *const ROUTE_LATER[] = {"process", "proxy",       "static",  "cors",
                                          "errors",  "cache",       "limits",  "auth",
                                          "waf",     "concurrency", "plugins", NULL};

static const char *check_redirect_status(struct str text, size_t *ret_at)
{
    static const char *const known[] = {"301", "302", "303", "307", "308"};
    *ret_at = 0;
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (str_eq(text, str_of(known[i]))) {
            return NULL;
        }
    }
    return "a redirect has the status 301, 302, 303, 307 or 308";
}

static const struct conf_key REDIRECT_KEYS[] = {
    {.name = "to",
     .type = CONF_STRING,
     AT(redirect_settings, to),
     .flags = CONF_REQUIRED,
     .check = value_check_target,
     .example = "https://example.com",
     .doc = "Where to: a URL, or a path on the same host."},
    {.name = "status",
     .type = CONF_STATUS,
     AT(redirect_settings, status),
     .default_text = "308",
     .check = check_redirect_status,
     .example = "302",
     .doc = "301, 302, 303, 307 or 308."},
    {.name = "keep_path",
     .type = CONF_BOOL,
     AT(redirect_settings, keep_path),
     .default_text = "true",
     .example = "false",
     .doc = "Append the path and query of the request."},
};
static const struct conf_table REDIRECT_TABLE = {.name = "redirect",
                                                 KEYS(REDIRECT_KEYS),
                                                 .struct_bytes = sizeof(struct redirect_settings),
                                                 .short_key = "to",
                                                 .has_switch = true,
                                                 .on_offset =
                                                     offsetof(struct redirect_settings, is_on)};

static const struct conf_key RESPOND_KEYS[] = {
    {.name = "status",
     .type = CONF_STATUS,
     AT(respond_settings, status),
     .default_text = "200",
     .min = 200,
     .max = 599,
     .example = "410",
     .doc = "The status of the answer."},
    {.name = "body",
     .type = CONF_STRING,
     AT(respond_settings, body),
     .default_text = "",
     .example = "\"gone\\n\"",
     .doc = "The body of the answer."},
    {.name = "type",
     .type = CONF_STRING,
     AT(respond_settings, type),
     .default_text = "text/plain; charset=utf-8",
     .check = value_check_media_type,
     .example = "application/json",
     .doc = "The Content-Type of the answer."},
};
static const struct conf_table RESPOND_TABLE = {.name = "respond",
                                                KEYS(RESPOND_KEYS),
                                                .struct_bytes = sizeof(struct respond_settings),
                                                .short_key = "status",
                                                .has_switch = true,
                                                .on_offset =
                                                    offsetof(struct respond_settings, is_on)};

static const char *check_origin(struct str text, size_t *ret_at)
{
    struct str rest = text;
    *ret_at = 0;
    if (str_starts_with(text, STR("https://"))) {
        rest = str_sub(text, 8, text.n);
    } else if (str_starts_with(text, STR("http://"))) {
        rest = str_sub(text, 7, text.n);
    }
    if (rest.n == 0 || rest.n == text.n || str_index(rest, '/') >= 0 || str_index(rest, '*') >= 0) {
        return "an origin is https:// or http://, a host and maybe a port";
    }
    return NULL;
}

static const struct conf_key WEBSOCKET_KEYS[] = {
    {.name = "origins",
     .type = CONF_STRING_LIST,
     AT(websocket_settings, origins),
     .check = check_origin,
     .default_text = "[]",
     .example = "[\"https://app.example.org\"]",
     .doc = "Sites whose pages may open WebSockets here; those of the host itself always may."},
};
static const struct conf_table WEBSOCKET_TABLE = {
    .name = "websocket", KEYS(WEBSOCKET_KEYS), .struct_bytes = sizeof(struct websocket_settings)};

static const struct conf_key MATCH_KEYS[] = {
    {.name = "header",
     .type = CONF_STRING_MAP,
     AT(match_settings, header),
     .check_key = value_check_token,
     .example = "{X-Preview: \"*\", Cookie: null}",
     .doc = "Request fields: equal to the text, present for \"*\", absent for null."},
    {.name = "query",
     .type = CONF_STRING_MAP,
     AT(match_settings, query),
     .example = "{version: \"2\"}",
     .doc = "Query parameters: equal to the text, present for \"*\", absent for null."},
    {.name = "ip",
     .type = CONF_CIDR_LIST,
     AT(match_settings, ip),
     .default_text = "[]",
     .example = "[192.0.2.0/24]",
     .doc = "Networks of the client."},
    {.name = "regex",
     .type = CONF_REGEX,
     AT(match_settings, regex),
     .example = "\"^/[a-z]+/[0-9]+$\"",
     .doc = "A regular expression that the path matches."},
};
static const struct conf_table MATCH_TABLE = {
    .name = "match", KEYS(MATCH_KEYS), .struct_bytes = sizeof(struct match_settings)};

static const struct conf_key REWRITE_KEYS[] = {
    {.name = "from",
     .type = CONF_REGEX,
     AT(rewrite_settings, from),
     .flags = CONF_REQUIRED,
     .example = "\"^/old/(.*)$\"",
     .doc = "A regular expression that the path matches."},
    {.name = "to",
     .type = CONF_STRING,
     AT(rewrite_settings, to),
     .check = value_check_not_empty,
     .example = "/new/$1",
     .doc = "The new path, or a URL for R; $1 to $9 are the groups."},
    {.name = "if",
     .type = CONF_STRING,
     AT(rewrite_settings, condition),
     .example = "\"!file && method GET\"",
     .doc = "Conditions joined by &&, each may begin with !: file, dir, exists, method NAME, "
            "host REGEX, header NAME [REGEX], query NAME [REGEX]."},
    {.name = "flags",
     .type = CONF_ENUM_LIST,
     AT(rewrite_settings, flags),
     .default_text = "[]",
     .names = REWRITE_FLAGS,
     .later_names = REWRITE_FLAGS_LATER,
     .example = "[R, L]",
     .doc = "L ends the rewrites, R redirects, F answers 403, G answers 410."},
    {.name = "status",
     .type = CONF_STATUS,
     AT(rewrite_settings, status),
     .default_text = "302",
     .check = check_redirect_status,
     .example = "301",
     .doc = "The status of a redirect by R."},
};
static const struct conf_table REWRITE_TABLE = {
    .name = "a rewrite", KEYS(REWRITE_KEYS), .struct_bytes = sizeof(struct rewrite_settings)};

/* What frames a message or concerns one connection is made for each connection anew. */
static const char *check_request_field(struct str name, size_t *ret_at)
{
    static const char *const own[] = {
        "connection", "content-length",    "host",   "keep-alive", "te",
        "trailer",    "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < COUNT_OF(own); i++) {
        if (str_eq_ci(name, str_of(own[i]))) {
            *ret_at = 0;
            return "this field belongs to the connection; for Host there is backend.host";
        }
    }
    return value_check_token(name, ret_at);
}

static const struct conf_key HEADERS_KEYS[] = {
    {.name = "request",
     .type = CONF_STRING_MAP,
     AT(headers_settings, request),
     .check_key = check_request_field,
     .check = value_check_field_value,
     .example = "{X-Tenant: blue, Cookie: null}",
     .doc = "Fields to set on the request that goes to the backend; null removes one."},
    {.name = "response",
     .type = CONF_STRING_MAP,
     AT(headers_settings, response),
     .check_key = value_check_token,
     .check = value_check_field_value,
     .example = "{Cache-Control: max-age=600, Server: null}",
     .doc = "Fields to set on the answer; null removes one."},
};
static const struct conf_table HEADERS_TABLE = {
    .name = "headers", KEYS(HEADERS_KEYS), .struct_bytes = sizeof(struct headers_settings)};

static const struct conf_key COMPRESS_KEYS[] = {
    {.name = "codings",
     .type = CONF_ENUM_LIST,
     AT(compress_settings, codings),
     .names = CODING_NAMES,
     .default_text = "[zstd, br, gzip]",
     .example = "[br, gzip]",
     .doc = "Content codings, the preferred one first."},
    {.name = "types",
     .type = CONF_STRING_LIST,
     AT(compress_settings, types),
     .check = value_check_media_range,
     .default_text = "[text/*, application/javascript, application/json, application/ld+json, "
                     "application/manifest+json, application/xml, application/rss+xml, "
                     "application/atom+xml, application/xhtml+xml, application/wasm, "
                     "image/svg+xml, image/x-icon, font/ttf, font/otf]",
     .example = "[\"text/*\", application/json]",
     .doc = "Media types worth compressing."},
    {.name = "min",
     .type = CONF_SIZE,
     AT(compress_settings, min_bytes),
     .unit = "bytes",
     .default_text = "512B",
     .example = "1KB",
     .doc = "Smaller answers are sent as they are."},
    {.name = "level",
     .type = CONF_INT,
     AT(compress_settings, level),
     .default_text = "auto",
     .min = 1,
     .max = 11,
     .flags = CONF_AUTO_OK,
     .example = "6",
     .doc = "1 (quick) to 11 (small); auto goes down when the CPU is busy."},
};
static const struct conf_table COMPRESS_TABLE = {.name = "compress",
                                                 KEYS(COMPRESS_KEYS),
                                                 .struct_bytes = sizeof(struct compress_settings),
                                                 .short_key = "codings",
                                                 .has_switch = true,
                                                 .is_on_default = true,
                                                 .on_offset =
                                                     offsetof(struct compress_settings, is_on)};

static const struct conf_key ROUTE_LOG_KEYS[] = {
    {.name = "format",
     .type = CONF_ENUM,
     AT(route_log_settings, format),
     .names = LOG_FORMATS,
     .default_text = "json",
     .example = "combined",
     .doc = "The form of an access line; log.format at the top where nothing is said."},
    {.name = "sample",
     .type = CONF_SHARE,
     AT(route_log_settings, sample_ppm),
     .default_text = "100%",
     .example = "10%",
     .doc = "The share of requests that is written."},
    {.name = "redact",
     .type = CONF_STRING_LIST,
     AT(route_log_settings, redact),
     .check = value_check_token,
     .default_text = "[access_token, api_key, password, secret, token]",
     .example = "[token, session]",
     .doc = "Query parameters whose values are never written."},
};
static const struct conf_table ROUTE_LOG_TABLE = {.name = "log",
                                                  KEYS(ROUTE_LOG_KEYS),
                                                  .struct_bytes = sizeof(struct route_log_settings),
                                                  .has_switch = true,
                                                  .is_on_default = true,
                                                  .on_offset =
                                                      offsetof(struct route_log_settings, is_on)};

#define SHARED_BACKENDS                                                                            \
    "backends:\n"                                                                                  \
    "  stable: http://127.0.0.1:3000\n"                                                            \
    "  canary: http://127.0.0.1:3001\n"                                                            \
    "  app: http://127.0.0.1:3002"

static const struct conf_key ROUTE_KEYS[] = {
    {.name = "root",
     .type = CONF_PATH,
     AT(route_keys, root),
     .flags = CONF_HANDLER | CONF_SHARES,
     .example = "/srv/www",
     .doc =
         "The directory whose files are served; beside a backend of FastCGI, that of its scripts "
         "too."},
    {.name = "index",
     .type = CONF_STRING_LIST,
     AT(route_keys, index),
     .check = value_check_file_name,
     .default_text = "[index.html]",
     .example = "[index.html, index.htm]",
     .doc = "Files that stand for their directory, the first that exists."},
    {.name = "fallback",
     .type = CONF_STRING,
     AT(route_keys, fallback),
     .check = value_check_url_path,
     .example = "/index.html",
     .doc = "The page for navigations (Accept: text/html) that match no file."},
    {.name = "listing",
     .type = CONF_ENUM,
     AT(route_keys, listing),
     .names = LISTINGS,
     .default_text = "off",
     .example = "html",
     .doc = "How a directory without an index is shown; html gives JSON to those who accept it."},
    {.name = "dotfiles",
     .type = CONF_BOOL,
     AT(route_keys, dotfiles),
     .default_text = "false",
     .example = "true",
     .doc = "Serve names that begin with a dot; .well-known always is."},
    {.name = "symlinks",
     .type = CONF_ENUM,
     AT(route_keys, symlinks),
     .names = SYMLINKS,
     .default_text = "inside",
     .example = "all",
     .doc = "Which symbolic links are followed; inside: those that stay below the root."},
    {.name = "precompressed",
     .type = CONF_ENUM_LIST,
     AT(route_keys, precompressed),
     .names = CODING_FILES,
     .default_text = "[zst, br, gz]",
     .flags = CONF_OFF_OK,
     .example = "[br, gz]",
     .doc = "Compressed siblings (app.js.br) that are sent to those who accept them."},
    {.name = "redirect",
     .type = CONF_OBJECT,
     AT(route_keys, redirect),
     .child = &REDIRECT_TABLE,
     .flags = CONF_HANDLER | CONF_TAKES_OVER,
     .example = "https://example.com",
     .doc = "Send the client elsewhere."},
    {.name = "respond",
     .type = CONF_OBJECT,
     AT(route_keys, respond),
     .child = &RESPOND_TABLE,
     .flags = CONF_HANDLER | CONF_TAKES_OVER,
     .example = "{status: 200, body: \"ok\\n\"}",
     .doc = "Give a fixed answer."},
    {.name = "backend",
     .type = CONF_OBJECT,
     AT(route_keys, backend),
     .child = &conf_table_backend,
     .flags = CONF_HANDLER | CONF_TAKES_OVER | CONF_SHARES,
     .example = "http://127.0.0.1:3000",
     .doc = "The program that answers, by its address or its name in backends, or off; echo is "
            "built in and gives back what it gets, requests, WebSocket messages and UDP payloads "
            "alike, for tests."},
    {.name = "split",
     .type = CONF_OBJECT_MAP,
     AT(route_keys, split),
     .child = &conf_table_share,
     .check_key = value_check_backend_name,
     .flags = CONF_HANDLER | CONF_TAKES_OVER,
     .example = "{stable: 95, canary: 5}",
     .at_top = SHARED_BACKENDS,
     .doc = "Several backends share the requests, each by its name in backends and its weight."},
    {.name = "split_by",
     .type = CONF_STRING,
     AT(route_keys, split_by),
     .check = conf_check_split_by,
     .default_text = "request",
     .example = "cookie:session",
     .doc = "What stays together in a split: request is each for itself; ip, path, header:NAME or "
            "cookie:NAME go to the same backend as before, and a request without the field or "
            "cookie by its address."},
    {.name = "mirror",
     .type = CONF_OBJECT,
     AT(route_keys, mirror),
     .child = &conf_table_mirror,
     .example = "{to: canary, share: 10%}",
     .beside = "backend: http://127.0.0.1:3000",
     .at_top = SHARED_BACKENDS,
     .doc = "Another backend gets copies of what goes to backend or split; its answers are thrown "
            "away, and nobody waits for them."},
    {.name = "websocket",
     .type = CONF_OBJECT,
     AT(route_keys, websocket),
     .child = &WEBSOCKET_TABLE,
     .doc = "WebSockets."},
    {.name = "rewrites",
     .type = CONF_OBJECT_LIST,
     AT(route_keys, rewrites),
     .child = &REWRITE_TABLE,
     .example = "[{from: \"^/blog/(.*)$\", to: /news/$1}]",
     .doc = "Changes of the path, in this order, before a route is picked."},
    {.name = "headers",
     .type = CONF_OBJECT,
     AT(route_keys, headers),
     .child = &HEADERS_TABLE,
     .doc = "Fields to set and remove."},
    {.name = "security",
     .type = CONF_ENUM,
     AT(route_keys, security),
     .names = SECURITIES,
     .default_text = "basic",
     .example = "strict",
     .doc = "Protective answer fields; strict adds a content security policy."},
    {.name = "error_pages",
     .type = CONF_STATUS_MAP,
     AT(route_keys, error_pages),
     .check = value_check_not_empty,
     .example = "{404: /srv/errors/404.html, 5xx: /srv/errors/5xx.html}",
     .doc = "Files for error statuses; relative names are looked for below the root, {lang} is "
            "the language."},
    {.name = "compress",
     .type = CONF_OBJECT,
     AT(route_keys, compress),
     .child = &COMPRESS_TABLE,
     .example = "[br, gzip]",
     .doc = "Compression of answers, or off."},
    {.name = "charset",
     .type = CONF_STRING,
     AT(route_keys, charset),
     .default_text = "utf-8",
     .example = "iso-8859-1",
     .doc = "The charset said of text files; empty says none."},
    {.name = "log",
     .type = CONF_OBJECT,
     AT(route_keys, log),
     .child = &ROUTE_LOG_TABLE,
     .example = "off",
     .doc = "The access log of these requests, or off."},
};
static const struct conf_table ROUTE_KEYS_TABLE = {.name = "a route",
                                                   KEYS(ROUTE_KEYS),
                                                   .struct_bytes = sizeof(struct route_keys),
                                                   .later_keys = ROUTE_LATER};

static const struct conf_key ROUTE_ITEM_KEYS[] = {
    {.name = "path",
     .type = CONF_PATTERN,
     AT(route_settings, path),
     .flags = CONF_REQUIRED,
     .example = "/api/**",
     .doc = "The paths it takes: * is one segment, ** the rest; /a/** takes /a too."},
    {.name = "priority",
     .type = CONF_INT,
     AT(route_settings, priority),
     .default_text = "0",
     .min = -1000000,
     .max = 1000000,
     .example = "10",
     .doc = "Higher is asked first; equal ones by how specific their path is."},
    {.name = "methods",
     .type = CONF_STRING_LIST,
     AT(route_settings, methods),
     .check = value_check_method,
     .default_text = "[]",
     .example = "[GET, HEAD]",
     .doc = "The methods it takes; empty is all."},
    {.name = "match",
     .type = CONF_OBJECT,
     AT(route_settings, match),
     .child = &MATCH_TABLE,
     .doc = "Further conditions, all of which must hold."},
    {.name = "", .type = CONF_EMBED, AT(route_settings, keys), .child = &ROUTE_KEYS_TABLE},
};
static const struct conf_table ROUTE_TABLE = {
    .name = "a route", KEYS(ROUTE_ITEM_KEYS), .struct_bytes = sizeof(struct route_settings)};

static const struct conf_key HOST_KEYS[] = {
    {.name = "domains",
     .type = CONF_DOMAIN_LIST,
     AT(host_settings, domains),
     .flags = CONF_REQUIRED,
     .example = "[example.com, \"*.example.com\"]",
     .doc =
         "The names it answers to: exact, \"*.x\", .x (x and all below), \"api.*\", or default."},
    {.name = "priority",
     .type = CONF_INT,
     AT(host_settings, priority),
     .default_text = "0",
     .min = -1000000,
     .max = 1000000,
     .example = "10",
     .doc = "Higher is asked first; equal ones exact, then suffix, prefix and default."},
    {.name = "ssl",
     .type = CONF_OBJECT,
     AT(host_settings, ssl),
     .child = &conf_table_tls,
     .example = "{cert: /etc/ssl/site.pem, key: /etc/ssl/site.key}",
     .doc = "Encryption of this host, or off; what is not said here is as in server.tls."},
    {.name = "https_redirect",
     .type = CONF_BOOL,
     AT(host_settings, https_redirect),
     .default_text = "true",
     .example = "false",
     .doc = "Send clients from http to https, where the server listens for https."},
    {.name = "", .type = CONF_EMBED, AT(host_settings, keys), .child = &ROUTE_KEYS_TABLE},
    {.name = "routes",
     .type = CONF_OBJECT_LIST,
     AT(host_settings, routes),
     .child = &ROUTE_TABLE,
     .flags = CONF_INHERITS,
     .example = "[{path: /old, redirect: /new}]",
     .doc = "Parts of the host with keys of their own; all else comes from the host."},
};
static const struct conf_table HOST_TABLE = {
    .name = "a host", KEYS(HOST_KEYS), .struct_bytes = sizeof(struct host_settings)};

static const struct conf_key ROTATE_KEYS[] = {
    {.name = "size",
     .type = CONF_SIZE,
     AT(rotate_settings, size_bytes),
     .unit = "bytes",
     .default_text = "100MB",
     .min = 4096,
     .max = INT64_MAX,
     .example = "50MB",
     .doc = "A log file larger than this is set aside."},
    {.name = "age",
     .type = CONF_DURATION,
     AT(rotate_settings, age_ms),
     .unit = "ms",
     .default_text = "7d",
     .min = 1000,
     .max = INT64_MAX,
     .example = "1d",
     .doc = "A log file older than this is set aside."},
    {.name = "keep",
     .type = CONF_INT,
     AT(rotate_settings, keep_count),
     .default_text = "10",
     .min = 0,
     .max = 10000,
     .example = "30",
     .doc = "How many old files are kept."},
    {.name = "zstd",
     .type = CONF_BOOL,
     AT(rotate_settings, zstd),
     .default_text = "true",
     .example = "false",
     .doc = "Compress files that were set aside."},
};
static const struct conf_table ROTATE_TABLE = {
    .name = "log.rotate", KEYS(ROTATE_KEYS), .struct_bytes = sizeof(struct rotate_settings)};

static const struct conf_key LOG_KEYS[] = {
    {.name = "level",
     .type = CONF_ENUM,
     AT(log_settings, level),
     .names = LOG_LEVELS,
     .default_text = "info",
     .example = "debug",
     .doc = "The least important line written."},
    {.name = "output",
     .type = CONF_OUTPUT,
     AT(log_settings, output),
     .flags = CONF_NO_STDOUT,
     .default_text = "stderr",
     .example = "/var/log/selenia/error.log",
     .doc = "Where the log of the program goes."},
    {.name = "access",
     .type = CONF_OUTPUT,
     AT(log_settings, access),
     .flags = CONF_OFF_OK,
     .default_text = "stdout",
     .example = "/var/log/selenia/access.log",
     .doc = "Where the access log goes, or off."},
    {.name = "format",
     .type = CONF_ENUM,
     AT(log_settings, format),
     .names = LOG_FORMATS,
     .default_text = "json",
     .example = "combined",
     .doc = "The form of an access line."},
    {.name = "rotate",
     .type = CONF_OBJECT,
     AT(log_settings, rotate),
     .child = &ROTATE_TABLE,
     .doc = "When log files are set aside, and for how long."},
};
static const struct conf_table LOG_TABLE = {
    .name = "log", KEYS(LOG_KEYS), .struct_bytes = sizeof(struct log_settings)};

static const struct conf_key METRICS_KEYS[] = {
    {.name = "path",
     .type = CONF_STRING,
     AT(metrics_settings, path),
     .check = value_check_url_path,
     .default_text = "/metrics",
     .example = "/metrics",
     .doc = "The path of the metrics."},
    {.name = "listen",
     .type = CONF_LISTEN,
     AT(metrics_settings, listen),
     .flags = CONF_OFF_OK,
     .default_text = "off",
     .example = "\"127.0.0.1:9100\"",
     .doc = "An address of their own; off: on the administration address only."},
};
static const struct conf_table METRICS_TABLE = {.name = "metrics",
                                                KEYS(METRICS_KEYS),
                                                .struct_bytes = sizeof(struct metrics_settings),
                                                .later_keys = METRICS_LATER};

static const struct conf_key HEALTH_KEYS[] = {
    {.name = "live",
     .type = CONF_STRING,
     AT(health_settings, live),
     .default_text = "/livez",
     .check = value_check_url_path,
     .example = "/livez",
     .doc = "The path that says the program runs; for the admin address and loopback."},
    {.name = "ready",
     .type = CONF_STRING,
     AT(health_settings, ready),
     .default_text = "/readyz",
     .check = value_check_url_path,
     .example = "/readyz",
     .doc = "The path that says it takes requests; false while it drains."},
};
static const struct conf_table HEALTH_TABLE = {
    .name = "health", KEYS(HEALTH_KEYS), .struct_bytes = sizeof(struct health_settings)};

static const struct conf_key STREAM_KEYS[] = {
    {.name = "listen",
     .type = CONF_LISTEN_LIST,
     AT(stream_settings, listen),
     .flags = CONF_REQUIRED,
     .example = "[5432]",
     .doc = "Where connections (or, for udp://, datagrams) are taken: a port, an address and port, "
            "a Unix socket, or an open file descriptor."},
    {.name = "backend",
     .type = CONF_OBJECT,
     AT(stream_settings, backend),
     .child = &conf_table_backend,
     .flags = CONF_REQUIRED | CONF_ELSEWHERE,
     .example = "tcp://10.0.0.1:5432",
     .doc = "Who gets them: tcp://HOST:PORT, udp://HOST:PORT or unix:/PATH, or the name of a "
            "backend of such; with "
            "the keys of hosts[].backend that do not concern requests."},
};
static const struct conf_table STREAM_TABLE = {
    .name = "a stream", KEYS(STREAM_KEYS), .struct_bytes = sizeof(struct stream_settings)};

static const struct conf_key TOP_KEYS[] = {
    {.name = "server",
     .type = CONF_OBJECT,
     AT(settings, server),
     .child = &conf_table_server,
     .doc = "The server as a whole."},
    {.name = "hosts",
     .type = CONF_OBJECT_LIST,
     AT(settings, hosts),
     .child = &HOST_TABLE,
     .example = "[{domains: example.com, root: /srv/www}]",
     .doc = "The sites it serves."},
    {.name = "streams",
     .type = CONF_OBJECT_LIST,
     AT(settings, streams),
     .child = &STREAM_TABLE,
     .example = "[{listen: 5432, backend: \"tcp://10.0.0.1:5432\"}]",
     .doc = "Connections that are passed on as they are, whatever they speak."},
    {.name = "backends",
     .type = CONF_OBJECT_MAP,
     AT(settings, backends),
     .child = &conf_table_backend,
     .check_key = value_check_backend_name,
     .example = "{app: [\"http://127.0.0.1:3000\", \"http://127.0.0.1:3001\"]}",
     .doc = "Backends that hosts and routes name (backend: app), with the keys of hosts[].backend. "
            "All of them share what is known of its endpoints."},
    {.name = "log", .type = CONF_OBJECT, AT(settings, log), .child = &LOG_TABLE, .doc = "Logs."},
    {.name = "metrics",
     .type = CONF_OBJECT,
     AT(settings, metrics),
     .child = &METRICS_TABLE,
     .doc = "Metrics in the Prometheus text format."},
    {.name = "health",
     .type = CONF_OBJECT,
     AT(settings, health),
     .child = &HEALTH_TABLE,
     .doc = "Health checks."},
};

const struct conf_table conf_table_root = {.name = "the configuration",
                                           KEYS(TOP_KEYS),
                                           .struct_bytes = sizeof(struct settings),
                                           .later_keys = ROOT_LATER};
