/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes belong to a child: those of the session that it leads, as /proc tells. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/child.h"

struct session_process {
    pid_t pid;
    pid_t parent;
    pid_t session;
};

typedef void (*session_fn)(void *context, const struct session_process *p);

/* The name of a program stands in parentheses and may hold any; the last one ends it. */
static bool session_read(pid_t pid, struct session_process *ret)
{
    char path[32], text[512];
    char state;
    int parent, group, session;
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    if (!f) {
        return false;
    }
    size_t n = fread(text, 1, sizeof(text) - 1, f);
    fclose(f);
    text[n] = '\0';
    const char *rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1, " %c %d %d %d", &state, &parent, &group, &session) != 4 ||
        state == 'Z') {
        return false;
    }
    *ret = (struct session_process){.pid = pid, .parent = parent, .session = session};
    return true;
}

static void session_each(session_fn on_process, void *context)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    while (proc && (entry = readdir(proc)) != NULL) {
        char *end;
        long pid = strtol(entry->d_name, &end, 10);
        struct session_process p;
        if (pid > 0 && *end == '\0' && session_read((pid_t)pid, &p)) {
            on_process(context, &p);
        }
    }
    if (proc) {
        closedir(proc);
    }
}

struct session_signal {
    pid_t session;
    int signal;
};

static void session_on_signal(void *context, const struct session_process *p)
{
    const struct session_signal *s = context;
    if (p->session == s->session) {
        kill(p->pid, s->signal);
    }
}

/* The group first, at one stroke; then those of its session that made groups of their own. */
void child_signal_session(pid_t pid, int signal)
{
    struct session_signal s = {pid, signal};
    kill(-pid, signal);
    session_each(session_on_signal, &s);
}

struct session_children {
    const pid_t *keep;
    size_t keep_count;
    pid_t self;
    unsigned killed_count;
};

static void session_on_child(void *context, const struct session_process *p)
{
    struct session_children *c = context;
    bool is_kept = p->parent != c->self;
    for (size_t i = 0; i < c->keep_count && !is_kept; i++) {
        is_kept = c->keep[i] == p->pid;
    }
    if (!is_kept) {
        kill(p->pid, SIGKILL);
        waitpid(p->pid, NULL, 0);
        c->killed_count++;
    }
}

/* What they had started becomes ours when they end, hence the rounds. */
void child_kill_others(const pid_t *keep, size_t count)
{
    struct session_children c = {.keep = keep, .keep_count = count, .self = getpid()};
    do {
        c.killed_count = 0;
        session_each(session_on_child, &c);
    } while (c.killed_count);
}

struct session_memory {
    const pid_t *leaders;
    size_t count;
    uint64_t *bytes;
};

static void session_on_memory(void *context, const struct session_process *p)
{
    const struct session_memory *m = context;
    unsigned long total, resident, shared;
    char path[32];
    for (size_t i = 0; i < m->count; i++) {
        if (m->leaders[i] != p->session) {
            continue;
        }
        snprintf(path, sizeof(path), "/proc/%d/statm", (int)p->pid);
        FILE *f = fopen(path, "re");
        if (f && fscanf(f, "%lu %lu %lu", &total, &resident, &shared) == 3 && resident > shared) {
            m->bytes[i] += (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
        }
        if (f) {
            fclose(f);
        }
        return;
    }
}

void child_session_memory(const pid_t *leaders, size_t count, uint64_t *ret_bytes)
{
    struct session_memory m = {leaders, count, ret_bytes};
    memset(ret_bytes, 0, count * sizeof(*ret_bytes));
    session_each(session_on_memory, &m);
}
