/* SPDX-License-Identifier: Apache-2.0 */
/* The admin socket: the state of the edge as JSON, the metrics, and what an operator may ask for.
 * It is an HTTP server like any other, on the control thread. */
#include <unistd.h>

#include "app/edge_int.h"
#include "app/state_dir.h"
#include "http/date.h"
#include "issuer/demand.h"
#include "log/escape.h"
#include "os/clock.h"
#include "os/process.h"

static void admin_on_body(struct exchange *x, const char *bytes, size_t n)
{
    (void)x;
    (void)bytes;
    (void)n;
}

static void admin_on_end(struct exchange *x, enum err cause)
{
    (void)x;
    (void)cause;
}

static const struct exchange_service admin_service = {.on_body = admin_on_body,
                                                      .on_end = admin_on_end};

static void admin_answer(struct exchange *x, uint16_t status, struct str type, struct str body)
{
    struct http_field array[4];
    struct response_head head = {.status = status};
    http_fields_init(&head.fields, array, 4);
    enum err e = http_fields_add_id(&head.fields, HTTP_FIELD_CONTENT_TYPE, type);
    if (!e) {
        e = http_fields_add_id(&head.fields, HTTP_FIELD_CACHE_CONTROL, STR("no-store"));
    }
    if (e) {
        exchange_reset(x, e);
        return;
    }
    e = exchange_answer(x, &head, body);
    (void)e; /* an answer that failed has reset the exchange */
}

static void admin_answer_buf(struct exchange *x, struct str type, struct buf *body)
{
    if (body->is_failed) {
        admin_answer(x, 503, STR("text/plain; charset=utf-8"), STR("out of memory\n"));
    } else {
        admin_answer(x, 200, type, buf_str(body));
    }
    buf_done(body);
}

void admin_say(struct exchange *x, uint16_t status, const char *text)
{
    struct buf body;
    buf_init(&body, 0);
    buf_add_str(&body, status < 400 ? STR("{\"ok\":true,\"message\":\"")
                                    : STR("{\"ok\":false,\"message\":\""));
    escape_json(&body, str_of(text));
    buf_add_str(&body, STR("\"}\n"));
    admin_answer(x, body.is_failed ? 503 : status, STR("application/json"), buf_str(&body));
    buf_done(&body);
}

static void admin_listens(const struct edge *e, struct buf *out)
{
    bool has_one = false;
    for (uint32_t i = 0; i < e->listen_count; i++) {
        struct socket_address a;
        char text[SOCKET_ADDRESS_TEXT_BYTES];
        if ((!e->listens[i].is_datagram || e->listens[i].stream) &&
            socket_local(e->listens[i].fds[0], &a) == ERR_OK) {
            buf_add_str(out, has_one ? STR(",\"") : STR("\""));
            buf_add_str(out, e->listens[i].is_datagram ? STR("udp://")
                             : e->listens[i].stream    ? STR("tcp://")
                             : e->listens[i].is_tls    ? STR("https://")
                                                       : STR(""));
            escape_json(out, str_make(text, socket_address_text(&a, text)));
            buf_add_char(out, '"');
            has_one = true;
        }
    }
}

static const char *admin_issuer_state(enum issuer_state state)
{
    switch (state) {
    case ISSUER_WAITS:
        return "waiting";
    case ISSUER_GOOD:
        return "good";
    case ISSUER_TROUBLED:
        return "renewal fails";
    }
    return "";
}

static void admin_begin_item(struct buf *out)
{
    bool is_first = out->n && out->p[out->n - 1] == '[';
    buf_add_str(out, is_first ? STR("{\"name\":\"") : STR(",{\"name\":\""));
}

static void admin_certificate(struct buf *out, const char *issuer, struct str ca, const char *state,
                              int64_t not_after_s)
{
    char date[HTTP_DATE_BYTES];
    http_date_format(not_after_s, date);
    buf_printf(out, "\",\"issuer\":\"%s\",\"ca\":\"", issuer);
    escape_json(out, ca);
    buf_printf(out, "\",\"state\":\"%s\",\"expires\":\"%.*s\",\"error\":\"", state,
               not_after_s ? HTTP_DATE_BYTES : 0, date);
}

static void admin_obtained(const struct edge *e, const struct task_set *set, struct buf *out)
{
    char folder[PATH_MAX];
    struct issuer_status status;
    struct certificate *c = NULL;
    if (state_dir_path(e->site->settings->server.state, "acme", folder) != ERR_OK) {
        return;
    }
    enum err none = issuer_certificate(str_of(folder), set, &c, &status);
    admin_begin_item(out);
    escape_json(out, set->names[0]);
    admin_certificate(out, set->origin.token.n ? "cloudflare" : "acme", status.ca,
                      admin_issuer_state(status.state), status.not_after_s);
    escape_json(out, str_of(status.error));
    buf_add_str(out, STR("\"}"));
    if (!none) {
        certificate_unref(c);
    }
}

