/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of what answers behind us. Order here is order in every print. */
#include "conf/tables_int.h"

static const char *const BACKEND_LATER[] = {"static", NULL};
static const char *const DISCOVER[] = {"dns", "srv", "file", NULL};
static const char *const DISCOVER_LATER[] = {"docker", "k8s", NULL};
static const char *const PROXY_PROTOCOL[] = {"off", "v1", "v2", NULL};
static const char *const BALANCE[] = {"p2c", "rr", "least", "first", "hash", NULL};
static const char *const BALANCE_LATER[] = {"ewma", NULL};

static const char *const RETRY_ON[] = {"connect", "closed", "timeout", "429", "500",
                                       "502",     "503",    "504",     NULL};

static bool is_name(struct str text)
{
    size_t at;
    return value_check_backend_name(text, &at) == NULL;
}

static const char *check_upstream(struct str text, size_t *ret_at)
{
    struct upstream_address ignored;
    *ret_at = 0;
    return str_eq(text, STR("echo")) || is_name(text)
               ? NULL
               : value_parse_upstream(text, &ignored, ret_at);
}

static struct str name_of(const void *object)
{
    const struct backend_settings *b = object;
    return b->is_on && b->proxy.count == 1 && is_name(b->proxy.items[0].url) ? b->proxy.items[0].url
                                                                             : STR("");
}

static struct str nearest_upstream(struct str text)
{
    bool is_echo = str_distance(text, STR("echo")) == 1;
    return is_echo ? STR("echo") : value_nearest_upstream(text);
}

static const char *check_host_policy(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !memchr(".-_:[]", c, 6)) {
            *ret_at = i;
            return "pass, upstream, or a name with or without a port is due here";
        }
    }
    return text.n ? NULL : "pass, upstream, or a name with or without a port is due here";
}

const char *conf_check_hash(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (str_eq(text, STR("ip")) || str_eq(text, STR("path"))) {
        return NULL;
    }
    if (!str_starts_with(text, STR("header:")) && !str_starts_with(text, STR("cookie:"))) {
        return "ip, path, header:NAME or cookie:NAME is due here";
    }
    size_t at;
    const char *fault = value_check_token(str_sub(text, 7, text.n), &at);
    *ret_at = fault != NULL ? 7 + at : 0;
    return fault;
}

static const struct conf_key TIMEOUT_KEYS[] = {
    {.name = "connect",
     .type = CONF_DURATION,
     AT(backend_timeout_settings, connect_ms),
     .unit = "ms",
     .default_text = "2s",
     .min = 1,
     .max = INT64_MAX,
     .example = "500ms",
     .doc = "How long making a connection may take; then 504."},
    {.name = "first",
     .type = CONF_DURATION,
     AT(backend_timeout_settings, first_ms),
     .unit = "ms",
     .default_text = "60s",
     .min = 1,
     .max = INT64_MAX,
     .example = "10s",
     .doc = "How long the backend may think, from the end of the request; then 504."},
    {.name = "idle",
     .type = CONF_DURATION,
     AT(backend_timeout_settings, idle_ms),
     .unit = "ms",
     .default_text = "60s",
     .min = 1,
     .max = INT64_MAX,
     .example = "30s",
     .doc = "How long it may send nothing of its answer, or take nothing of the request."},
    {.name = "stream",
     .type = CONF_DURATION,
     AT(backend_timeout_settings, stream_ms),
     .unit = "ms",
     .default_text = "1h",
     .min = 1,
     .max = INT64_MAX,
     .example = "10m",
     .doc = "How long a WebSocket may be silent in both directions."},
};
static const struct conf_table TIMEOUT_TABLE = {
    .name = "timeout", KEYS(TIMEOUT_KEYS), .struct_bytes = sizeof(struct backend_timeout_settings)};

