/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs of other people that we start and watch: each leads a session of its own, has the user,
 * the environment and the limits that it is given, and ends with us.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/str.h"

#define CHILD_GROUPS_MAX 64

struct child_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[CHILD_GROUPS_MAX];
    int group_count;
    char home[PATH_MAX];
};

/* ERR_NOT_FOUND: there is no such user; ERR_ACCESS: only root may become another user. */
enum err child_find_user(const char *name, struct child_user *ret_user) MUST_CHECK;

/* Us. */
void child_find_self(struct child_user *ret_user);

/* Where `program` is: a path, which begins at `cwd` unless at /, or a name that is looked for in
 * the directories of `path`. ERR_NOT_FOUND; ERR_ACCESS: it may not be executed, by us. */
enum err child_find_program(struct str program, struct str path, const char *cwd,
                            char ret_path[PATH_MAX]) MUST_CHECK;

struct child_start {
    const char *program;
    char *const *argv;
    char **env; /* ended by NULL; an entry that begins with LISTEN_PID= gets the pid of the child */
    const char *cwd;
    const struct child_user *user; /* NULL: it stays ours */
    int output;                    /* become its descriptors 1 and 2 */
    int errors;
    int socket;              /* becomes 3; -1: none */
    int cgroup;              /* its cgroup.procs; -1: none */
    uint64_t files_max;      /* 0: ours; likewise below */
    uint64_t data_bytes_max; /* of memory that it may write */
    unsigned cpu_count;
};

/* Starts it with no input. `ret_reason` says in words what failed (static or in `text`).
 * ERR_NOT_FOUND, ERR_ACCESS, ERR_LIMIT, ... */
enum err child_spawn(const struct child_start *start, pid_t *ret_pid, char *ret_reason,
                     size_t reason_bytes) MUST_CHECK;

/* From here on processes that lose their parent among our descendants become our children. */
void child_adopt_orphans(void);

/* A child that has ended and is not collected yet, or 0. */
pid_t child_next_ended(void);

/* Collects it. `ret_text`: "exited with code 1", "was killed by SIGKILL". */
void child_collect(pid_t pid, int *ret_code, char *ret_text, size_t text_bytes);

/* Sends `signal` to one, or to all of the session that it leads. */
void child_signal(pid_t pid, int signal);
void child_signal_session(pid_t pid, int signal);

/* Kills all our children but those of `keep`, and waits for their end. */
void child_kill_others(const pid_t *keep, size_t count);

/* Memory that is in use by the sessions of these leaders, without what they share with files. */
void child_session_memory(const pid_t *leaders, size_t count, uint64_t *ret_bytes);

/* A TCP port of 127.0.0.1 where nobody listens now; ERR_IN_USE. */
enum err child_free_port(uint16_t *ret_port) MUST_CHECK;

/* A pipe: from [0] we read without waiting, [1] is for a child. */
enum err child_pipe(int ret_ends[2]) MUST_CHECK;

/* Reads what is there. ERR_AGAIN, ERR_EOF. */
enum err child_read(int fd, void *bytes, size_t n, size_t *ret_n) MUST_CHECK;

/* A directory at `path` that `user` owns (NULL: we do), that those of the group `gid` may pass
 * through, and nobody else enters. What is there already is taken as it is, if it is ours. */
enum err child_make_directory(const char *path, const struct child_user *user,
                              gid_t gid) MUST_CHECK;

/* Lets everyone connect who gets to the socket at `path`. ERR_ACCESS: what is there is no socket.
 */
enum err child_open_socket_to_all(const char *path) MUST_CHECK;

/* Puts the name `to` at the socket `from`, in the place of what had it. */
enum err child_link_socket(const char *from, const char *to) MUST_CHECK;

/* Keeps `fd` open, or closes it, when this process becomes another program. */
void child_keep_on_exec(int fd, bool is_kept);
