/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of the program as plain structs, complete: every default is filled in and every
 * route holds what it inherits. Immutable after loading, so any thread may read them.
 *
 * `conf_origin_of(&object, "key")` says where a value came from.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "conf/diag.h"
#include "conf/io.h"
#include "conf/schema.h"
#include "conf/value.h"

enum poller_choice { POLLER_AUTO, POLLER_EPOLL, POLLER_IO_URING, POLLER_KQUEUE };
enum congestion_choice { CONGESTION_CUBIC, CONGESTION_BBR, CONGESTION_RENO };
enum protocol_choice { PROTOCOL_H1, PROTOCOL_H2, PROTOCOL_H2C, PROTOCOL_H3 };
enum listing_choice { LISTING_OFF, LISTING_HTML, LISTING_JSON };
enum symlinks_choice { SYMLINKS_OFF, SYMLINKS_INSIDE, SYMLINKS_ALL };
enum security_choice { SECURITY_OFF, SECURITY_BASIC, SECURITY_STRICT };
enum coding_choice { CODING_ZSTD, CODING_BR, CODING_GZIP }; /* files: .zst .br .gz */
enum log_format { LOG_FORMAT_JSON, LOG_FORMAT_COMMON, LOG_FORMAT_COMBINED, LOG_FORMAT_LOGFMT };
enum conf_log_level { CONF_LOG_DEBUG, CONF_LOG_INFO, CONF_LOG_WARN, CONF_LOG_ERROR };
enum issuer_choice { ISSUER_AUTO, ISSUER_ACME, ISSUER_INTERNAL, ISSUER_CLOUDFLARE, ISSUER_NONE };
enum client_auth_choice { CLIENT_AUTH_REQUIRE, CLIENT_AUTH_OPTIONAL };
enum tls_version_choice { TLS_CHOICE_12, TLS_CHOICE_13 };
enum early_data_choice { EARLY_DATA_OFF, EARLY_DATA_SAFE };
enum balance_choice {
    BALANCE_CHOICE_P2C,
    BALANCE_CHOICE_RR,
    BALANCE_CHOICE_LEAST,
    BALANCE_CHOICE_FIRST,
    BALANCE_CHOICE_HASH
};
enum proxy_protocol_choice { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_V1, PROXY_PROTOCOL_V2 };
enum retry_cause {
    RETRY_CONNECT,
    RETRY_CLOSED,
    RETRY_TIMEOUT,
    RETRY_429,
    RETRY_500,
    RETRY_502,
    RETRY_503,
    RETRY_504
};
enum rewrite_flag {
    REWRITE_FLAG_LAST,
    REWRITE_FLAG_REDIRECT,
    REWRITE_FLAG_FORBIDDEN,
    REWRITE_FLAG_GONE
};

struct worker_settings {
    struct conf_object object;
    int64_t processes; /* event loops; 0 = auto: one per CPU */
    int64_t max_connections;
};

struct quic_settings {
    struct conf_object object;
    enum congestion_choice congestion;
};

struct timeout_settings {
    struct conf_object object;
    int64_t header_ms;
    int64_t idle_ms;
    int64_t read_idle_ms;
    int64_t write_idle_ms;
    int64_t tunnel_ms;
    int64_t drain_ms;
};

struct max_settings {
    struct conf_object object;
    int64_t header_bytes;
    int64_t header_count;
    int64_t uri_bytes;
    int64_t body_bytes;
    int64_t stream_count;         /* of one HTTP/2 connection at once */
    int64_t min_rate_bytes_per_s; /* 0 = none */
};

/* An account elsewhere that the one at the CA belongs to (RFC 8555 7.3.4). */
struct eab_settings {
    struct conf_object object;
    bool is_on;
    struct str kid;
    struct str key; /* base64url */
};

enum tsig_algorithm { TSIG_HMAC_SHA256 };

/* A name server that takes signed updates (RFC 2136, RFC 8945). */
struct dns_update_settings {
    struct conf_object object;
    bool is_on;
    struct str server; /* address and port */
    struct str key_name;
    struct str key_secret; /* base64 */
    enum tsig_algorithm algorithm;
};

