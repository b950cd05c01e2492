/* SPDX-License-Identifier: Apache-2.0 */
#include "app/command.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/edge_role.h"
#include "app/issuer_role.h"
#include "app/ledger_command.h"
#include "app/reader.h"
#include "app/runner_role.h"
#include "app/state_dir.h"
#include "app/status_text.h"
#include "app/supervisor.h"
#include "app/trust.h"
#include "app/watcher.h"
#include "base/assert.h"
#include "base/str.h"
#include "conf/settings.h"
#include "edge/dns_hint.h"
#include "edge/explain.h"
#include "edge/site.h"
#include "http/head.h"
#include "os/socket.h"
#include "runner/check.h"

#define CONFIG_DEFAULT "sws.yaml"
#define CONFIG_SYSTEM "/etc/selenia/sws.yaml"
#define PORT_USUAL UINT32_MAX
#define SERVE_PORT 8080
#define SERVE_PORT_HTTPS 8443

static const char help_text[] =
    "sws - Selenia, a web server that keeps shared state\n"
    "\n"
    "USAGE\n"
    "  sws COMMAND [OPTIONS]\n"
    "\n"
    "COMMANDS\n"
    "  serve DIR        serve the files below DIR, no configuration needed\n"
    "  start            serve what the configuration says, in the foreground\n"
    "  stop             finish what is under way, then end\n"
    "  reload           read the configuration again; no connection is closed, and a\n"
    "                   configuration that is wrong changes nothing\n"
    "  upgrade          start the program on disk beside this one, hand over, drain\n"
    "  restart PROCESS  let new instances of a process take the place of those that run;\n"
    "                   no request is lost, and if they fail, nothing changes\n"
    "  status           show what runs\n"
    "  drain BACKEND ENDPOINT\n"
    "                   send an endpoint no more requests; those under way finish\n"
    "  undrain BACKEND ENDPOINT\n"
    "                   send it requests again\n"
    "  trust            let this machine trust the certificates that the server signs\n"
    "                   itself, for localhost and the like\n"
    "  check            load the configuration and print it in full, each value with\n"
    "                   the file and line it comes from\n"
    "  explain URL      show what would happen to a request, phase by phase, and why\n"
    "  ledger verify RECEIPT\n"
    "                   prove, without asking anyone, that a log has an entry\n"
    "  schema           print the JSON Schema of the configuration, for editors\n"
    "  reference        print the reference of the configuration as Markdown\n"
    "  completion       print completion rules for bash\n"
    "  version          print the version\n"
    "  help             print this\n"
    "\n"
    "OPTIONS\n"
    "  -c, --config FILE   the configuration; otherwise ./sws.yaml, then\n"
    "                      /etc/selenia/sws.yaml\n"
    "  -p, --port N        port of `serve` (8080; with --https 8443)\n"
    "      --https         `serve` speaks HTTPS; `sws trust` makes browsers content\n"
    "  -X, --method M      method of `explain` (GET)\n"
    "  -H, --header LINE   a field of its request, as often as wanted\n"
    "      --ip ADDRESS    who sends it (127.0.0.1)\n"
    "      --http2, --http3  what it comes by, otherwise HTTP/1.1\n"
    "      --admin PATH    admin socket of stop, reload, upgrade, restart, status, drain\n"
    "                      and undrain; otherwise the one that the configuration names\n"
    "      --quiet         `check`, `ledger verify`: print nothing when all is well\n"
    "      --json          `status`: print the answer of the admin socket;\n"
    "                      `ledger verify`: print what is proved as JSON;\n"
    "                      `explain`: print JSON\n"
    "      --key KEY       `ledger verify`: the verifier key of the log, or a file with it\n"
    "      --policy FILE   `ledger verify`: which witnesses must have signed, and which logs\n"
    "                      are trusted (C2SP tlog-policy)\n"
    "      --entry FILE    `ledger verify`: the entry that it must be\n"
    "\n"
    "SIGNALS\n"
    "  TERM, INT  stop (twice: at once)     HUP   reload\n"
    "  USR1       open the log files again  USR2  upgrade\n"
    "\n"
    "EXIT CODES\n"
    "  0   done              2   the configuration is wrong\n"
    "  1   it failed         64  the command line is wrong\n"
    "\n"
    "EXAMPLE\n"
    "  sws serve ./public --port 8080\n";

