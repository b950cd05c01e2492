/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "app/control.h"
#include "app/edge_certs.h"
#include "app/edge_role.h"
#include "conf/settings.h"
#include "crypto/client_hello.h"
#include "edge/discover.h"
#include "edge/health.h"
#include "edge/members.h"
#include "edge/pipeline.h"
#include "issuer/issuer.h"
#include "log/log.h"
#include "loop/loop.h"
#include "net/quic_endpoint.h"
#include "net/server.h"

#define EDGE_WORKERS_MAX 256
#define EDGE_LISTENS_MAX 128
#define EDGE_RELOAD_WAITERS_MAX 16
#define EDGE_RELAYS_MAX 8
#define EDGE_DEMANDS_MAX 16
#define WORKER_DEMANDED_MAX 256
#define WORKER_LISTENERS_MAX 1024 /* as many sockets as the supervisor keeps */

struct edge;
struct edge_runner;

/* One address of the configuration and its sockets: with SO_REUSEPORT at least one per worker, each
 * of one worker; otherwise one that all share. */
struct edge_listen {
    struct control_address asked;
    uint32_t fd_count;
    int fds[EDGE_WORKERS_MAX];
    bool is_tls;
    bool is_datagram; /* UDP: HTTP/3, or those of a stream */
    bool is_wanted;   /* by the configuration that is being applied */
    uint32_t stream;  /* of the settings, counted from 1; 0: it speaks HTTP */
};

/* What a reload gives to every worker at once. The last worker to apply it frees it. */
struct edge_change {
    struct edge *edge;
    struct site *site;
    struct server_limits limits;
    struct writer *writer; /* NULL = no access log */
    struct writer *old_writer;
    struct certificate_store *certificates;
    uint16_t https_port; /* 0 = none */
    uint16_t h3_port;    /* the same */
    int challenge_root;
    int alpn_root;
    atomic_uint left;
    uint32_t listen_count;
    struct edge_listen *listens; /* a copy of the set to listen on */
};

struct worker_listener {
    struct listener *listener;
    int fd;
    bool is_tls;
    bool is_wanted;
    uint32_t stream; /* as edge_listen */
};

struct worker_flows; /* a socket of a stream of datagrams, edge_flows.c */

struct worker_endpoint {
    struct quic_endpoint *endpoint;
    int fd;
    bool is_wanted;
};

/* Names for which a certificate was wanted (edge_demand.c). */
struct demanded_name {
    uint64_t mark; /* of the name; 0 = none */
    uint64_t until_ms;
};

struct worker_demands {
    struct demanded_name names[WORKER_DEMANDED_MAX]; /* direct-mapped */
    unsigned tokens;
    uint64_t at_ms;
};

/* One on its way from a worker to the control thread. */
struct edge_demand {
    atomic_bool is_used;
    size_t name_bytes;
    char name[CLIENT_HELLO_NAME_BYTES_MAX];
};

struct worker {
    struct edge *edge;
    unsigned index;
    pthread_t thread;
    struct loop *loop;
    struct server *server;
    struct pipeline pipeline;
    struct timer tick;
    struct worker_listener listeners[WORKER_LISTENERS_MAX];
    uint32_t listener_count;
    struct worker_endpoint endpoints[EDGE_LISTENS_MAX];
    uint32_t endpoint_count;
    struct worker_flows *flows; /* a list */
    struct worker_demands demands;
};