/* How the record of a DNS challenge gets into its zone: one of both. */
struct dns_settings {
    struct conf_object object;
    bool is_on;
    struct str exec; /* program; pointer NULL = none */
    struct dns_update_settings rfc2136;
};

struct acme_settings {
    struct conf_object object;
    struct str email;    /* pointer NULL = none */
    struct str ca;       /* URL of the directory */
    struct str fallback; /* of the CA to try when that one fails; pointer NULL = none */
    struct str ca_file;  /* whom to trust when talking to them; pointer NULL = as the system does */
    struct dns_settings dns;
    struct str ask; /* URL of the service that allows names on demand; pointer NULL = none */
    struct eab_settings eab;
    struct str ca_pem; /* what ca_file holds */
};

/* As many days as the Origin CA of Cloudflare gives. */
enum cloudflare_validity {
    CLOUDFLARE_7D,
    CLOUDFLARE_30D,
    CLOUDFLARE_90D,
    CLOUDFLARE_365D,
    CLOUDFLARE_730D,
    CLOUDFLARE_1095D,
    CLOUDFLARE_5475D,
};

struct cloudflare_settings {
    struct conf_object object;
    bool is_on;
    struct str token;
    struct str url;     /* of the API */
    struct str ca_file; /* as of acme_settings */
    enum cloudflare_validity validity;
    struct str ca_pem; /* what ca_file holds */
};

/* Of the server, and of each host with what the server gives. */
struct tls_settings {
    struct conf_object object;
    bool is_on;
    enum issuer_choice issuer;
    struct acme_settings acme;
    struct cloudflare_settings cloudflare;
    struct str_list cert; /* files */
    struct str_list key;  /* as many, or none where the certificates bring theirs */
    struct str client_ca; /* pointer NULL = clients are not asked for certificates */
    enum client_auth_choice client_auth;
    enum tls_version_choice min_version;
    struct str_list ciphers;
    enum early_data_choice early_data;
    int64_t hsts_ms; /* 0 = off */
    /* What the files hold, read when the settings were loaded. */
    struct str *cert_pem;
    struct str *key_pem;
    struct str client_ca_pem;
};

struct server_settings {
    struct conf_object object;
    struct listen_list listen;
    struct enum_list protocols; /* enum protocol_choice */
    struct tls_settings tls;
    struct str state; /* pointer NULL = the usual place */
    struct worker_settings worker;
    enum poller_choice poller;
    struct quic_settings quic;
    struct str user;
    bool sandbox;
    struct timeout_settings timeouts;
    struct max_settings max;
    struct str_list resolver; /* empty = those of the machine */
    struct str zone;          /* where this node stands; pointer NULL = nowhere */
    struct cidr_list trusted_proxies;
    struct listen_address admin; /* LISTEN_OFF: none */
};

struct redirect_settings {
    struct conf_object object;
    bool is_on;
    struct str to; /* absolute URL, or a path on the same host */
    int64_t status;
    bool keep_path; /* append the path and query of the request */
};

struct respond_settings {
    struct conf_object object;
    bool is_on;
    int64_t status;
    struct str body;
    struct str type;
};

struct backend_timeout_settings {
    struct conf_object object;
    int64_t connect_ms;
    int64_t first_ms;
    int64_t idle_ms;
    int64_t stream_ms;
};

struct keepalive_settings {
    struct conf_object object;
    bool is_on;
    int64_t count_max; /* of one event loop */
    int64_t idle_ms;
};

struct backend_tls_settings {
    struct conf_object object;
    bool verify;
    struct str ca;   /* files; pointer NULL = as the system does */
    struct str cert; /* pointer NULL = none */
    struct str key;
    struct str sni; /* pointer NULL = the host of the address */
    /* What the files hold, read when the settings were loaded. */
    struct str ca_pem;
    struct str cert_pem;
    struct str key_pem;
};

