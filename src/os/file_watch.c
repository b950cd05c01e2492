/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define LINKS_MAX 40
#define EVENTS                                                                                     \
    (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE |            \
     IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* A name within a watched directory. */
struct watched_name {
    int directory; /* as inotify calls it */
    char *name;
};

struct file_watch {
    int fd;
    struct watched_name *names;
    size_t count;
    size_t room;
};

/* The way to a file: `done` has no links and is where `rest` begins. */
struct walk {
    char done[PATH_MAX];
    char rest[PATH_MAX];
    unsigned link_count;
};

enum err file_watch_create(struct file_watch **ret_watch)
{
    struct file_watch *w = mem_zalloc(1, sizeof(*w));
    if (!w) {
        return ERR_NOMEM;
    }
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        enum err e = err_from_errno(errno);
        mem_free(w);
        return e;
    }
    *ret_watch = w;
    return ERR_OK;
}

void file_watch_destroy(struct file_watch *w)
{
    if (!w) {
        return;
    }
    close(w->fd);
    for (size_t i = 0; i < w->count; i++) {
        mem_free(w->names[i].name);
    }
    mem_free(w->names);
    mem_free(w);
}

static enum err watch_name(struct file_watch *w, const char *directory, const char *name)
{
    int id = inotify_add_watch(w->fd, directory, EVENTS);
    if (id < 0) {
        return err_from_errno(errno);
    }
    for (size_t i = 0; i < w->count; i++) {
        if (w->names[i].directory == id && strcmp(w->names[i].name, name) == 0) {
            return ERR_OK;
        }
    }
    if (w->count == w->room) {
        size_t room = w->room ? 2 * w->room : 8;
        struct watched_name *names = mem_realloc(w->names, room * sizeof(*names));
        if (!names) {
            return ERR_NOMEM;
        }
        w->names = names;
        w->room = room;
    }
    char *copy = mem_dup(name, strlen(name) + 1);
    if (!copy) {
        return ERR_NOMEM;
    }
    w->names[w->count++] = (struct watched_name){id, copy};
    return ERR_OK;
}

static enum err walk_set(char into[PATH_MAX], const char *a, const char *b)
{
    char path[PATH_MAX];
    const char *slash = a[0] && b[0] && a[strlen(a) - 1] != '/' ? "/" : "";
    int n = snprintf(path, sizeof(path), "%s%s%s", a, slash, b);
    if (n < 0 || (size_t)n >= sizeof(path)) {
        return ERR_LIMIT;
    }
    memcpy(into, path, (size_t)n + 1);
    return ERR_OK;
}

/* Takes the next name off the rest; false: there is none. */
static bool walk_next(struct walk *walk, char ret_name[NAME_MAX + 1])
{
    const char *at = walk->rest + strspn(walk->rest, "/");
    size_t n = strcspn(at, "/");
    if (n == 0 || n > NAME_MAX) {
        return false;
    }
    memcpy(ret_name, at, n);
    ret_name[n] = '\0';
    memmove(walk->rest, at + n, strlen(at + n) + 1);
    return true;
}

static enum err walk_follow(struct walk *walk, const char *link)
{
    char target[PATH_MAX];
    ssize_t n = readlink(link, target, sizeof(target) - 1);
    if (n < 0 || ++walk->link_count > LINKS_MAX) {
        return n < 0 ? err_from_errno(errno) : ERR_LIMIT;
    }
    target[n] = '\0';
    if (target[0] == '/') {
        memcpy(walk->done, "/", 2);
    }
    return walk_set(walk->rest, target, walk->rest);
}

enum err file_watch_add(struct file_watch *w, const char *path)
{
    struct walk walk = {.done = ""};
    char name[NAME_MAX + 1], here[PATH_MAX];
    enum err e = walk_set(walk.done, path[0] == '/' ? "/" : ".", "");
    e = e ? e : walk_set(walk.rest, path, "");
    while (!e && walk_next(&walk, name)) {
        struct stat info;
        e = walk_set(here, walk.done, name);
        if (e) {
            break;
        }
        bool is_there = lstat(here, &info) == 0;
        bool is_link = is_there && S_ISLNK(info.st_mode);
        bool is_last = walk.rest[strspn(walk.rest, "/")] == '\0';
        if (!is_there || is_link || is_last) {
            e = watch_name(w, walk.done, name);
        }
        if (e || !is_there) {
            break;
        }
        e = is_link ? walk_follow(&walk, here) : walk_set(walk.done, here, "");
    }
    return e;
}

int file_watch_fd(const struct file_watch *w)
{
    return w->fd;
}

static bool watch_concerns(const struct file_watch *w, const struct inotify_event *event)
{
    /* A lost event, or one about the directory itself. */
    if ((event->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0) {
        return true;
    }
    for (size_t i = 0; event->len && i < w->count; i++) {
        if (w->names[i].directory == event->wd && strcmp(w->names[i].name, event->name) == 0) {
            return true;
        }
    }
    return false;
}

bool file_watch_take(struct file_watch *w)
{
    _Alignas(struct inotify_event) char bytes[4096];
    bool is_concerned = false;
    ssize_t n;
    while ((n = read(w->fd, bytes, sizeof(bytes))) > 0) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const void *)(bytes + at);
            is_concerned |= watch_concerns(w, event);
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return is_concerned;
}
