/* SPDX-License-Identifier: Apache-2.0 */
/* How the supervisor itself becomes the new program: same process, same children, same sockets,
 * described in a memory file that survives the exec. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "app/supervisor_int.h"

#define UPGRADE_MAGIC 0x73777375u
#define UPGRADE_FORMAT 6u

struct upgrade_state {
    uint32_t magic;
    uint32_t format;
    int32_t current;
    uint32_t socket_count;
    uint32_t is_reload_due; /* one was under way */
    int32_t kept;
    uint32_t generation;
    struct supervisor_helper runner;
    struct supervisor_edge edges[SUPERVISOR_EDGES_MAX];
    struct supervisor_socket sockets[SUPERVISOR_SOCKETS_MAX];
};

static void upgrade_keep(int fd, bool is_kept)
{
    fcntl(fd, F_SETFD, is_kept ? 0 : FD_CLOEXEC);
}

static void upgrade_keep_all(const struct supervisor *s, bool is_kept)
{
    for (int i = 0; i < SUPERVISOR_EDGES_MAX; i++) {
        if (s->edges[i].pid) {
            upgrade_keep(s->edges[i].channel, is_kept);
            if (s->edges[i].relay >= 0) {
                upgrade_keep(s->edges[i].relay, is_kept);
            }
        }
    }
    for (uint32_t i = 0; i < s->socket_count; i++) {
        upgrade_keep(s->sockets[i].fd, is_kept);
    }
    if (s->kept >= 0) {
        upgrade_keep(s->kept, is_kept);
    }
    if (s->helpers[SUPERVISOR_RUNNER].process.pid) {
        upgrade_keep(s->helpers[SUPERVISOR_RUNNER].process.channel, is_kept);
    }
}

void upgrade_replace_program(struct supervisor *s)
{
    static struct upgrade_state state;
    char number[16];
    state = (struct upgrade_state){.magic = UPGRADE_MAGIC,
                                   .format = UPGRADE_FORMAT,
                                   .current = s->current,
                                   .socket_count = s->socket_count,
                                   .is_reload_due = s->reader.pid != 0,
                                   .kept = s->kept,
                                   .runner = s->helpers[SUPERVISOR_RUNNER],
                                   .generation = s->generation};
    memcpy(state.edges, s->edges, sizeof(state.edges));
    memcpy(state.sockets, s->sockets, sizeof(state.sockets));
    int fd = memfd_create("sws-upgrade", 0);
    if (fd < 0 || write(fd, &state, sizeof(state)) != (ssize_t)sizeof(state)) {
        supervisor_say("warn", "the supervisor stays the old program: %s", strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    snprintf(number, sizeof(number), "%d", fd);
    /* The new edge asks the new program for them. */
    supervisor_end_helpers(s);
    upgrade_keep_all(s, true);
    /* The arguments of the edge follow, so that the new supervisor can start one. */
    const char *argv[SUPERVISOR_ARGUMENTS_MAX + 2] = {s->options->program, "resume", number};
    unsigned n = 3;
    for (unsigned i = 2; s->options->argv[i] && n < SUPERVISOR_ARGUMENTS_MAX + 1; i++) {
        argv[n++] = s->options->argv[i];
    }
    argv[n] = NULL;
    execv(s->options->program, (char *const *)(uintptr_t)argv);
    supervisor_say("warn", "the supervisor stays the old program: %s", strerror(errno));
    upgrade_keep_all(s, false);
    close(fd);
}

enum err upgrade_resume(struct supervisor *s, bool *ret_is_reload_due)
{
    static struct upgrade_state state;
    int fd = atoi(s->options->resume);
    ssize_t got = pread(fd, &state, sizeof(state), 0);
    close(fd);
    if (got != (ssize_t)sizeof(state) || state.magic != UPGRADE_MAGIC ||
        state.format != UPGRADE_FORMAT || state.socket_count > SUPERVISOR_SOCKETS_MAX) {
        return ERR_SYNTAX;
    }
    s->current = state.current;
    s->socket_count = state.socket_count;
    s->kept = state.kept;
    s->generation = state.generation;
    s->has_served = true;
    *ret_is_reload_due = state.is_reload_due != 0;
    memcpy(s->edges, state.edges, sizeof(s->edges));
    memcpy(s->sockets, state.sockets, sizeof(s->sockets));
    s->helpers[SUPERVISOR_RUNNER] = state.runner;
    upgrade_keep_all(s, false);
    supervisor_say("info", "upgrade: the supervisor is the new program");
    /* The runner keeps its children, as we do, and becomes the new program as well. */
    const struct control_message m = {.kind = CONTROL_REPLACE, .fd = -1};
    supervisor_tell_helper(s, SUPERVISOR_RUNNER, &m, -1);
    return ERR_OK;
}