static const struct conf_key KEEPALIVE_KEYS[] = {
    {.name = "max",
     .type = CONF_INT,
     AT(keepalive_settings, count_max),
     .default_text = "64",
     .min = 1,
     .max = 65536,
     .example = "16",
     .doc = "How many connections each event loop keeps at rest."},
    {.name = "idle",
     .type = CONF_DURATION,
     AT(keepalive_settings, idle_ms),
     .unit = "ms",
     .default_text = "60s",
     .min = 1,
     .max = INT64_MAX,
     .example = "4s",
     .doc = "How long one is kept; less than the backend keeps it itself."},
};
static const struct conf_table KEEPALIVE_TABLE = {.name = "keepalive",
                                                  KEYS(KEEPALIVE_KEYS),
                                                  .struct_bytes = sizeof(struct keepalive_settings),
                                                  .has_switch = true,
                                                  .is_on_default = true,
                                                  .on_offset =
                                                      offsetof(struct keepalive_settings, is_on)};

static const struct conf_key BACKEND_TLS_KEYS[] = {
    {.name = "verify",
     .type = CONF_BOOL,
     AT(backend_tls_settings, verify),
     .default_text = "true",
     .example = "false",
     .doc = "Whether its certificate must be good and its own; false lets anybody answer."},
    {.name = "ca",
     .type = CONF_PATH,
     AT(backend_tls_settings, ca),
     .example = "/etc/ssl/internal-ca.pem",
     .doc = "Who may sign it, in PEM; without it whom the system trusts."},
    {.name = "sni",
     .type = CONF_STRING,
     AT(backend_tls_settings, sni),
     .check = check_host_policy,
     .example = "app.internal",
     .doc = "The name that is asked for and verified; without it the host of the address."},
    {.name = "cert",
     .type = CONF_PATH,
     AT(backend_tls_settings, cert),
     .example = "/etc/ssl/proxy.pem",
     .doc = "The certificate that we show, in PEM."},
    {.name = "key",
     .type = CONF_PATH,
     AT(backend_tls_settings, key),
     .example = "/etc/ssl/proxy-key.pem",
     .doc = "Its private key; without it that in the file of the certificate."},
};
static const struct conf_table BACKEND_TLS_TABLE = {
    .name = "tls", KEYS(BACKEND_TLS_KEYS), .struct_bytes = sizeof(struct backend_tls_settings)};

static const struct conf_key ENDPOINT_KEYS[] = {
    {.name = "url",
     .type = CONF_STRING,
     AT(endpoint_settings, url),
     .check = check_upstream,
     .flags = CONF_REQUIRED,
     .example = "http://127.0.0.1:3000",
     .nearest = nearest_upstream,
     .doc = "An address: SCHEME://HOST:PORT, or unix:/PATH; or echo or the name of a backend, "
            "alone. http and https speak HTTP/1.1, h2c and h2 (over TLS) HTTP/2, grpc and grpcs "
            "that with the rules of gRPC; unix+h2c:/PATH and unix+grpc:/PATH do so over a Unix "
            "socket."},
    {.name = "weight",
     .type = CONF_INT,
     AT(endpoint_settings, weight),
     .default_text = "1",
     .min = 1,
     .max = 1000,
     .example = "2",
     .doc = "Its share of the requests beside the weights of the others."},
    {.name = "backup",
     .type = CONF_BOOL,
     AT(endpoint_settings, backup),
     .default_text = "false",
     .example = "true",
     .doc = "Whether it serves only while no other endpoint can."},
    {.name = "zone",
     .type = CONF_STRING,
     AT(endpoint_settings, zone),
     .check = value_check_token,
     .example = "eu-1",
     .doc = "Where it stands; those of server.zone come first while half of them are in."},
};
const struct conf_table conf_table_endpoint = {.name = "an endpoint",
                                               KEYS(ENDPOINT_KEYS),
                                               .struct_bytes = sizeof(struct endpoint_settings),
                                               .short_key = "url"};

static const struct conf_key OUTLIER_KEYS[] = {
    {.name = "errors",
     .type = CONF_INT,
     AT(outlier_settings, error_count),
     .default_text = "5",
     .min = 1,
     .max = 1000,
     .example = "3",
     .doc = "How many failures in a row eject an endpoint: no connection, one that broke, no "
            "answer in time, 502, 503 or 504."},
    {.name = "eject",
     .type = CONF_DURATION,
     AT(outlier_settings, eject_ms),
     .unit = "ms",
     .default_text = "10s",
     .min = 1,
     .max = 300000,
     .example = "30s",
     .doc = "For how long, times how often in a row; at most 5 minutes."},
    {.name = "max",
     .type = CONF_SHARE,
     AT(outlier_settings, max_ppm),
     .default_text = "50%",
     .min = 1,
     .max = 1000000,
     .example = "30%",
     .doc = "How many of the endpoints may be out at once; where a backup serves, all."},
};

