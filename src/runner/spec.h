/* SPDX-License-Identifier: Apache-2.0 */
/* What is to run: the settings of one process made ready, counted, with all of its text. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "conf/settings.h"
#include "log/log.h"
#include "os/cgroup.h"
#include "os/child.h"

enum spec_socket {
    SPEC_PORT,     /* it listens at a port that we choose */
    SPEC_OWN,      /* it makes a Unix socket where we say */
    SPEC_ACTIVATE, /* it gets a Unix socket of ours */
};

struct spec {
    unsigned ref_count;
    struct arena arena;
    struct str name;
    struct str *words; /* of the command; $PORT, $HOST and $SOCKET are filled in later */
    size_t word_count;
    struct str cwd;
    struct str *env; /* NAME=value, without what a start adds */
    size_t env_count;
    bool has_home; /* the environment says so itself */
    struct str path;
    struct str user; /* empty: ours */
    unsigned instance_count;
    enum spec_socket socket;
    struct str socket_path; /* where others find it; empty: nowhere */
    struct str ready_path;  /* empty: taking connections is enough */
    uint64_t ready_ms;
    enum process_restart restart;
    uint64_t backoff_min_ms;
    uint64_t backoff_max_ms;
    uint64_t stop_ms;
    uint64_t drain_ms; /* how long requests may take while another instance takes over */
    struct cgroup_limits limits;
    uint64_t files_max; /* 0: ours */
    enum log_level log_level;
    uint64_t fingerprint; /* of all that a running program cannot change any more; never 0 */
};

/* One reference is the caller's. ERR_NOMEM. */
enum err spec_create(const struct process_settings *settings, uint64_t drain_ms,
                     struct spec **ret_spec) MUST_CHECK;

/* For a process that no configuration names: all it can do is end. ERR_NOMEM. */
enum err spec_create_ending(struct str name, uint64_t stop_ms, uint64_t drain_ms,
                            struct spec **ret_spec) MUST_CHECK;

struct spec *spec_ref(struct spec *s);
void spec_unref(struct spec *s); /* NULL is a no-op */

/* Where one instance listens. */
struct spec_place {
    uint16_t port;
    struct str socket; /* path; empty: the port */
};

/* What a start hands over, in `arena`; NULL-terminated. */
struct spec_start {
    char path[PATH_MAX]; /* of the program */
    char **argv;
    char **env;
    struct child_user user;
    bool has_user; /* another than ours */
};

/* Looks up what the machine has now. What is wrong is said in `ret_reason`, with the key it belongs
 * to. ERR_NOT_FOUND, ERR_ACCESS, ERR_NOMEM. */
enum err spec_prepare(const struct spec *s, const struct spec_place *place, struct arena *arena,
                      struct spec_start *ret_start, const char **ret_key, char *ret_reason,
                      size_t reason_bytes) MUST_CHECK;