#define COMMAND_FIELDS_MAX 100

struct command_line {
    const char *program; /* absolute path */
    const char *command;
    const char *operand;
    const char *operand2;
    const char *config;
    const char *method;
    const char *ip;
    const char *fields[COMMAND_FIELDS_MAX];
    size_t field_count;
    uint8_t version; /* enum http_version */
    const char *resume;
    const char *handover;
    const char *admin;
    const char *key;
    const char *policy;
    const char *entry;
    uint32_t port; /* PORT_USUAL: not given */
    bool is_https;
    bool is_quiet;
    bool is_json;
};

static int command_usage(const char *format, const char *what, const char *nearest)
{
    fprintf(stderr, "sws: ");
    fprintf(stderr, format, what);
    if (nearest) {
        fprintf(stderr, " Did you mean \"%s\"?", nearest);
    }
    fprintf(stderr, "\nTry: sws help\n");
    return EXIT_CODE_USAGE;
}

/* ---- loading ---- */

static const char *command_config(const struct command_line *line)
{
    if (line->config) {
        return line->config;
    }
    return access(CONFIG_DEFAULT, F_OK) != 0 && access(CONFIG_SYSTEM, F_OK) == 0 ? CONFIG_SYSTEM
                                                                                 : CONFIG_DEFAULT;
}

static void command_print(struct buf *out, FILE *to)
{
    fwrite(out->p ? out->p : "", 1, out->n, to);
    fflush(to);
    buf_done(out);
}

static int command_load(const struct command_line *line, struct settings **ret)
{
    struct diag_list diags;
    const char *path = command_config(line);
    diag_list_init(&diags);
    enum err e = settings_load(&path, 1, NULL, ret, &diags);
    if (e) {
        struct buf text;
        buf_init(&text, 0);
        diag_list_print(&diags, &text);
        command_print(&text, stderr);
    }
    diag_list_done(&diags);
    return e ? EXIT_CODE_CONFIG : EXIT_CODE_OK;
}

static int command_load_site(const struct command_line *line, struct site **ret)
{
    struct settings *settings;
    struct diag_list diags;
    int code = command_load(line, &settings);
    if (code) {
        return code;
    }
    diag_list_init(&diags);
    enum err e = site_create(settings, NULL, ret, &diags);
    if (e) {
        struct buf text;
        buf_init(&text, 0);
        diag_list_print(&diags, &text);
        command_print(&text, stderr);
        settings_destroy(settings);
    }
    diag_list_done(&diags);
    return e ? EXIT_CODE_CONFIG : EXIT_CODE_OK;
}

/* ---- serving ---- */

static int command_supervise(const struct command_line *line)
{
    char port[8];
    const char *argv[10] = {line->program, ""};
    unsigned n = 2;
    if (line->operand) {
        snprintf(port, sizeof(port), "%u", line->port);
        if (line->is_https) {
            argv[n++] = "--https";
        }
        argv[n++] = "--serve";
        argv[n++] = line->operand;
        argv[n++] = "--port";
        argv[n++] = port;
    } else {
        argv[n++] = "--config";
        argv[n++] = command_config(line);
    }
    argv[n] = NULL;
    const struct supervisor_options options = {
        .program = line->program, .argv = argv, .resume = line->resume};
    return supervisor_run(&options);
}

static int command_start(const struct command_line *line)
{
    if (line->operand) {
        return command_usage("start takes no \"%s\".", line->operand, NULL);
    }
    return command_supervise(line);
}

static int command_trust(const struct command_line *line)
{
    const char *path = command_config(line);
    struct settings *settings = NULL;
    bool has_config = line->config || access(path, F_OK) == 0;
    int code = has_config ? command_load(line, &settings) : EXIT_CODE_OK;
    if (!code) {
        code = trust_install(settings ? settings->server.state : (struct str){NULL, 0});
    }
    settings_destroy(settings);
    return code;
}

static int command_serve(const struct command_line *line)
{
    if (!line->operand) {
        return command_usage("%s needs a directory, for example: sws serve ./public", "serve",
                             NULL);
    }
    return command_supervise(line);
}