static const char *check_status_range(struct str text, size_t *ret_at)
{
    uint16_t low, high;
    return value_parse_status_range(text, &low, &high, ret_at);
}

static const char *check_grpc_service(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (str_eq(text, STR("false"))) {
        return "leave the key out instead";
    }
    if (text.n == 0 || text.n > CHECK_SERVICE_BYTES_MAX) {
        return "the name of a service has 1 to 255 bytes; true: the whole server";
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] <= ' ' || text.p[i] > '~') {
            *ret_at = i;
            return "the name of a service has no such character";
        }
    }
    return NULL;
}

static const struct conf_key CHECK_KEYS[] = {
    {.name = "path",
     .type = CONF_STRING,
     AT(check_settings, path),
     .default_text = "/",
     .check = value_check_url_path,
     .example = "/healthz",
     .doc = "What is asked for, by GET; a query may follow."},
    {.name = "interval",
     .type = CONF_DURATION,
     AT(check_settings, interval_ms),
     .unit = "ms",
     .default_text = "5s",
     .min = 10,
     .max = 86400000,
     .example = "2s",
     .doc = "The time from one check to the next, a fifth more or less by chance."},
    {.name = "timeout",
     .type = CONF_DURATION,
     AT(check_settings, timeout_ms),
     .unit = "ms",
     .default_text = "2s",
     .min = 1,
     .max = 3600000,
     .example = "500ms",
     .doc = "How long the whole answer may take."},
    {.name = "rise",
     .type = CONF_INT,
     AT(check_settings, rise),
     .default_text = "2",
     .min = 1,
     .max = 1000,
     .example = "3",
     .doc = "How many checks in a row one that was healthy once must pass to be so again."},
    {.name = "fall",
     .type = CONF_INT,
     AT(check_settings, fall),
     .default_text = "3",
     .min = 1,
     .max = 1000,
     .example = "2",
     .doc = "How many checks in a row a healthy one must fail to be unhealthy."},
    {.name = "status",
     .type = CONF_STRING,
     AT(check_settings, status),
     .default_text = "200-399",
     .check = check_status_range,
     .example = "\"204\"",
     .doc = "The status that passes, or a range."},
    {.name = "body",
     .type = CONF_STRING,
     AT(check_settings, body),
     .check = value_check_not_empty,
     .example = "\"ok\"",
     .doc = "A text that the first 64 KiB of the answer must hold."},
    {.name = "tcp",
     .type = CONF_BOOL,
     AT(check_settings, tcp),
     .default_text = "false",
     .example = "true",
     .doc = "Whether it is enough that a connection can be made."},
    {.name = "grpc",
     .type = CONF_STRING,
     AT(check_settings, grpc),
     .check = check_grpc_service,
     .example = "shop.Orders",
     .doc = "The service that grpc.health.v1.Health/Check is asked for, or true: the whole server. "
            "For endpoints of HTTP/2; those of gRPC are asked so where path, status, body and tcp "
            "are not given."},
};
static const struct conf_table CHECK_TABLE = {.name = "health",
                                              KEYS(CHECK_KEYS),
                                              .struct_bytes = sizeof(struct check_settings),
                                              .short_key = "path",
                                              .has_switch = true,
                                              .on_offset = offsetof(struct check_settings, is_on)};

static const struct conf_table OUTLIER_TABLE = {.name = "outlier",
                                                KEYS(OUTLIER_KEYS),
                                                .struct_bytes = sizeof(struct outlier_settings),
                                                .has_switch = true,
                                                .is_on_default = true,
                                                .on_offset =
                                                    offsetof(struct outlier_settings, is_on)};