/* By the first name of each host. */
static void admin_host_certificates(const struct edge *e, const struct site_host *host,
                                    struct buf *out)
{
    struct task_set set;
    for (size_t i = 0; i < host->tls.certificate_count; i++) {
        admin_begin_item(out);
        escape_json(out, host->name);
        admin_certificate(
            out, "file", STR(""), "good",
            certificate_not_after_s(site_files_get(e->certs.files, e->site, &host->tls, i)));
        buf_add_str(out, STR("\"}"));
    }
    if (edge_issuer_set(host, &set)) {
        admin_obtained(e, &set, out);
    }
}

struct admin_demanded {
    const struct edge *edge;
    struct buf *out;
};

static void admin_on_demanded(void *context, struct str name)
{
    const struct admin_demanded *d = context;
    const struct site_host *host = site_find_host(d->edge->site, name);
    if (host && site_tls_is_on_demand(&host->tls, name) && !d->out->is_failed) {
        const struct task_set set = {
            .names = &name, .name_count = 1, .acme = host->settings->ssl.acme};
        admin_obtained(d->edge, &set, d->out);
    }
}

/* Names that clients brought, where a host takes such. */
static void admin_demanded_certificates(const struct edge *e, struct buf *out)
{
    char folder[PATH_MAX];
    struct admin_demanded context = {e, out};
    bool takes_any = false;
    for (size_t i = 0; i < e->site->host_count; i++) {
        takes_any |= e->site->host_list[i].tls.takes_demands;
    }
    if (takes_any && e->site->listens_for_https &&
        state_dir_path(e->site->settings->server.state, "acme", folder) == ERR_OK) {
        demand_each(str_of(folder), admin_on_demanded, &context);
    }
}

static void admin_certificates(const struct edge *e, struct buf *out)
{
    buf_add_str(out, STR("],\"certificates\":["));
    for (size_t i = 0; i < e->site->host_count && e->site->listens_for_https && !out->is_failed;
         i++) {
        admin_host_certificates(e, &e->site->host_list[i], out);
    }
    admin_demanded_certificates(e, out);
    for (unsigned i = 0; i < e->certs.issued_count && !out->is_failed; i++) {
        const struct issued *one = &e->certs.issued[i];
        admin_begin_item(out);
        escape_json(out, certificate_name(one->certificate, 0));
        admin_certificate(out, "internal", STR(""), "good",
                          certificate_not_after_s(one->certificate));
        buf_add_str(out, STR("\"}"));
    }
}

static void admin_status(struct edge *e, struct exchange *x)
{
    struct buf out;
    buf_init(&out, 0);
    buf_printf(&out,
               "{\"version\":\"%s\",\"pid\":%d,\"uptime_s\":%llu,\"workers\":%u,"
               "\"poller\":\"%s\",\"state\":\"%s\",\"connections\":%lld,\"accepted\":%lld,"
               "\"received_bytes\":%lld,\"sent_bytes\":%lld,\"memory_bytes\":%llu,"
               "\"hosts\":%zu,\"log_level\":\"%s\",\"listen\":[",
               SWS_VERSION, (int)getpid(),
               (unsigned long long)((clock_monotonic_ns() - e->start_ns) / NS_PER_S),
               e->worker_count, loop_poller_name(e->workers[0].loop),
               e->is_draining              ? "draining"
               : atomic_load(&e->is_ready) ? "serving"
                                           : "starting",
               (long long)metrics_get(e->metrics, METRICS_CONN_ACTIVE),
               (long long)metrics_get(e->metrics, METRICS_CONN_ACCEPTED),
               (long long)metrics_get(e->metrics, METRICS_BYTES_IN),
               (long long)metrics_get(e->metrics, METRICS_BYTES_OUT),
               (unsigned long long)process_memory_bytes(), e->site->host_count,
               log_level_name(log_get_level(e->log)));
    admin_listens(e, &out);
    admin_certificates(e, &out);
    buf_add_str(&out, STR("],\"endpoints\":["));
    site_write_endpoints_json(e->site, clock_monotonic_ns() / NS_PER_MS, &out);
    buf_add_str(&out, STR("],\"processes\":["));
    edge_write_processes_json(e, &out);
    buf_printf(&out, "],\"reload\":{\"count\":%llu,\"state\":\"%s\",\"error\":\"",
               (unsigned long long)e->reload_count,
               e->reload_state == 2   ? "failed"
               : e->reload_state == 1 ? "ok"
                                      : "none");
    escape_json(&out, str_of(e->reload_state == 2 ? e->reload_error : ""));
    buf_add_str(&out, STR("\"}}\n"));
    admin_answer_buf(x, STR("application/json"), &out);
}