static int command_edge(const struct command_line *line)
{
    const struct edge_options options = {
        .config = line->config,
        .directory = line->operand,
        .port = (uint16_t)line->port,
        .is_https = line->is_https,
    };
    return edge_run(&options);
}

static int command_issuer(const struct command_line *line)
{
    (void)line;
    return issuer_run();
}

static int command_runner(const struct command_line *line)
{
    return runner_run(line->program, line->config, line->handover);
}

static int command_watcher(const struct command_line *line)
{
    return watcher_run(line->config);
}

static int command_reader(const struct command_line *line)
{
    return reader_run(line->operand ? NULL : line->config);
}

/* ---- talking to a running server ---- */

static int command_connect(const struct command_line *line, int *ret_fd)
{
    struct settings *settings = NULL;
    struct socket_address address;
    struct str path = str_of(line->admin);
    if (!line->admin) {
        int code = command_load(line, &settings);
        if (code) {
            fprintf(stderr, "To reach a server while its configuration is wrong: --admin PATH\n");
            return code;
        }
        bool has_socket = settings->server.admin.kind == LISTEN_UNIX;
        path = has_socket ? settings->server.admin.path : STR("");
    }
    enum err e = socket_address_unix(path, &address);
    if (e) {
        fprintf(stderr, "sws: there is no admin socket (server.admin, or --admin PATH).\n");
    } else {
        e = socket_connect(&address, ret_fd);
        if (e) {
            fprintf(stderr, "sws: no server answers on " STR_FMT ": %s.\n", STR_ARG(path),
                    err_text(e));
        }
    }
    settings_destroy(settings);
    return e ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int command_ask(const struct command_line *line, const char *method, const char *path,
                       struct buf *ret_body)
{
    int fd;
    int code = command_connect(line, &fd);
    if (code) {
        return code;
    }
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "%s %s HTTP/1.0\r\nHost: admin\r\nContent-Length: 0\r\n\r\n", method, path);
    bool is_sent = write(fd, b.p, b.n) == (ssize_t)b.n;
    buf_clear(&b);
    ssize_t got = is_sent ? 1 : -1;
    while (got > 0 && buf_reserve(&b, 4096)) {
        got = read(fd, b.p + b.n, 4096);
        b.n += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    const char *body = b.n ? memmem(b.p, b.n, "\r\n\r\n", 4) : NULL;
    if (!body || b.n < 12) {
        fprintf(stderr, "sws: the server broke off.\n");
        buf_done(&b);
        return EXIT_CODE_FAILED;
    }
    bool is_good = b.p[9] == '2';
    buf_add(ret_body, body + 4, b.n - (size_t)(body + 4 - b.p));
    buf_done(&b);
    return is_good ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static int command_tell(const struct command_line *line, const char *path)
{
    struct buf body, text;
    buf_init(&body, 0);
    buf_init(&text, 0);
    int code = command_ask(line, "POST", path, &body);
    if (body.n) {
        status_text_member(buf_str(&body), "message", &text);
        buf_add_char(&text, '\n');
        command_print(&text, code ? stderr : stdout);
    }
    buf_done(&body);
    return code;
}

static int command_stop(const struct command_line *line)
{
    return command_tell(line, "/stop");
}

static int command_reload(const struct command_line *line)
{
    return command_tell(line, "/reload");
}

static int command_upgrade(const struct command_line *line)
{
    return command_tell(line, "/upgrade");
}

/* The words of the command line as they may stand in a query. */
static void command_add_query(struct buf *out, const char *name, const char *value)
{
    static const char digits[] = "0123456789ABCDEF";
    buf_printf(out, "%s=", name);
    for (const char *p = value; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (ascii_is_alpha(*p) || ascii_is_digit(*p) || c == '.' || c == '-' || c == '_') {
            buf_add_char(out, *p);
        } else {
            buf_add_char(out, '%');
            buf_add_char(out, digits[c >> 4]);
            buf_add_char(out, digits[c & 15]);
        }
    }
}

static int command_restart(const struct command_line *line)
{
    struct buf path;
    if (!line->operand) {
        return command_usage("%s needs the name of a process, see: sws status", "restart", NULL);
    }
    buf_init(&path, 0);
    command_add_query(&path, "/restart?process", line->operand);
    buf_add_char(&path, '\0');
    int code = path.is_failed ? EXIT_CODE_FAILED : command_tell(line, path.p);
    buf_done(&path);
    return code;
}

static int command_drain(const struct command_line *line)
{
    struct buf path;
    if (!line->operand || !line->operand2) {
        return command_usage("%s needs a backend and an endpoint, as `sws status` shows them.",
                             line->command, NULL);
    }
    buf_init(&path, 0);
    buf_printf(&path, "/%s?", line->command);
    command_add_query(&path, "backend", line->operand);
    command_add_query(&path, "&endpoint", line->operand2);
    buf_add_char(&path, '\0');
    int code = path.is_failed ? EXIT_CODE_FAILED : command_tell(line, path.p);
    buf_done(&path);
    return code;
}

static int command_status(const struct command_line *line)
{
    struct buf body, text;
    buf_init(&body, 0);
    int code = command_ask(line, "GET", "/status", &body);
    if (code || line->is_json) {
        command_print(&body, stdout);
        return code;
    }
    buf_init(&text, 0);
    status_text(&body, &text);
    command_print(&text, stdout);
    buf_done(&body);
    return code;
}

/* ---- looking at a configuration ---- */

/* A program that is not there stops its own host alone, so that only `check` refuses it. */
static int command_check_processes(const struct settings *settings)
{
    struct diag_list diags;
    diag_list_init(&diags);
    enum err e = runner_check(settings, &diags);
    if (e) {
        struct buf text;
        buf_init(&text, 0);
        diag_list_print(&diags, &text);
        command_print(&text, stderr);
    }
    diag_list_done(&diags);
    return e ? EXIT_CODE_CONFIG : EXIT_CODE_OK;
}

static int command_check(const struct command_line *line)
{
    struct site *site;
    int code = command_load_site(line, &site);
    if (code) {
        return code;
    }
    code = command_check_processes(site->settings);
    if (!line->is_quiet && !code) {
        struct buf out;
        buf_init(&out, 0);
        conf_print_effective(site->settings, true, &out);
        dns_hint_print(site, &out);
        command_print(&out, stdout);
    }
    site_unref(site);
    return code;
}

static int command_explain(const struct command_line *line)
{
    struct site *site;
    if (!line->operand) {
        return command_usage("%s needs a URL, for example: sws explain http://localhost/a",
                             "explain", NULL);
    }
    struct str url = str_of(line->operand);
    ptrdiff_t scheme = 0;
    const char *mark = strstr(line->operand, "://");
    if (mark) {
        scheme = mark + 3 - line->operand;
    }
    struct str rest = str_sub(url, (size_t)scheme, url.n);
    ptrdiff_t slash = str_index(rest, '/');
    struct str host = slash < 0 ? rest : str_sub(rest, 0, (size_t)slash);
    struct str target = slash < 0 ? STR("/") : str_sub(rest, (size_t)slash, rest.n);
    int code = command_load_site(line, &site);
    if (code) {
        return code;
    }
    const struct explain_request request = {
        .method = str_of(line->method),
        .host = host,
        .target = target,
        .fields = line->fields,
        .field_count = line->field_count,
        .ip = str_of(line->ip),
        .version = line->version,
        .is_tls = str_starts_with(url, STR("https://")) || line->version == HTTP_VERSION_30,
    };
    struct buf out;
    buf_init(&out, 0);
    enum err e = explain_run(site, &request, line->is_json, &out);
    site_unref(site);
    if (e) {
        buf_done(&out);
        if (e == ERR_SYNTAX) {
            return command_usage("%s: the address or a field is malformed.", "explain", NULL);
        }
        fprintf(stderr, "sws: explain: %s\n", err_text(e));
        return EXIT_CODE_FAILED;
    }
    command_print(&out, stdout);
    return EXIT_CODE_OK;
}

static int command_ledger(const struct command_line *line)
{
    if (!line->operand || strcmp(line->operand, "verify") != 0) {
        return command_usage("%s knows one command: sws ledger verify RECEIPT --key KEY", "ledger",
                             NULL);
    }
    if (!line->operand2 || (!line->key && !line->policy)) {
        return command_usage(
            "%s needs a receipt, and the log's key or a policy, for example: "
            "sws ledger verify a.tlog-proof --key example.com/log+33d7b496+AeHT...",
            "ledger verify", NULL);
    }
    const struct ledger_verify_options options = {
        .receipt = line->operand2,
        .key = line->key,
        .policy = line->policy,
        .entry = line->entry,
        .is_quiet = line->is_quiet,
        .is_json = line->is_json,
    };
    return ledger_verify(&options);
}

static int command_generate(void (*generate)(struct buf *out))
{
    struct buf out;
    buf_init(&out, 0);
    generate(&out);
    bool is_failed = out.is_failed;
    command_print(&out, stdout);
    return is_failed ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int command_schema(const struct command_line *line)
{
    (void)line;
    return command_generate(conf_json_schema);
}

static int command_reference(const struct command_line *line)
{
    (void)line;
    return command_generate(conf_reference_markdown);
}

static int command_completion(const struct command_line *line)
{
    static const struct conf_command known[] = {
        {"serve", "--port --https", CONF_ARGUMENT_DIRECTORY},
        {"start", "--config", CONF_ARGUMENT_NONE},
        {"stop", "--config --admin", CONF_ARGUMENT_NONE},
        {"reload", "--config --admin", CONF_ARGUMENT_NONE},
        {"upgrade", "--config --admin", CONF_ARGUMENT_NONE},
        {"restart", "--config --admin", CONF_ARGUMENT_NONE},
        {"status", "--config --admin --json", CONF_ARGUMENT_NONE},
        {"drain", "--config --admin", CONF_ARGUMENT_NONE},
        {"undrain", "--config --admin", CONF_ARGUMENT_NONE},
        {"trust", "--config", CONF_ARGUMENT_NONE},
        {"check", "--config --quiet", CONF_ARGUMENT_NONE},
        {"explain", "--config --method --header --ip --http2 --http3 --json", CONF_ARGUMENT_NONE},
        {"ledger", "--key --policy --entry --quiet --json", CONF_ARGUMENT_FILE},
        {"schema", "", CONF_ARGUMENT_NONE},
        {"reference", "", CONF_ARGUMENT_NONE},
        {"completion", "", CONF_ARGUMENT_NONE},
        {"version", "", CONF_ARGUMENT_NONE},
        {"help", "", CONF_ARGUMENT_NONE},
    };
    struct buf out;
    (void)line;
    buf_init(&out, 0);
    conf_completion_bash("sws", known, COUNT_OF(known), &out);
    command_print(&out, stdout);
    return EXIT_CODE_OK;
}

static int command_version(const struct command_line *line)
{
    (void)line;
    printf("sws %s (Selenia)\n", SWS_VERSION);
    return EXIT_CODE_OK;
}

static int command_help(const struct command_line *line)
{
    (void)line;
    fputs(help_text, stdout);
    return EXIT_CODE_OK;
}

/* ---- reading the command line ---- */

static const struct {
    const char *name;
    int (*run)(const struct command_line *line);
} commands[] = {
    {"serve", command_serve},         {"start", command_start},
    {"stop", command_stop},           {"reload", command_reload},
    {"upgrade", command_upgrade},     {"status", command_status},
    {"drain", command_drain},         {"undrain", command_drain},
    {"trust", command_trust},         {"check", command_check},
    {"explain", command_explain},     {"schema", command_schema},
    {"reference", command_reference}, {"completion", command_completion},
    {"version", command_version},     {"help", command_help},
    {"edge", command_edge},           {"reader", command_reader},
    {"issuer", command_issuer},       {"watcher", command_watcher},
    {"runner", command_runner},       {"restart", command_restart},
    {"ledger", command_ledger},
};

static const char *command_nearest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = 3;
    for (unsigned i = 0; i < COUNT_OF(commands); i++) {
        unsigned d = str_distance(str_of(name), str_of(commands[i].name));
        if (d < best_distance) {
            best_distance = d;
            best = commands[i].name;
        }
    }
    return best;
}

static bool command_takes_two(const char *name)
{
    return !strcmp(name, "drain") || !strcmp(name, "undrain") || !strcmp(name, "ledger");
}

static int command_options(int argc, char **argv, int first, struct command_line *line)
{
    for (int i = first; i < argc; i++) {
        const char *arg = argv[i];
        const char **into = NULL;
        const char *port = NULL;
        if (!strcmp(arg, "-c") || !strcmp(arg, "--config")) {
            into = &line->config;
        } else if (!strcmp(arg, "--serve")) {
            into = &line->operand;
        } else if (!strcmp(arg, "-X") || !strcmp(arg, "--method")) {
            into = &line->method;
        } else if (!strcmp(arg, "--ip")) {
            into = &line->ip;
        } else if (!strcmp(arg, "-H") || !strcmp(arg, "--header")) {
            if (line->field_count == COMMAND_FIELDS_MAX) {
                return command_usage("%s: that is one field too many.", arg, NULL);
            }
            into = &line->fields[line->field_count++];
        } else if (!strcmp(arg, "--http2")) {
            line->version = HTTP_VERSION_20;
        } else if (!strcmp(arg, "--http3")) {
            line->version = HTTP_VERSION_30;
        } else if (!strcmp(arg, "-p") || !strcmp(arg, "--port")) {
            into = &port;
        } else if (!strcmp(arg, "--handover")) {
            into = &line->handover;
        } else if (!strcmp(arg, "--admin")) {
            into = &line->admin;
        } else if (!strcmp(arg, "--key")) {
            into = &line->key;
        } else if (!strcmp(arg, "--policy")) {
            into = &line->policy;
        } else if (!strcmp(arg, "--entry")) {
            into = &line->entry;
        } else if (!strcmp(arg, "--quiet")) {
            line->is_quiet = true;
        } else if (!strcmp(arg, "--https")) {
            line->is_https = true;
        } else if (!strcmp(arg, "--json")) {
            line->is_json = true;
        } else if (!strcmp(arg, "-h") || !strcmp(arg, "--help")) {
            line->command = "help";
        } else if (arg[0] == '-' && arg[1]) {
            return command_usage("there is no option %s.", arg, NULL);
        } else if (!line->operand) {
            line->operand = arg;
        } else if (!line->operand2 && command_takes_two(line->command)) {
            line->operand2 = arg;
        } else {
            return command_usage("\"%s\" is one argument too many.", arg, NULL);
        }
        if (into) {
            if (i + 1 == argc) {
                return command_usage("%s needs a value.", arg, NULL);
            }
            *into = argv[++i];
        }
        uint64_t number;
        if (port && (str_to_u64(str_of(port), &number) != ERR_OK || number > UINT16_MAX)) {
            return command_usage("\"%s\" is no port (0 to 65535).", port, NULL);
        }
        if (port) {
            line->port = (uint32_t)number;
        }
    }
    return EXIT_CODE_OK;
}

int command_run(int argc, char **argv)
{
    static char program[PATH_MAX];
    state_dir_start();
    struct command_line line = {
        .port = PORT_USUAL, .method = "GET", .ip = "127.0.0.1", .version = HTTP_VERSION_11};
    int first = 2;
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    line.program = n > 0 ? program : argv[0];
    /* After an upgrade the link names the file that was replaced. */
    static const char deleted[] = " (deleted)";
    size_t tail = sizeof(deleted) - 1;
    if (n > (ssize_t)tail && !strcmp(program + n - (ssize_t)tail, deleted)) {
        program[n - (ssize_t)tail] = '\0';
    }
    line.command = argc > 1 ? argv[1] : "help";
    if (!strcmp(line.command, "resume") && argc > 2) {
        line.resume = argv[2];
        first = 3;
    } else if (!strcmp(line.command, "--version") || !strcmp(line.command, "-V")) {
        line.command = "version";
    } else if (!strcmp(line.command, "--help") || !strcmp(line.command, "-h")) {
        line.command = "help";
    }
    int code = command_options(argc, argv, first, &line);
    if (code) {
        return code;
    }
    if (line.port == PORT_USUAL) {
        line.port = line.is_https ? SERVE_PORT_HTTPS : SERVE_PORT;
    }
    if (line.resume) {
        return command_supervise(&line);
    }
    for (unsigned i = 0; i < COUNT_OF(commands); i++) {
        if (!strcmp(commands[i].name, line.command)) {
            return commands[i].run(&line);
        }
    }
    return command_usage("there is no command \"%s\".", line.command,
                         command_nearest(line.command));
}