struct edge {
    const struct edge_options *options;
    struct loop *loop; /* of the control thread */
    struct loop_watch channel;
    struct log *log;
    struct metrics *metrics;
    struct writer *writer;
    struct site *site;
    struct health *health;     /* checks of the endpoints of `site` */
    struct discover *discover; /* who says what they are */
    uint64_t window_end_ms;    /* see outlier.h */
    bool has_sticky_key;
    struct edge_certs certs;
    struct certificate_store *certificates; /* in force */
    struct ticket_keys *ticket_keys;
    struct replay_window *replay_window;
    uint8_t quic_secret[QUIC_SECRET_BYTES]; /* of tokens; the next edge gets it as well */
    uint8_t generation;                     /* of this process among the edges */
    int relay;                              /* brings datagrams that others received, -1 = none */
    struct loop_watch relay_watch;
    struct {
        uint8_t generation;
        int fd;
    } relays[EDGE_RELAYS_MAX]; /* of the edges before this one that were alive when it began */
    unsigned relay_count;
    bool is_successor; /* the seeds of tickets came from an edge before */
    struct timer renewal;
    int challenge_root; /* see pipeline.h; -1 = none needed so far */
    int alpn_root;
    uint64_t issuer_task_hash; /* of what the issuer was told; 0 = nothing, UINT64_MAX = unknown */
    bool is_issued;            /* new certificates came while a change was under way */
    struct server *admin;
    struct listener *admin_listener;
    struct server *metrics_server; /* where `metrics.listen` asks for one */
    struct worker *workers;
    unsigned worker_count;
    struct edge_listen listens[EDGE_LISTENS_MAX];
    uint32_t listen_count;
    bool wants_quic; /* the configuration that is being applied */
    struct {
        struct control_message message;
        int fd;
    } deferred[16]; /* came while waiting for CONTROL_BOUND */
    unsigned deferred_count;
    struct timer tick;
    struct timer drain_end;
    uint64_t start_ns;
    uint64_t reload_count;
    int64_t reload_state; /* of METRICS_RELOAD_STATE */
    char reload_error[2048];
    struct exchange *reload_waiters[EDGE_RELOAD_WAITERS_MAX]; /* of the admin socket */
    unsigned reload_waiter_count;
    int next_config; /* came while a change was under way, -1 = none */
    int next_files;  /* the same, of certificates */
    bool has_watcher;
    struct edge_runner *runner;
    struct edge_demand demands[EDGE_DEMANDS_MAX];
    uint64_t refused_file_count;
    unsigned drained_count;
    bool is_draining;
    bool is_changing; /* a change is under way in the workers */
    atomic_bool is_ready;
    int exit_code;
};

/* edge_worker.c */
enum err worker_init(struct worker *w, struct edge *edge, unsigned index) MUST_CHECK;
void worker_done(struct worker *w);
void *worker_main(void *worker);
void worker_on_change(void *worker, uint64_t change); /* loop message: struct edge_change * */
void worker_on_drain(void *worker, uint64_t idle_ms);
void worker_on_stop(void *worker, uint64_t unused);

/* Lets the server of the worker speak TLS. */
enum err worker_begin_tls(struct worker *w) MUST_CHECK;

/* edge_quic.c */
/* edge_flows.c: as the next two, for streams of datagrams. */
void worker_listen_flows(struct worker *w, int fd, uint32_t stream);
void worker_unwant_flows(struct worker *w);
void worker_close_flows(struct worker *w, bool is_all);
void worker_rest_flows(struct worker *w);

void worker_listen_quic(struct worker *w, int fd, const struct server_limits *limits);
/* Closes the endpoints that are no longer wanted, or all, and their connections. */
void worker_close_quic(struct worker *w, bool is_all);

/* Gives a datagram to a worker of this process. False: there is no such worker. */
bool edge_pass_datagram(struct edge *e, unsigned loop_index, const struct datagram *d);

/* edge_relay.c: takes over `fd`, see CONTROL_RELAY. */
void edge_relay_add(struct edge *e, uint8_t generation, int fd);
/* Gives a datagram to the edge that made the connection. False: it is gone. */
bool edge_relay_send(const struct edge *e, struct quic_owner owner, const struct datagram *d);
/* Takes, on the loop of `w`, what others give. */
enum err edge_relay_listen(struct worker *w) MUST_CHECK;

/* Whether the configuration names the protocol. */
bool edge_speaks(const struct settings *s, enum protocol_choice protocol);

/* Derived from settings, for one of `worker_count`. */
struct server_limits edge_limits(const struct settings *s, unsigned worker_count);

/* edge_tickets.c: takes over what an edge before kept, or begins anew. The first thing that is read
 * from the supervisor. */
enum err edge_start_tickets(struct edge *e) MUST_CHECK;

/* edge_sockets.c: gets the sockets of `a` from the supervisor, at least `count`. */
enum err edge_bind(struct edge *e, const struct control_address *a, int inherited, uint32_t count,
                   struct edge_listen *ret) MUST_CHECK;
void edge_inet_address(const struct listen_address *l, struct socket_address *ret);

/* Binds what is new; what is no longer wanted stays marked. On failure nothing is added. */
enum err edge_listen_all(struct edge *e, const struct settings *s, bool is_start) MUST_CHECK;
void edge_release_unwanted(struct edge *e);

