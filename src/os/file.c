/* SPDX-License-Identifier: Apache-2.0 */
#include "os/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum err file_open_root(const char *path, int *ret_root)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    *ret_root = fd;
    return ERR_OK;
}

static int file_openat2(int root, const char *path, uint64_t flags, enum file_links links)
{
    struct open_how how = {.flags = flags | O_CLOEXEC};
    switch (links) {
    case FILE_LINKS_OFF:
        how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
        break;
    case FILE_LINKS_INSIDE:
        how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
        break;
    case FILE_LINKS_ALL:
        how.resolve = RESOLVE_NO_MAGICLINKS;
        break;
    }
    const char *target = path[0] ? path : ".";
    for (int tries = 0; tries < 8; tries++) {
        int fd = (int)syscall(SYS_openat2, root, target, &how, sizeof(how));
        /* EAGAIN: a rename elsewhere raced with the resolution, which could not be proved safe. */
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR)) {
            return fd;
        }
    }
    return -1;
}

static void file_info_from(const struct stat *st, struct file_info *ret_info)
{
    *ret_info = (struct file_info){
        .size = (uint64_t)st->st_size,
        .mtime_s = (int64_t)st->st_mtim.tv_sec,
        .mtime_ns = (uint32_t)st->st_mtim.tv_nsec,
        .inode = (uint64_t)st->st_ino,
        .device = (uint64_t)st->st_dev,
        .is_regular = S_ISREG(st->st_mode),
        .is_directory = S_ISDIR(st->st_mode),
    };
}

enum err file_info_of(int fd, struct file_info *ret_info)
{
    struct stat st;
    if (fstat(fd, &st) != 0) {
        return err_from_errno(errno);
    }
    file_info_from(&st, ret_info);
    return ERR_OK;
}

enum err file_info_at(const char *path, struct file_info *ret_info)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return err_from_errno(errno);
    }
    file_info_from(&st, ret_info);
    return ERR_OK;
}

enum err file_open_beneath(int root, const char *path, enum file_links links,
                           struct file_info *ret_info, int *ret_fd)
{
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    int fd = file_openat2(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, links);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    enum err e = file_info_of(fd, ret_info);
    if (e) {
        close(fd);
        return e;
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err file_info_beneath(int root, const char *path, enum file_links links,
                           struct file_info *ret_info)
{
    int fd = file_openat2(root, path, O_PATH, links);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    enum err e = file_info_of(fd, ret_info);
    close(fd);
    return e;
}

enum err file_resolve(const char *path, char ret_path[PATH_MAX])
{
    return realpath(path, ret_path) ? ERR_OK : err_from_errno(errno);
}

enum err file_read_at(int fd, uint64_t offset, void *bytes, size_t n, size_t *ret_n)
{
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (char *)bytes + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_from_errno(errno);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_n = done;
    return ERR_OK;
}

enum err file_read_all(const char *path, size_t bytes_max, struct buf *into)
{
    enum err e = ERR_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    size_t total = 0;
    for (;;) {
        if (!buf_reserve(into, 4096)) {
            e = ERR_NOMEM;
            break;
        }
        ssize_t got = read(fd, into->p + into->n, 4096);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            e = got < 0 ? err_from_errno(errno) : ERR_OK;
            break;
        }
        into->n += (size_t)got;
        total += (size_t)got;
        if (total > bytes_max) {
            e = ERR_LIMIT;
            break;
        }
    }
    close(fd);
    return e;
}

enum err file_make_directories(const char *path)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(part)) {
        return ERR_LIMIT;
    }
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != '\0') {
            continue;
        }
        char end = part[i];
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            return err_from_errno(errno);
        }
        part[i] = end;
    }
    return ERR_OK;
}

enum err file_let_through(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0 || chmod(path, (facts.st_mode & 07777) | 0111) != 0) {
        return err_from_errno(errno);
    }
    return ERR_OK;
}

enum err file_give_to(const char *path, const char *name)
{
    const struct passwd *user = getpwnam(name);
    if (!user) {
        return ERR_NOT_FOUND;
    }
    return chown(path, user->pw_uid, user->pw_gid) == 0 ? ERR_OK : err_from_errno(errno);
}

static enum err file_write_all(int fd, struct str bytes)
{
    for (size_t at = 0; at < bytes.n;) {
        ssize_t n = write(fd, bytes.p + at, bytes.n - at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return err_from_errno(errno);
        }
        at += (size_t)n;
    }
    return ERR_OK;
}

/* A rename is on disk when its directory is. */
static enum err file_sync_directory_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof(folder)) {
        return ERR_LIMIT;
    }
    memcpy(folder, path, n);
    memcpy(folder + n, n || slash ? "/" : ".", 2);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum err e = fd < 0 || fsync(fd) != 0 ? err_from_errno(errno) : ERR_OK;
    file_close(fd);
    return e;
}

enum err file_replace(const char *path, struct str bytes, unsigned mode)
{
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof(fresh), "%s.new", path) >= (int)sizeof(fresh)) {
        return ERR_LIMIT;
    }
    /* One that a crash left may have other rights. */
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    enum err e = file_write_all(fd, bytes);
    if (!e && fsync(fd) != 0) {
        e = err_from_errno(errno);
    }
    close(fd);
    if (!e && rename(fresh, path) != 0) {
        e = err_from_errno(errno);
    }
    if (e) {
        unlink(fresh);
        return e;
    }
    return file_sync_directory_of(path);
}

enum err file_remove(const char *path)
{
    return unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_from_errno(errno);
}

enum err file_lock(const char *path, int *ret_fd)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    int failed;
    do {
        failed = flock(fd, LOCK_EX);
    } while (failed && errno == EINTR);
    if (failed) {
        enum err e = err_from_errno(errno);
        close(fd);
        return e;
    }
    *ret_fd = fd;
    return ERR_OK;
}

enum err file_in_memory(struct str bytes, int *ret_fd)
{
    int fd = memfd_create("sws", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    enum err e = file_write_all(fd, bytes);
    if (e) {
        close(fd);
        return e;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    *ret_fd = fd;
    return ERR_OK;
}

enum err file_read_memory(int fd, struct buf *into)
{
    struct file_info info;
    size_t got = 0;
    enum err e = file_info_of(fd, &info);
    if (!e && !buf_reserve(into, info.size)) {
        e = ERR_NOMEM;
    }
    if (!e && info.size) {
        e = file_read_at(fd, 0, into->p + into->n, info.size, &got);
        into->n += got;
    }
    return e;
}

enum err file_list(int fd, file_entry_fn on_entry, void *context)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) {
        enum err e = err_from_errno(errno);
        if (copy >= 0) {
            close(copy);
        }
        return e;
    }
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        bool is_self =
            entry->d_name[0] == '.' &&
            (entry->d_name[1] == '\0' || (entry->d_name[1] == '.' && entry->d_name[2] == '\0'));
        if (!is_self && !on_entry(context, entry->d_name)) {
            break;
        }
    }
    closedir(dir);
    return ERR_OK;
}

void file_close(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}