static void admin_metrics(const struct edge *e, struct buf *out)
{
    metrics_write_prometheus(e->metrics, out);
    site_write_endpoints_prometheus(e->site, clock_monotonic_ns() / NS_PER_MS, out);
    edge_write_processes_prometheus(e, out);
}

static void admin_level(struct edge *e, struct exchange *x)
{
    struct str query = x->request->query;
    enum log_level level;
    if (!str_starts_with(query, STR("level=")) ||
        log_level_parse(str_sub(query, 6, query.n), &level) != ERR_OK) {
        admin_say(x, 400, "level must be debug, info, notice, warn, error or off");
        return;
    }
    log_set_level(e->log, level);
    admin_say(x, 200, "the log level is changed");
}

static void admin_get(struct edge *e, struct exchange *x)
{
    struct str path = x->request->path;
    struct buf out;
    buf_init(&out, 0);
    if (str_eq(path, STR("/status"))) {
        admin_status(e, x);
    } else if (str_eq(path, STR("/metrics"))) {
        admin_metrics(e, &out);
        admin_answer_buf(x, STR("text/plain; version=0.0.4; charset=utf-8"), &out);
    } else if (str_eq(path, STR("/metrics.json"))) {
        metrics_write_json(e->metrics, &out);
        admin_answer_buf(x, STR("application/json"), &out);
    } else if (str_eq(path, STR("/config"))) {
        conf_print_effective(e->site->settings, true, &out);
        admin_answer_buf(x, STR("application/yaml"), &out);
    } else if (str_eq(path, STR("/livez"))) {
        admin_answer(x, 200, STR("text/plain; charset=utf-8"), STR("ok\n"));
    } else if (str_eq(path, STR("/readyz"))) {
        bool is_ready = atomic_load(&e->is_ready);
        admin_answer(x, is_ready ? 200 : 503, STR("text/plain; charset=utf-8"),
                     is_ready ? STR("ok\n") : STR("not ready\n"));
    } else {
        admin_say(x, 404, "there is /status, /metrics, /metrics.json, /config, /livez, /readyz");
    }
}

static void admin_on_waiter_end(struct exchange *x, enum err cause)
{
    struct edge *e = x->state;
    (void)cause;
    for (unsigned i = 0; i < e->reload_waiter_count; i++) {
        if (e->reload_waiters[i] == x) {
            e->reload_waiters[i] = e->reload_waiters[--e->reload_waiter_count];
            return;
        }
    }
}

/* Answered when the reload is done. */
static const struct exchange_service admin_waiter_service = {.on_body = admin_on_body,
                                                             .on_end = admin_on_waiter_end};

static void admin_reload(struct edge *e, struct exchange *x)
{
    if (e->is_draining) {
        admin_say(x, 422, "this process is draining");
    } else if (e->reload_waiter_count == EDGE_RELOAD_WAITERS_MAX) {
        admin_say(x, 503, "too many wait for a reload already");
    } else {
        e->reload_waiters[e->reload_waiter_count++] = x;
        exchange_serve(x, &admin_waiter_service, e);
        edge_ask(e, CONTROL_ASK_RELOAD);
    }
}

void admin_reloaded(struct edge *e, bool is_done, const char *text)
{
    while (e->reload_waiter_count) {
        struct exchange *x = e->reload_waiters[--e->reload_waiter_count];
        admin_say(x, is_done ? 200 : 422, text);
    }
}

static void admin_drain(struct edge *e, struct exchange *x, bool is_drained)
{
    struct buf text;
    buf_init(&text, 0);
    enum err err = edge_drain_endpoint(e, x->request->query, is_drained, &text);
    buf_add_char(&text, '\0');
    admin_say(x,
              err == ERR_NOT_FOUND                 ? 404
              : err == ERR_SYNTAX                  ? 400
              : err == ERR_NOMEM || text.is_failed ? 503
                                                   : 200,
              text.is_failed ? "out of memory" : text.p);
    buf_done(&text);
}

static void admin_on_restart_end(struct exchange *x, enum err cause)
{
    (void)cause;
    edge_runner_forget(x->state, x);
}

/* Answered when the new instances serve. */
static const struct exchange_service admin_restart_service = {.on_body = admin_on_body,
                                                              .on_end = admin_on_restart_end};