struct endpoint_settings {
    struct conf_object object;
    struct str url; /* value_parse_upstream, "echo", or the name of a backend */
    int64_t weight;
    bool backup;
    struct str zone; /* pointer NULL = none */
};

#define BACKEND_ENDPOINTS_MAX 64

struct endpoint_list {
    struct endpoint_settings *items; /* up to BACKEND_ENDPOINTS_MAX; "echo" stands alone */
    size_t count;
};

enum discover_choice { DISCOVER_DNS, DISCOVER_SRV, DISCOVER_FILE };

struct discover_settings {
    struct conf_object object;
    bool is_on;
    enum discover_choice by;
    struct str file; /* pointer NULL = none */
};

struct outlier_settings {
    struct conf_object object;
    bool is_on;
    int64_t error_count;
    int64_t eject_ms;
    int64_t max_ppm; /* of the endpoints, out at once */
};

/* How endpoints are asked whether they are well. */
#define CHECK_SERVICE_BYTES_MAX 255u

struct check_settings {
    struct conf_object object;
    bool is_on;
    struct str path; /* of a GET */
    int64_t interval_ms;
    int64_t timeout_ms;
    int64_t rise;
    int64_t fall;
    struct str status; /* value_parse_status_range */
    struct str body;   /* pointer NULL = any */
    bool tcp;          /* a connection is enough */
    struct str grpc;   /* the service that grpc.health.v1 is asked for; "true": for the whole
                        * server; pointer NULL = it is not asked */
};

/* A cookie that leads a client to the endpoint it had. */
struct sticky_settings {
    struct conf_object object;
    bool is_on;
    struct str cookie; /* its name */
    int64_t ttl_ms;    /* 0 = as long as the browser runs */
};

struct breaker_settings {
    struct conf_object object;
    int64_t in_flight_max; /* of one endpoint */
    int64_t pending_max;   /* of the backend */
};

struct retry_settings {
    struct conf_object object;
    bool is_on;
    int64_t try_count;   /* after the first one */
    struct enum_list on; /* enum retry_cause */
    int64_t budget_ppm;  /* of the requests under way */
    int64_t body_bytes;  /* of a request, kept for another try; 0: none are */
};

enum process_restart { PROCESS_RESTART_ALWAYS, PROCESS_RESTART_ON_FAILURE, PROCESS_RESTART_NEVER };

/* In the order of enum log_level. */
enum process_log {
    PROCESS_LOG_DEBUG,
    PROCESS_LOG_INFO,
    PROCESS_LOG_NOTICE,
    PROCESS_LOG_WARN,
    PROCESS_LOG_ERROR,
    PROCESS_LOG_OFF
};

struct ready_settings {
    struct conf_object object;
    struct str http; /* URL path; pointer NULL = taking connections is enough */
    int64_t timeout_ms;
};

struct backoff_settings {
    struct conf_object object;
    int64_t min_ms;
    int64_t max_ms;
};

/* While one set takes the place of another, there are twice so many. */
#define PROCESS_INSTANCES_MAX 32
#define PROCESS_SOCKET_BYTES_MAX 90

struct process_settings {
    struct conf_object object;
    bool is_on;
    struct str_list command;
    struct str cwd; /* pointer NULL = `directory` */
    struct str_map env;
    struct str user;
    int64_t instances; /* 0 = auto */
    struct str socket; /* "false", "true", "activate", or a path */
    struct ready_settings ready;
    enum process_restart restart;
    struct backoff_settings backoff;
    int64_t stop_ms;
    int64_t memory_bytes; /* 0 = off */
    struct str cpu;       /* "off", or as of value_parse_cpu */
    int64_t files_max;    /* 0 = auto */
    enum process_log log;
    /* Set when the settings were loaded. The name is the same wherever routes inherit the process,
     * and no other process has it: that of the backend, else that of the host with the path of the
     * route that begins it. */
    struct str name;
    struct str directory; /* of the file that says it; ends with a slash, or is empty */
};