/* edge_config.c: `record` is what the reader sent; NULL: the files themselves. */
enum err edge_load(struct edge *e, const struct str *record, struct site **ret_site) MUST_CHECK;
enum err edge_open_writer(struct edge *e, const struct settings *s, struct writer **ret) MUST_CHECK;
enum log_level edge_log_level(enum conf_log_level level);
enum err edge_post_change(struct edge *e, struct writer *old_writer) MUST_CHECK;
/* The certificates for `site`; what is wrong stands in reload_error. */
enum err edge_make_certificates(struct edge *e, const struct site *site,
                                struct certificate_store **ret_store) MUST_CHECK;
/* Gives issued certificates that grow old a successor. */
void edge_renew_certificates(struct edge *e);
/* Takes what the issuer has got. */
void edge_take_certificates(struct edge *e);
void edge_on_applied(void *edge, uint64_t change); /* loop message of the last worker */

/* Applies the configuration in `fd` (taken), or says that `error` kept it from being read. */
void edge_reload(struct edge *e, enum err error, int fd);

/* edge_backends.c: once a second. */
void edge_watch_backends(struct edge *e);
/* discover_fn */
void edge_on_discovered(void *edge, struct str backend, const struct member *list, size_t count);
/* What the site in force has is checked, and followed, from here on. */
void edge_check_backends(struct edge *e);
/* site_publish_members for the site in force, whose endpoints are checked from then on. */
enum err edge_publish_members(struct edge *e, struct str backend, const struct member *list,
                              size_t count, struct fault *reterr_fault) MUST_CHECK;

/* Lets cookies of `settings` that name endpoints outlive the process: to be called before a site is
 * made from them, while rights are there to write. Where they cannot, it says so. */
void edge_prepare_sticky(struct edge *e, const struct settings *settings);

/* Takes an endpoint out, or back in: what the query of a request to the admin socket names. Says in
 * `text` how that went. ERR_SYNTAX: the query; ERR_NOT_FOUND: there is no such one; ERR_NOMEM. */
enum err edge_drain_endpoint(struct edge *e, struct str query, bool is_drained,
                             struct buf *text) MUST_CHECK;

/* edge_files.c: begins with the files of the site in force, or ends watching any. */
void edge_watch_files(struct edge *e);
/* Takes what the watcher read (`fd` is taken). */
void edge_take_files(struct edge *e, int fd);

/* edge_runner.c */
enum err edge_runner_create(struct edge *e) MUST_CHECK;
void edge_runner_destroy(struct edge *e);
/* Says whether the site in force has processes, and that they may be others now. */
void edge_run_processes(struct edge *e);
/* Takes what the runner tells (`fd` is taken). */
void edge_take_report(struct edge *e, int fd);
/* Gives the backends of the site in force the instances that are ready. */
void edge_apply_report(struct edge *e);
/* Asks for other instances of a process; `x` is answered when they serve, or do not. False, with a
 * reason: it is not. */
bool edge_restart_process(struct edge *e, struct str name, struct exchange *x,
                          const char **ret_fault);
void edge_runner_forget(struct edge *e, const struct exchange *x);
/* Who waits is told that we end. */
void edge_runner_drain(struct edge *e);
/* Items of a JSON list, and lines for Prometheus. */
void edge_write_processes_json(const struct edge *e, struct buf *out);
void edge_write_processes_prometheus(const struct edge *e, struct buf *out);

/* edge_demand.c */
void worker_on_demand(void *worker, struct str name); /* hook of the pipeline */
void edge_on_demand(void *edge, uint64_t index);      /* loop message */

/* edge_issuer.c: what `host` needs of a public authority; false: nothing. Views of the host. */
bool edge_issuer_set(const struct site_host *host, struct task_set *ret_set);
/* Makes the folders that `site` needs; what is wrong stands in reload_error. */
enum err edge_issuer_prepare(struct edge *e, const struct site *site) MUST_CHECK;
/* Tells the issuer what the site in force needs, where that changed. */
void edge_issuer_update(struct edge *e);
void edge_issuer_say_waiting(const struct edge *e);

/* admin.c: answers with a sentence. */
void admin_say(struct exchange *x, uint16_t status, const char *text);

/* admin.c: tells those who wait for a reload how it went. */
void admin_reloaded(struct edge *e, bool is_done, const char *text);

/* edge_role.c */
void edge_on_drained(void *edge, uint64_t worker_index);

/* Asks the supervisor. */
void edge_ask(struct edge *e, enum control_kind kind);

/* admin.c */
struct server_hooks admin_hooks(struct edge *e);
struct server_hooks admin_metrics_hooks(struct edge *e);