static const struct conf_key STICKY_KEYS[] = {
    {.name = "cookie",
     .type = CONF_STRING,
     AT(sticky_settings, cookie),
     .check = value_check_token,
     .default_text = "sws_sticky",
     .example = "session_node",
     .doc = "The name of the cookie."},
    {.name = "ttl",
     .type = CONF_DURATION,
     AT(sticky_settings, ttl_ms),
     .unit = "ms",
     .flags = CONF_OFF_OK,
     .default_text = "off",
     .min = 1000,
     .max = 34560000000,
     .example = "8h",
     .doc = "How long browsers keep it, or off: until they end."},
};
static const struct conf_table STICKY_TABLE = {.name = "sticky",
                                               KEYS(STICKY_KEYS),
                                               .struct_bytes = sizeof(struct sticky_settings),
                                               .short_key = "cookie",
                                               .has_switch = true,
                                               .on_offset =
                                                   offsetof(struct sticky_settings, is_on)};

static const struct conf_key BREAKER_KEYS[] = {
    {.name = "inflight",
     .type = CONF_INT,
     AT(breaker_settings, in_flight_max),
     .default_text = "1024",
     .min = 1,
     .max = 1000000,
     .example = "256",
     .doc = "How many requests an endpoint has at once; where all have as many, others wait. "
            "WebSockets do not count."},
    {.name = "pending",
     .type = CONF_INT,
     AT(breaker_settings, pending_max),
     .default_text = "256",
     .min = 0,
     .max = 1000000,
     .example = "32",
     .doc = "How many requests wait, up to a second, until an endpoint has room; all others, and "
            "those that waited in vain, get 503."},
};
static const struct conf_table BREAKER_TABLE = {
    .name = "breaker", KEYS(BREAKER_KEYS), .struct_bytes = sizeof(struct breaker_settings)};

static const struct conf_key RETRY_KEYS[] = {
    {.name = "tries",
     .type = CONF_INT,
     AT(retry_settings, try_count),
     .default_text = "2",
     .min = 1,
     .max = 10,
     .example = "1",
     .doc = "How many more tries, each at another endpoint while there is one; a backend of one "
            "endpoint gets one more."},
    {.name = "on",
     .type = CONF_ENUM_LIST,
     AT(retry_settings, on),
     .names = RETRY_ON,
     .default_text = "[connect, closed, 502, 503, 504]",
     .example = "[connect, 503]",
     .doc = "After what: connect is no connection, closed is one that ended before the answer, "
            "timeout is timeout.first; a status is an answer, which needs another endpoint. Where "
            "the endpoint may have seen the request, only idempotent methods are tried again."},
    {.name = "budget",
     .type = CONF_SHARE,
     AT(retry_settings, budget_ppm),
     .default_text = "20%",
     .example = "10%",
     .doc = "The share of the requests under way that may be further tries; three always may."},
    {.name = "body",
     .type = CONF_SIZE,
     AT(retry_settings, body_bytes),
     .default_text = "64KB",
     .unit = "bytes",
     .flags = CONF_OFF_OK,
     .min = 0,
     .max = 1 << 30,
     .example = "1MB",
     .doc = "How much of a body is kept to be sent again; a request with a longer one is not "
            "tried again once some of it was sent."},
};
static const struct conf_table RETRY_TABLE = {.name = "retry",
                                              KEYS(RETRY_KEYS),
                                              .struct_bytes = sizeof(struct retry_settings),
                                              .has_switch = true,
                                              .is_on_default = true,
                                              .on_offset = offsetof(struct retry_settings, is_on)};

static const struct conf_key DISCOVER_KEYS[] = {
    {.name = "by",
     .type = CONF_ENUM,
     AT(discover_settings, by),
     .names = DISCOVER,
     .later_names = DISCOVER_LATER,
     .default_text = "file",
     .example = "dns",
     .doc = "dns takes all addresses of each name in proxy; srv asks for SRV records of it, whose "
            "weights and priorities (as backups) it takes; file follows a file."},
    {.name = "file",
     .type = CONF_PATH,
     AT(discover_settings, file),
     .example = "/etc/selenia/app.list",
     .doc = "The file, in place of proxy: one address a line, or a YAML list of what proxy takes. "
            "server.user must be able to read it."},
};
static const struct conf_table DISCOVER_TABLE = {.name = "discover",
                                                 KEYS(DISCOVER_KEYS),
                                                 .struct_bytes = sizeof(struct discover_settings),
                                                 .short_key = "by",
                                                 .has_switch = true,
                                                 .on_offset =
                                                     offsetof(struct discover_settings, is_on)};