static void admin_restart(struct edge *e, struct exchange *x)
{
    struct str query = x->request->query;
    struct buf name;
    const char *fault = "process=NAME is due here";
    if (!str_starts_with(query, STR("process="))) {
        admin_say(x, 400, fault);
        return;
    }
    buf_init(&name, 0);
    for (size_t at = 8; at < query.n;) {
        buf_add_char(&name, str_query_byte(query, &at));
    }
    exchange_serve(x, &admin_restart_service, e);
    if (!edge_restart_process(e, buf_str(&name), x, &fault)) {
        admin_say(x, 422, fault);
    }
    buf_done(&name);
}

static void admin_post(struct edge *e, struct exchange *x)
{
    struct str path = x->request->path;
    if (str_eq(path, STR("/reload"))) {
        admin_reload(e, x);
    } else if (str_eq(path, STR("/stop"))) {
        edge_ask(e, CONTROL_ASK_STOP);
        admin_say(x, 202, "stopping");
    } else if (str_eq(path, STR("/upgrade"))) {
        edge_ask(e, CONTROL_ASK_UPGRADE);
        admin_say(x, 202, "upgrading");
    } else if (str_eq(path, STR("/restart"))) {
        admin_restart(e, x);
    } else if (str_eq(path, STR("/log/reopen"))) {
        enum err err = log_reopen(e->log);
        edge_ask(e, CONTROL_REOPEN);
        if (e->writer) {
            writer_reopen(e->writer);
        }
        admin_say(x, err ? 500 : 200, err ? err_text(err) : "log files are opened again");
    } else if (str_eq(path, STR("/log/level"))) {
        admin_level(e, x);
    } else if (str_eq(path, STR("/drain")) || str_eq(path, STR("/undrain"))) {
        admin_drain(e, x, str_eq(path, STR("/drain")));
    } else {
        admin_say(
            x, 404,
            "there is /reload, /stop, /upgrade, /restart?process=, /log/reopen, /log/level?level=, "
            "/drain?backend=&endpoint=, /undrain?backend=&endpoint=");
    }
}

static void admin_on_exchange(void *context, struct exchange *x)
{
    struct edge *e = context;
    exchange_serve(x, &admin_service, NULL);
    /* A page in a browser can reach a local address but not without these fields. */
    if (http_fields_get(&x->request->fields, HTTP_FIELD_ORIGIN) ||
        http_fields_get(&x->request->fields, HTTP_FIELD_SEC_FETCH_SITE)) {
        admin_say(x, 403, "browsers are not served here");
    } else if (x->request->method == HTTP_GET || x->request->method == HTTP_HEAD) {
        admin_get(e, x);
    } else if (x->request->method == HTTP_POST) {
        admin_post(e, x);
    } else {
        admin_say(x, 405, "GET or POST");
    }
}

static void admin_on_metrics_exchange(void *context, struct exchange *x)
{
    struct edge *e = context;
    exchange_serve(x, &admin_service, NULL);
    bool is_read = x->request->method == HTTP_GET || x->request->method == HTTP_HEAD;
    if (is_read && str_eq(x->request->path, e->site->settings->metrics.path)) {
        struct buf out;
        buf_init(&out, 0);
        admin_metrics(e, &out);
        admin_answer_buf(x, STR("text/plain; version=0.0.4; charset=utf-8"), &out);
    } else {
        admin_say(x, 404, "only the metrics are here");
    }
}

/* The admin's own connections are not counted among those of the sites. */
static void admin_on_refused(void *context, const struct exchange_peer *peer, unsigned reason,
                             unsigned status)
{
    (void)context;
    (void)peer;
    (void)reason;
    (void)status;
}

static void admin_on_limit(void *context, enum server_limit limit)
{
    (void)context;
    (void)limit;
}

static void admin_on_connection(void *context, int change)
{
    (void)context;
    (void)change;
}

static void admin_on_bytes(void *context, uint64_t in, uint64_t out)
{
    (void)context;
    (void)in;
    (void)out;
}

struct server_hooks admin_hooks(struct edge *e)
{
    return (struct server_hooks){
        .on_exchange = admin_on_exchange,
        .on_refused = admin_on_refused,
        .on_limit = admin_on_limit,
        .on_connection = admin_on_connection,
        .on_bytes = admin_on_bytes,
        .context = e,
    };
}

struct server_hooks admin_metrics_hooks(struct edge *e)
{
    struct server_hooks hooks = admin_hooks(e);
    hooks.on_exchange = admin_on_metrics_exchange;
    return hooks;
}