/* How a request becomes one of FastCGI. */
struct fcgi_settings {
    struct conf_object object;
    bool is_on;       /* it was written; the rest holds in any case */
    struct str root;  /* as the other side names it; pointer NULL = as `root` does */
    struct str index; /* a file name */
    struct str split; /* a suffix, or "off": there are no scripts */
    struct str_map env;
    int64_t body_bytes; /* of a body without a length; 0 = none is taken */
    bool keepalive;     /* connections are kept as backend_settings.keepalive says */
};

struct backend_settings {
    struct conf_object object;
    bool is_on;
    struct str name; /* in settings.backends; empty: it has none */
    /* What `proxy` names, where that is a name: the rest then says nothing. NULL: it names none. */
    const struct backend_settings *named;
    struct endpoint_list proxy; /* empty where a process or a file says what they are */
    struct process_settings process;
    struct discover_settings discover;
    enum balance_choice balance;
    struct str hash; /* "ip", "path", "header:NAME" or "cookie:NAME" */
    struct check_settings health;
    struct outlier_settings outlier;
    int64_t slow_start_ms; /* 0 = off */
    struct breaker_settings breaker;
    struct sticky_settings sticky;
    struct retry_settings retry;
    enum proxy_protocol_choice proxy_protocol;
    struct fcgi_settings fcgi;
    struct str host; /* "pass", "upstream", or a name */
    struct backend_timeout_settings timeout;
    struct keepalive_settings keepalive;
    struct backend_tls_settings tls;
};

struct backend_list {
    struct backend_settings *items;
    size_t count;
};

struct split_share {
    struct conf_object object;
    struct str name; /* of a backend in `backends` */
    int64_t weight;
};

struct split_list {
    struct split_share *items; /* empty, or some weight is not 0 */
    size_t count;
};

struct mirror_settings {
    struct conf_object object;
    bool is_on;
    struct str to; /* a backend in `backends` */
    int64_t share_ppm;
};

struct websocket_settings {
    struct conf_object object;
    struct str_list origins; /* besides the host itself */
};

/* All parts that are given must hold. */
struct match_settings {
    struct conf_object object;
    struct str_map header; /* value: equal; `*`: present; null: absent */
    struct str_map query;  /* the same */
    struct cidr_list ip;   /* empty = any */
    struct str regex;      /* of the path; pointer NULL = none */
};

struct rewrite_settings {
    struct conf_object object;
    struct str from; /* regex of the path */
    struct str to;
    struct str condition;   /* key `if`; pointer NULL = always */
    struct enum_list flags; /* enum rewrite_flag */
    int64_t status;         /* of REWRITE_FLAG_REDIRECT */
};

struct rewrite_list {
    struct rewrite_settings *items;
    size_t count;
};

struct headers_settings {
    struct conf_object object;
    struct str_map request; /* null: remove the field; likewise below */
    struct str_map response;
};

struct compress_settings {
    struct conf_object object;
    bool is_on;
    struct str_list types;    /* media ranges such as text/ + star */
    struct enum_list codings; /* enum coding_choice, best first */
    int64_t min_bytes;
    int64_t level; /* 1 to 11, 0 = auto */
};

struct route_log_settings {
    struct conf_object object;
    bool is_on;
    enum log_format format; /* inherits log.format */
    int64_t sample_ppm;
    struct str_list redact; /* names of query parameters */
};

/* The keys that may stand on a host and on each of its routes. */
struct route_keys {
    struct conf_object object;
    struct str root; /* pointer NULL = none */
    struct str_list index;
    struct str fallback; /* URL path; pointer NULL = none */
    enum listing_choice listing;
    bool dotfiles;
    enum symlinks_choice symlinks;
    struct enum_list precompressed; /* enum coding_choice, best first */
    struct redirect_settings redirect;
    struct respond_settings respond;
    struct backend_settings backend;
    struct split_list split;
    struct str split_by; /* "request", or as backend_settings.hash */
    struct mirror_settings mirror;
    struct websocket_settings websocket;
    struct rewrite_list rewrites;
    struct headers_settings headers;
    enum security_choice security;
    struct status_file_list
        error_pages; /* exact statuses before classes do not sort: search both */
    struct compress_settings compress;
    struct str charset; /* empty = add none */
    struct route_log_settings log;
};