static const char *check_fcgi_root(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    return text.n > 0 && text.p[0] == '/' ? NULL : "a path that begins with a slash is due here";
}

static const char *check_fcgi_split(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    return str_eq(text, STR("off")) || (text.n > 1 && text.p[0] == '.' && str_index(text, '/') < 0)
               ? NULL
               : "a suffix such as .php, or off, is due here";
}

/* Those of fields come from the client and are made here. */
static const char *check_fcgi_variable(struct str text, size_t *ret_at)
{
    const char *fault = conf_check_variable(text, ret_at);
    return fault == NULL && str_starts_with(text, STR("HTTP_"))
               ? "a field of the request is set with headers.request"
               : fault;
}

static const struct conf_key FCGI_KEYS[] = {
    {.name = "root",
     .type = CONF_STRING,
     AT(fcgi_settings, root),
     .check = check_fcgi_root,
     .example = "/var/www/html",
     .doc = "How the FastCGI server names the directory that is root here; where there is no root, "
            "its scripts are on another machine, and whether they exist is its to say."},
    {.name = "index",
     .type = CONF_STRING,
     AT(fcgi_settings, index),
     .check = value_check_file_name,
     .default_text = "index.php",
     .example = "app.php",
     .doc =
         "The script that stands for its directory, and, where it lies in root itself, for every "
         "path that names nothing."},
    {.name = "split",
     .type = CONF_STRING,
     AT(fcgi_settings, split),
     .check = check_fcgi_split,
     .default_text = ".php",
     .example = ".cgi",
     .doc = "How names of scripts end, byte for byte; what follows is PATH_INFO. off: there are no "
            "scripts, PATH_INFO is the whole path."},
    {.name = "env",
     .type = CONF_STRING_MAP,
     AT(fcgi_settings, env),
     .flags = CONF_SECRET,
     .check_key = check_fcgi_variable,
     .example = "{APP_ENV: production}",
     .doc = "Variables beside those of CGI, or in place of them; null leaves one out."},
    {.name = "body",
     .type = CONF_SIZE,
     AT(fcgi_settings, body_bytes),
     .default_text = "1MB",
     .unit = "bytes",
     .flags = CONF_OFF_OK,
     .min = 1,
     .max = 1 << 30,
     .example = "8MB",
     .doc =
         "How much of a body without a length is gathered, because CGI needs one; more gets 413, "
         "and with off each such body 411."},
    {.name = "keepalive",
     .type = CONF_BOOL,
     AT(fcgi_settings, keepalive),
     .default_text = "false",
     .example = "true",
     .doc =
         "Whether connections are kept as backend.keepalive says. Each of them holds a process of "
         "php-fpm, of which there must be more than the event loops keep."},
};
static const struct conf_table FCGI_TABLE = {.name = "fcgi",
                                             KEYS(FCGI_KEYS),
                                             .struct_bytes = sizeof(struct fcgi_settings),
                                             .short_key = "root",
                                             .has_switch = true,
                                             .on_offset = offsetof(struct fcgi_settings, is_on)};

