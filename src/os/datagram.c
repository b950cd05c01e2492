/* SPDX-License-Identifier: Apache-2.0 */
#include "os/datagram.h"

#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

#define BUFFER_BYTES (2 * 1024 * 1024) /* what waits in the kernel while a loop is busy */
#define CONTROL_BYTES 128
#define ECN_MASK 3u

static void datagram_set(int fd, int level, int name, int value)
{
    /* What a kernel does not have costs speed or a mark, not correctness. */
    (void)setsockopt(fd, level, name, &value, sizeof(value));
}

static void datagram_set_options(int fd, int family)
{
    datagram_set(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
    datagram_set(fd, SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
    datagram_set(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (family == AF_INET6) {
        datagram_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        datagram_set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        datagram_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    } else {
        datagram_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
        datagram_set(fd, IPPROTO_IP, IP_RECVTOS, 1);
        datagram_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    }
}

enum err datagram_bind(const struct socket_address *a, bool is_shared, int *ret_fd)
{
    int on = 1;
    int fd = socket(a->raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (is_shared) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (a->raw.ss_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    datagram_set_options(fd, a->raw.ss_family);
    if (bind(fd, (const struct sockaddr *)&a->raw, a->n) != 0) {
        int cause = errno;
        close(fd);
        return cause == EADDRNOTAVAIL ? ERR_NOT_FOUND : err_from_errno(cause);
    }
    *ret_fd = fd;
    return ERR_OK;
}

void datagram_allow_fragments(int fd)
{
    int family = AF_UNSPEC;
    socklen_t n = sizeof(family);
    (void)getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &n);
    if (family == AF_INET6) {
        datagram_set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_WANT);
    } else {
        datagram_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_WANT);
    }
}

enum err datagram_connect(const struct socket_address *a, int *ret_fd)
{
    int fd = socket(a->raw.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_from_errno(errno);
    }
    if (connect(fd, (const struct sockaddr *)&a->raw, a->n) != 0) {
        int cause = errno;
        close(fd);
        return err_from_errno(cause);
    }
    *ret_fd = fd;
    return ERR_OK;
}

void datagram_steer(int fd, unsigned at)
{
    /* The data begin behind the head of UDP. A place that does not exist means: by the address. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x80, 2, 0), /* a long head, RFC 9000 17.2 */
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1 + at),
        BPF_STMT(BPF_RET | BPF_A, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    const struct sock_fprog program = {COUNT_OF(code), code};
    (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
}

struct datagram_buffers {
    struct mmsghdr messages[DATAGRAM_BATCH];
    struct iovec pieces[DATAGRAM_BATCH];
    char control[DATAGRAM_BATCH][CONTROL_BYTES];
    uint8_t bytes[DATAGRAM_BATCH][DATAGRAM_BYTES_MAX];
};

struct datagram_buffers *datagram_buffers_create(void)
{
    return mem_alloc(sizeof(struct datagram_buffers));
}

void datagram_buffers_destroy(struct datagram_buffers *b)
{
    mem_free(b);
}

static void datagram_read_control(struct msghdr *m, struct datagram *d)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        int value;
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            ((struct sockaddr_in *)&d->local.raw)->sin_addr = info.ipi_addr;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            ((struct sockaddr_in6 *)&d->local.raw)->sin6_addr = info.ipi6_addr;
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            d->ecn = *CMSG_DATA(c) & ECN_MASK;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            memcpy(&value, CMSG_DATA(c), sizeof(value));
            d->ecn = (unsigned)value & ECN_MASK;
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            memcpy(&value, CMSG_DATA(c), sizeof(value));
            d->segment_bytes = (size_t)value;
        }
    }
}

enum err datagram_receive(int fd, struct datagram_buffers *b, const struct socket_address *local,
                          struct datagram ret[DATAGRAM_BATCH], unsigned *ret_count)
{
    for (unsigned i = 0; i < DATAGRAM_BATCH; i++) {
        b->pieces[i] = (struct iovec){b->bytes[i], DATAGRAM_BYTES_MAX};
        b->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &ret[i].remote.raw,
            .msg_namelen = sizeof(ret[i].remote.raw),
            .msg_iov = &b->pieces[i],
            .msg_iovlen = 1,
            .msg_control = b->control[i],
            .msg_controllen = CONTROL_BYTES,
        };
    }
    int n = recvmmsg(fd, b->messages, DATAGRAM_BATCH, 0, NULL);
    if (n < 0) {
        return err_from_errno(errno);
    }
    for (int i = 0; i < n; i++) {
        struct msghdr *m = &b->messages[i].msg_hdr;
        struct datagram *d = &ret[i];
        d->remote.n = m->msg_namelen;
        d->local = *local;
        d->ecn = 0;
        d->bytes = b->bytes[i];
        d->n = b->messages[i].msg_len;
        d->segment_bytes = d->n;
        datagram_read_control(m, d);
    }
    *ret_count = (unsigned)n;
    return ERR_OK;
}

/* Appends one control message; returns the space it takes. */
static size_t datagram_add_control(struct msghdr *m, size_t at, int level, int type,
                                   const void *value, size_t n)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)m->msg_control + at);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), value, n);
    return at + CMSG_SPACE(n);
}

enum err datagram_send(int fd, const struct datagram_send *d)
{
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES] = {0};
    struct iovec piece = {(void *)(uintptr_t)d->bytes, d->n};
    struct msghdr m = {.msg_name = (void *)(uintptr_t)&d->remote->raw,
                       .msg_namelen = d->remote->n,
                       .msg_iov = &piece,
                       .msg_iovlen = 1,
                       .msg_control = control};
    int ecn = (int)d->ecn;
    size_t at = 0;
    if (d->remote->raw.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&d->local->raw;
        const struct in6_pktinfo info = {.ipi6_addr = v6->sin6_addr};
        at = datagram_add_control(&m, at, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
        if (ecn) {
            at = datagram_add_control(&m, at, IPPROTO_IPV6, IPV6_TCLASS, &ecn, sizeof(ecn));
        }
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&d->local->raw;
        const struct in_pktinfo info = {.ipi_spec_dst = v4->sin_addr};
        at = datagram_add_control(&m, at, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
        if (ecn) {
            at = datagram_add_control(&m, at, IPPROTO_IP, IP_TOS, &ecn, sizeof(ecn));
        }
    }
    if (d->segment_bytes < d->n) {
        uint16_t segment = (uint16_t)d->segment_bytes;
        at = datagram_add_control(&m, at, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment));
    }
    m.msg_controllen = at;
    ssize_t sent;
    do {
        sent = sendmsg(fd, &m, 0);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return ERR_OK;
    }
    if (errno == EMSGSIZE || errno == EINVAL) {
        return ERR_LIMIT;
    }
    return errno == EIO ? ERR_UNSUPPORTED : err_from_errno(errno);
}
