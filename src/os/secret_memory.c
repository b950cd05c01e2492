/* SPDX-License-Identifier: Apache-2.0 */
#include "os/secret_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"

static size_t whole_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return bytes ? (bytes + page - 1) / page * page : page;
}

static void *map_hidden(size_t bytes)
{
#ifdef SYS_memfd_secret
    int fd = (int)syscall(SYS_memfd_secret, (unsigned)O_CLOEXEC);
    if (fd < 0) {
        return NULL; /* not in this kernel, or not switched on (secretmem.enable) */
    }
    void *pages = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0) {
        pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    close(fd);
    return pages == MAP_FAILED ? NULL : pages;
#else
    (void)bytes;
    return NULL;
#endif
}

static void *map_locked(size_t bytes)
{
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return NULL;
    }
    if (mlock(pages, bytes) != 0 || madvise(pages, bytes, MADV_DONTDUMP) != 0) {
        munmap(pages, bytes);
        return NULL;
    }
    return pages;
}

void *secret_memory_map(size_t bytes, bool *ret_is_hidden)
{
    size_t n = whole_pages(bytes);
    void *pages = map_hidden(n);
    *ret_is_hidden = pages != NULL;
    if (!pages) {
        pages = map_locked(n);
    }
    if (pages && madvise(pages, n, MADV_DONTFORK) != 0) {
        munmap(pages, n);
        pages = NULL;
    }
    return pages;
}

void secret_memory_unmap(void *pages, size_t bytes)
{
    int failed = munmap(pages, whole_pages(bytes));
    ASSERT(!failed);
}
