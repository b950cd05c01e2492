/* SPDX-License-Identifier: Apache-2.0 */
/* The schema of a program that runs behind a backend. Order here is order in every print. */
#include "conf/tables_int.h"

static const char *const RESTART[] = {"always", "on-failure", "never", NULL};
static const char *const LOG[] = {"debug", "info", "notice", "warn", "error", "off", NULL};

const char *conf_check_variable(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!ascii_is_alpha(c) && c != '_' && (i == 0 || !ascii_is_digit(c))) {
            *ret_at = i;
            return "the name of a variable is made of letters, digits and underscores";
        }
    }
    return text.n > 0 ? NULL : "a variable needs a name";
}

static const char *check_socket(struct str text, size_t *ret_at)
{
    *ret_at = 0;
    if (str_eq(text, STR("false")) || str_eq(text, STR("true")) || str_eq(text, STR("activate"))) {
        return NULL;
    }
    if (text.n == 0 || text.p[0] != '/') {
        return "false, true, activate or a path that begins with a slash is due here";
    }
    return text.n <= PROCESS_SOCKET_BYTES_MAX ? NULL : "a path of a socket has 90 bytes at most";
}

static const char *check_cpu(struct str text, size_t *ret_at)
{
    int64_t ignored;
    *ret_at = 0;
    return str_eq(text, STR("off")) ? NULL : value_parse_cpu(text, &ignored);
}

static const struct conf_key READY_KEYS[] = {
    {.name = "http",
     .type = CONF_STRING,
     AT(ready_settings, http),
     .check = value_check_url_path,
     .example = "/healthz",
     .doc = "A path that it is asked for until it answers with 200 to 399; without it, it is ready "
            "when it takes connections, or, with socket: activate, when it answers at all."},
    {.name = "timeout",
     .type = CONF_DURATION,
     AT(ready_settings, timeout_ms),
     .unit = "ms",
     .default_text = "30s",
     .min = 1,
     .max = INT64_MAX,
     .example = "60s",
     .doc = "How long that may take; then it is stopped and started again."},
};
static const struct conf_table READY_TABLE = {.name = "ready",
                                              KEYS(READY_KEYS),
                                              .struct_bytes = sizeof(struct ready_settings),
                                              .short_key = "http"};

static const struct conf_key BACKOFF_KEYS[] = {
    {.name = "min",
     .type = CONF_DURATION,
     AT(backoff_settings, min_ms),
     .unit = "ms",
     .default_text = "100ms",
     .min = 1,
     .max = INT64_MAX,
     .example = "1s",
     .doc = "The pause before the first restart; each further one is twice as long."},
    {.name = "max",
     .type = CONF_DURATION,
     AT(backoff_settings, max_ms),
     .unit = "ms",
     .default_text = "30s",
     .min = 1,
     .max = INT64_MAX,
     .example = "1m",
     .doc = "The longest pause; a program that was ready for as long begins with min again."},
};
static const struct conf_table BACKOFF_TABLE = {
    .name = "backoff", KEYS(BACKOFF_KEYS), .struct_bytes = sizeof(struct backoff_settings)};

static const struct conf_key PROCESS_KEYS[] = {
    {.name = "command",
     .type = CONF_STRING_LIST,
     AT(process_settings, command),
     .flags = CONF_REQUIRED | CONF_WORDS,
     .example = "node server.js",
     .doc = "The program and its arguments: words with spaces between them (quotes keep words "
            "together, no shell looks at them), or a list. It gets PORT and HOST, where it shall "
            "listen, or SOCKET."},
    {.name = "cwd",
     .type = CONF_PATH,
     AT(process_settings, cwd),
     .example = "/srv/app",
     .doc = "The directory it runs in; without it that of the configuration file."},
    {.name = "env",
     .type = CONF_STRING_MAP,
     AT(process_settings, env),
     .flags = CONF_SECRET,
     .check_key = conf_check_variable,
     .example = "{NODE_ENV: production}",
     .doc = "Its environment, beside PATH, HOME, LANG and where it shall listen; null removes a "
            "variable."},
    {.name = "user",
     .type = CONF_STRING,
     AT(process_settings, user),
     .check = value_check_not_empty,
     .default_text = "nobody",
     .example = "app",
     .doc = "The user it runs as where sws was started by root; otherwise it runs as sws does."},
    {.name = "instances",
     .type = CONF_INT,
     AT(process_settings, instances),
     .flags = CONF_AUTO_OK,
     .default_text = "1",
     .min = 1,
     .max = PROCESS_INSTANCES_MAX,
     .example = "2",
     .doc = "How many run side by side; auto: one for each CPU."},
    {.name = "socket",
     .type = CONF_STRING,
     AT(process_settings, socket),
     .check = check_socket,
     .default_text = "false",
     .example = "activate",
     .doc = "Where it listens: false, at the port in PORT; true, at a Unix socket that it makes at "
            "the path in SOCKET; activate, at a Unix socket that it gets as descriptor 3, with "
            "LISTEN_FDS and LISTEN_PID; a path, likewise, and others find it there."},
    {.name = "ready",
     .type = CONF_OBJECT,
     AT(process_settings, ready),
     .child = &READY_TABLE,
     .doc = "When it gets its first request."},
    {.name = "restart",
     .type = CONF_ENUM,
     AT(process_settings, restart),
     .names = RESTART,
     .default_text = "always",
     .example = "on-failure",
     .doc = "Whether it is started again when it ends: on-failure, unless it exits with 0."},
    {.name = "backoff",
     .type = CONF_OBJECT,
     AT(process_settings, backoff),
     .child = &BACKOFF_TABLE,
     .doc = "The pauses between restarts."},
    {.name = "stop",
     .type = CONF_DURATION,
     AT(process_settings, stop_ms),
     .unit = "ms",
     .default_text = "10s",
     .min = 1,
     .max = INT64_MAX,
     .example = "30s",
     .doc = "How long it has to end after SIGTERM; then it is killed with all it started."},
    {.name = "memory",
     .type = CONF_SIZE,
     AT(process_settings, memory_bytes),
     .unit = "bytes",
     .flags = CONF_OFF_OK,
     .default_text = "off",
     .min = 1024 * 1024,
     .max = INT64_MAX,
     .example = "512MB",
     .doc = "How much memory an instance may use before it is killed and started again."},
    {.name = "cpu",
     .type = CONF_STRING,
     AT(process_settings, cpu),
     .check = check_cpu,
     .default_text = "off",
     .example = "50%",
     .doc = "How much of a CPU an instance may use; 200% are two. Without a writable cgroup the "
            "next whole number of CPUs."},
    {.name = "files",
     .type = CONF_INT,
     AT(process_settings, files_max),
     .flags = CONF_AUTO_OK,
     .default_text = "auto",
     .min = 16,
     .max = 1048576,
     .example = "4096",
     .doc = "How many files it may have open; auto: as many as sws was started with."},
    {.name = "log",
     .type = CONF_ENUM,
     AT(process_settings, log),
     .names = LOG,
     .default_text = "info",
     .example = "debug",
     .doc = "The level at which the lines that it writes to stdout and stderr are logged."},
};
const struct conf_table conf_table_process = {.name = "process",
                                              KEYS(PROCESS_KEYS),
                                              .struct_bytes = sizeof(struct process_settings),
                                              .short_key = "command",
                                              .has_switch = true,
                                              .on_offset =
                                                  offsetof(struct process_settings, is_on)};