struct route_settings {
    struct conf_object object;
    struct str path;         /* pattern */
    int64_t priority;        /* higher first, before specificity */
    struct str_list methods; /* empty = all */
    struct match_settings match;
    struct route_keys keys; /* with what the host gives */
};

struct route_list {
    struct route_settings *items;
    size_t count;
};

struct host_settings {
    struct conf_object object;
    struct domain_list domains;
    int64_t priority;
    struct tls_settings ssl;
    bool https_redirect;
    struct route_keys keys; /* for requests that no route takes */
    struct route_list routes;
};

struct host_list {
    struct host_settings *items;
    size_t count;
};

struct rotate_settings {
    struct conf_object object;
    int64_t size_bytes;
    int64_t age_ms;
    int64_t keep_count;
    bool zstd;
};

struct log_settings {
    struct conf_object object;
    enum conf_log_level level;
    struct output output;
    struct output access;
    enum log_format format;
    struct rotate_settings rotate;
};

struct metrics_settings {
    struct conf_object object;
    struct str path;
    struct listen_address listen; /* LISTEN_OFF: on the admin address only */
};

struct health_settings {
    struct conf_object object;
    struct str live;
    struct str ready;
};

struct stream_settings {
    struct conf_object object;
    struct listen_list listen;
    struct backend_settings backend;
};

struct stream_list {
    struct stream_settings *items;
    size_t count;
};

struct settings {
    struct conf_object object;
    struct server_settings server;
    struct host_list hosts;
    struct stream_list streams;
    struct backend_list backends;
    struct log_settings log;
    struct metrics_settings metrics;
    struct health_settings health;
    struct arena arena; /* everything above lives here, the struct itself too */
};

/* Loads files. `io` NULL: the files of this process. On success the caller owns `*ret_settings`.
 * ERR_CONFIG: `reterr_diags` (initialised by the caller) says why; ERR_NOMEM. */
enum err settings_load(const char *const *paths, size_t count, const struct conf_io *io,
                       struct settings **ret_settings, struct diag_list *reterr_diags) MUST_CHECK;

/* As settings_load for a text in memory; `name` stands in messages, and its directory is where
 * relative paths begin. */
enum err settings_load_text(const char *name, struct str text, const struct conf_io *io,
                            struct settings **ret_settings,
                            struct diag_list *reterr_diags) MUST_CHECK;

/* The settings of `sws serve DIR`: one default host with directory listings on `port` of every
 * address, with a certificate of the local authority where `is_https`, no user change, no admin
 * address. */
enum err settings_default_site(const char *dir, uint16_t port, bool is_https,
                               struct settings **ret_settings,
                               struct diag_list *reterr_diags) MUST_CHECK;

/* The settings that a backend goes by: those it names, or its own. */
const struct backend_settings *settings_backend(const struct backend_settings *b);

/* Whether a check says something that only a GET can answer, beyond what holds without a word. */
bool settings_check_is_get(const struct check_settings *check);

/* Whether connections of a host with this backend are passed on as they are (tcp://). */
bool settings_is_passed(const struct backend_settings *b);

/* Whether it takes datagrams (udp://). */
bool settings_is_datagram(const struct backend_settings *b);

/* Whether it speaks FastCGI. */
bool settings_is_fcgi(const struct backend_settings *b);

/* Overwrites the private keys, once they are where they are used from. */
void settings_wipe_keys(struct settings *s);

/* Ends settings; NULL is a no-op. */
void settings_destroy(struct settings *s);

/* The effective configuration as YAML that loads to the same settings; `has_origins` adds
 * `# file:line` or `# default` to each value. */
void conf_print_effective(const struct settings *s, bool has_origins, struct buf *out);
