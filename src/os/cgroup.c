/* SPDX-License-Identifier: Apache-2.0 */
#include "os/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_BYTES 4096
#define PERIOD_US 100000u
#define REMOVE_TRIES 200
#define REMOVE_PAUSE_US 5000
#define OWN_NAME "sws"

static bool cgroup_path(char ret_path[PATH_MAX], const char *base, const char *name)
{
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", base, name);
    return n > 0 && n < PATH_MAX;
}

static bool cgroup_read(const char *base, const char *name, char *ret_text, size_t text_bytes)
{
    char path[PATH_MAX];
    int fd = cgroup_path(path, base, name) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd < 0 ? -1 : read(fd, ret_text, text_bytes - 1);
    if (fd >= 0) {
        close(fd);
    }
    ret_text[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* A file of a controller that is not there cannot be made, so that O_CREAT changes nothing. */
static bool cgroup_write(const char *base, const char *name, const char *text)
{
    char path[PATH_MAX];
    int fd = cgroup_path(path, base, name) ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644) : -1;
    bool is_done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int cause = errno;
    if (fd >= 0) {
        close(fd);
    }
    errno = cause;
    return is_done;
}

static bool cgroup_has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += n) {
        bool begins = at == text || at[-1] == ' ';
        if (begins && (at[n] == ' ' || at[n] == '\n' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static bool cgroup_has_both(const char *base, const char *name)
{
    char text[TEXT_BYTES];
    return cgroup_read(base, name, text, sizeof(text)) && cgroup_has_word(text, "memory") &&
           cgroup_has_word(text, "cpu");
}

static bool cgroup_is_ours(const char *pid)
{
    char path[64], exe[PATH_MAX] = "", own[PATH_MAX] = "";
    snprintf(path, sizeof(path), "/proc/%s/exe", pid);
    return readlink(path, exe, sizeof(exe) - 1) > 0 &&
           readlink("/proc/self/exe", own, sizeof(own) - 1) > 0 && strcmp(exe, own) == 0;
}

/* A group that has limits for others below it may hold no process itself. */
static bool cgroup_move_own(const char *base)
{
    char text[TEXT_BYTES], path[PATH_MAX], *rest;
    if (!cgroup_read(base, "cgroup.procs", text, sizeof(text)) ||
        strlen(text) == sizeof(text) - 1) {
        return false;
    }
    char copy[TEXT_BYTES];
    memcpy(copy, text, sizeof(copy));
    for (char *pid = strtok_r(copy, "\n", &rest); pid; pid = strtok_r(NULL, "\n", &rest)) {
        if (!cgroup_is_ours(pid)) {
            return false;
        }
    }
    if (!cgroup_path(path, base, OWN_NAME) || (mkdir(path, 0755) != 0 && errno != EEXIST)) {
        return false;
    }
    for (char *pid = strtok_r(text, "\n", &rest); pid; pid = strtok_r(NULL, "\n", &rest)) {
        /* One that has ended meanwhile cannot be moved and need not be. */
        bool ignored = cgroup_write(path, "cgroup.procs", pid);
        (void)ignored;
    }
    return true;
}

enum err cgroup_find(const char *root, const char *own, char ret_base[PATH_MAX],
                     const char **ret_reason)
{
    char text[TEXT_BYTES], *rest;
    const char *place = NULL;
    *ret_reason = "there are no cgroups of version 2";
    if (!cgroup_read("", own, text, sizeof(text))) {
        return ERR_UNSUPPORTED;
    }
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        place = strncmp(line, "0::", 3) == 0 ? line + 3 : place;
    }
    if (!place || snprintf(ret_base, PATH_MAX, "%s%s", root, place) >= PATH_MAX) {
        return ERR_UNSUPPORTED;
    }
    size_t n = strlen(ret_base);
    size_t tail = strlen("/" OWN_NAME);
    if (n > tail && strcmp(ret_base + n - tail, "/" OWN_NAME) == 0) {
        ret_base[n - tail] = '\0'; /* moved there by one before us */
    }
    if (!cgroup_has_both(ret_base, "cgroup.controllers")) {
        *ret_reason = "the cgroup has no controllers of memory and CPU";
        return ERR_UNSUPPORTED;
    }
    if (cgroup_has_both(ret_base, "cgroup.subtree_control") ||
        cgroup_write(ret_base, "cgroup.subtree_control", "+memory +cpu")) {
        return ERR_OK;
    }
    if (errno != EBUSY) {
        *ret_reason = "the cgroup is not writable";
        return ERR_UNSUPPORTED;
    }
    if (!cgroup_move_own(ret_base) ||
        !cgroup_write(ret_base, "cgroup.subtree_control", "+memory +cpu")) {
        *ret_reason = "the cgroup is shared with other processes";
        return ERR_UNSUPPORTED;
    }
    return ERR_OK;
}

static bool cgroup_limit(const char *path, const struct cgroup_limits *limits)
{
    char text[64];
    if (limits->memory_bytes) {
        snprintf(text, sizeof(text), "%llu", (unsigned long long)limits->memory_bytes);
        if (!cgroup_write(path, "memory.max", text)) {
            return false;
        }
        /* All of a program ends, not its largest part; where there is swap, it is no way out. */
        bool ignored = cgroup_write(path, "memory.oom.group", "1");
        ignored = cgroup_write(path, "memory.swap.max", "0");
        (void)ignored;
    }
    if (limits->cpu_permille) {
        snprintf(text, sizeof(text), "%llu %u",
                 (unsigned long long)(limits->cpu_permille * (PERIOD_US / 1000)), PERIOD_US);
        return cgroup_write(path, "cpu.max", text);
    }
    return true;
}

enum err cgroup_create(const char *base, const char *name, const struct cgroup_limits *limits,
                       int *ret_procs)
{
    char path[PATH_MAX], procs[PATH_MAX];
    if (!cgroup_path(path, base, name) || !cgroup_path(procs, path, "cgroup.procs")) {
        return ERR_LIMIT;
    }
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return err_from_errno(errno);
    }
    int fd = -1;
    if (cgroup_limit(path, limits)) {
        fd = open(procs, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    }
    if (fd < 0) {
        enum err e = err_from_errno(errno);
        rmdir(path);
        return e;
    }
    *ret_procs = fd;
    return ERR_OK;
}

void cgroup_kill(const char *base, const char *name)
{
    char path[PATH_MAX];
    if (cgroup_path(path, base, name)) {
        bool ignored = cgroup_write(path, "cgroup.kill", "1");
        (void)ignored;
    }
}

/* The kernel takes a moment to bury what was killed. */
void cgroup_remove(const char *base, const char *name)
{
    char path[PATH_MAX];
    if (!cgroup_path(path, base, name)) {
        return;
    }
    for (int i = 0; i < REMOVE_TRIES && rmdir(path) != 0 && errno == EBUSY; i++) {
        usleep(REMOVE_PAUSE_US);
    }
}

void cgroup_remove_all(const char *base, const char *prefix)
{
    DIR *d = opendir(base);
    const struct dirent *entry;
    while (d && (entry = readdir(d)) != NULL) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0) {
            cgroup_kill(base, entry->d_name);
            cgroup_remove(base, entry->d_name);
        }
    }
    if (d) {
        closedir(d);
    }
}

uint64_t cgroup_memory(const char *base, const char *name)
{
    char path[PATH_MAX], text[64];
    if (!cgroup_path(path, base, name) ||
        !cgroup_read(path, "memory.current", text, sizeof(text))) {
        return 0;
    }
    return strtoull(text, NULL, 10);
}

uint64_t cgroup_kill_count(const char *base, const char *name)
{
    char path[PATH_MAX], text[TEXT_BYTES];
    if (!cgroup_path(path, base, name) || !cgroup_read(path, "memory.events", text, sizeof(text))) {
        return 0;
    }
    const char *at = strstr(text, "oom_kill ");
    return at ? strtoull(at + strlen("oom_kill "), NULL, 10) : 0;
}