static const struct conf_key BACKEND_KEYS[] = {
    {.name = "proxy",
     .type = CONF_OBJECT_LIST,
     AT(backend_settings, proxy),
     .child = &conf_table_endpoint,
     .flags = CONF_HANDLER | CONF_TAKES_OVER,
     .example = "http://127.0.0.1:3000",
     .doc = "Its endpoints, up to 64."},
    {.name = "process",
     .type = CONF_OBJECT,
     AT(backend_settings, process),
     .child = &conf_table_process,
     .flags = CONF_HANDLER | CONF_TAKES_OVER,
     .example = "node server.js",
     .doc = "In place of proxy: a program that sws starts, watches, and stops."},
    {.name = "discover",
     .type = CONF_OBJECT,
     AT(backend_settings, discover),
     .child = &DISCOVER_TABLE,
     .example = "off",
     .doc = "Who says what the endpoints are, while the server runs; or off."},
    {.name = "balance",
     .type = CONF_ENUM,
     AT(backend_settings, balance),
     .names = BALANCE,
     .later_names = BALANCE_LATER,
     .default_text = "p2c",
     .example = "rr",
     .doc = "Which endpoint comes next: p2c is the cheaper of two by chance, by requests under way "
            "times latency; rr takes turns; least has the fewest under way; first is the first of "
            "the list that can; hash is the same for the same key, see hash."},
    {.name = "hash",
     .type = CONF_STRING,
     AT(backend_settings, hash),
     .default_text = "ip",
     .check = conf_check_hash,
     .example = "cookie:session",
     .doc = "What balance: hash goes by: ip, path, header:NAME or cookie:NAME; a request without "
            "the field or cookie goes by ip."},
    {.name = "health",
     .type = CONF_OBJECT,
     AT(backend_settings, health),
     .child = &CHECK_TABLE,
     .example = "/healthz",
     .doc = "Asks each endpoint whether it is well, and leaves out those that are not; or off."},
    {.name = "outlier",
     .type = CONF_OBJECT,
     AT(backend_settings, outlier),
     .child = &OUTLIER_TABLE,
     .doc = "When endpoints that fail are left out, or off."},
    {.name = "slow_start",
     .type = CONF_DURATION,
     AT(backend_settings, slow_start_ms),
     .unit = "ms",
     .default_text = "30s",
     .flags = CONF_OFF_OK,
     .min = 1,
     .max = INT64_MAX,
     .example = "10s",
     .doc = "How long an endpoint that comes back takes to get its whole share, from a tenth."},
    {.name = "breaker",
     .type = CONF_OBJECT,
     AT(backend_settings, breaker),
     .child = &BREAKER_TABLE,
     .doc = "How much an endpoint may be asked at once."},
    {.name = "retry",
     .type = CONF_OBJECT,
     AT(backend_settings, retry),
     .child = &RETRY_TABLE,
     .doc = "When a request is tried again, with a random pause, or off."},
    {.name = "sticky",
     .type = CONF_OBJECT,
     AT(backend_settings, sticky),
     .child = &STICKY_TABLE,
     .example = "session_node",
     .doc = "A cookie that leads a client to the endpoint that answered it first, or off."},
    {.name = "proxy_protocol",
     .type = CONF_ENUM,
     AT(backend_settings, proxy_protocol),
     .names = PROXY_PROTOCOL,
     .default_text = "off",
     .example = "v2",
     .doc = "The version of the PROXY protocol that tells it the address of the client, before "
            "anything else; a connection then serves one request."},
    {.name = "fcgi",
     .type = CONF_OBJECT,
     AT(backend_settings, fcgi),
     .child = &FCGI_TABLE,
     .example = "/var/www/html",
     .doc = "How requests become those of FastCGI, for fcgi:// and unix+fcgi:."},
    {.name = "host",
     .type = CONF_STRING,
     AT(backend_settings, host),
     .default_text = "pass",
     .check = check_host_policy,
     .example = "app.internal",
     .doc = "The Host it gets: pass is that of the request, upstream that of the address, else "
            "this name."},
    {.name = "timeout",
     .type = CONF_OBJECT,
     AT(backend_settings, timeout),
     .child = &TIMEOUT_TABLE,
     .doc = "How long it may take."},
    {.name = "keepalive",
     .type = CONF_OBJECT,
     AT(backend_settings, keepalive),
     .child = &KEEPALIVE_TABLE,
     .doc = "Connections that are kept for the next request, or off; FastCGI also needs "
            "fcgi.keepalive."},
    {.name = "tls",
     .type = CONF_OBJECT,
     AT(backend_settings, tls),
     .child = &BACKEND_TLS_TABLE,
     .doc = "Encryption of an address that begins with https://."},
};
const struct conf_table conf_table_backend = {.name = "backend",
                                              KEYS(BACKEND_KEYS),
                                              .struct_bytes = sizeof(struct backend_settings),
                                              .short_key = "proxy",
                                              .has_switch = true,
                                              .on_offset = offsetof(struct backend_settings, is_on),
                                              .name_offset =
                                                  offsetof(struct backend_settings, name),
                                              .is_reference = is_name,
                                              .reference_of = name_of,
                                              .later_keys = BACKEND_LATER};
