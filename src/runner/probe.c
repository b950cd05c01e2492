/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "os/file.h"

#define PAUSE_MS_MIN 10u
#define PAUSE_MS_MAX 250u
#define TRY_MS 5000u

static void probe_try(struct probe *p);

static void probe_close(struct probe *p)
{
    if (p->is_open) {
        loop_close(p->loop, &p->watch);
        p->is_open = false;
    }
}

static void probe_again(struct probe *p)
{
    probe_close(p);
    loop_timer_set(p->loop, &p->timer, loop_now_ms(p->loop) + p->pause_ms);
    p->pause_ms = p->pause_ms * 2 < PAUSE_MS_MAX ? p->pause_ms * 2 : PAUSE_MS_MAX;
}

static void probe_yes(struct probe *p)
{
    probe_end(p);
    p->on_yes(p);
}

/* "HTTP/1.1 200" */
static void probe_judge(struct probe *p)
{
    unsigned status = 0;
    struct str text = str_make(p->answer, p->answer_bytes);
    bool is_http = str_starts_with(text, STR("HTTP/1.")) && text.n >= 12 && text.p[8] == ' ';
    for (size_t i = 9; is_http && i < 12; i++) {
        is_http = ascii_is_digit(text.p[i]);
        status = status * 10 + (unsigned)(text.p[i] - '0');
    }
    if (!is_http) {
        snprintf(p->fault, sizeof(p->fault), "what it answers is no HTTP/1");
        probe_again(p);
    } else if (p->question.path.n && (status < 200 || status > 399)) {
        snprintf(p->fault, sizeof(p->fault), "it answers with %u", status);
        probe_again(p);
    } else {
        probe_yes(p);
    }
}

static enum err probe_send(struct probe *p)
{
    enum err e = ERR_OK;
    while (p->sent_bytes < p->request_bytes && !e) {
        const struct iovec piece = {p->request + p->sent_bytes, p->request_bytes - p->sent_bytes};
        size_t n = 0;
        e = socket_send(p->watch.fd, &piece, 1, false, &n);
        p->sent_bytes += n;
    }
    return e;
}

static enum err probe_receive(struct probe *p)
{
    size_t n = 0;
    enum err e = socket_recv(p->watch.fd, p->answer + p->answer_bytes,
                             sizeof(p->answer) - p->answer_bytes, &n);
    p->answer_bytes += e ? 0 : n;
    return e;
}

static bool probe_asks(const struct probe *p)
{
    return p->question.path.n || p->question.wants_an_answer;
}

static void probe_on_ready(struct loop_watch *w, unsigned events)
{
    struct probe *p = CONTAINER_OF(w, struct probe, watch);
    enum err e = ERR_OK;
    (void)events;
    if (!p->is_connected) {
        e = socket_connect_result(w->fd);
        p->is_connected = !e;
    }
    if (!e && !probe_asks(p)) {
        probe_yes(p);
        return;
    }
    e = e ? e : probe_send(p);
    e = e ? e : loop_rewatch(p->loop, w, POLLER_READ);
    e = e ? e : probe_receive(p);
    if (!e && p->answer_bytes >= 12) {
        probe_judge(p);
    } else if (e && e != ERR_AGAIN) {
        snprintf(p->fault, sizeof(p->fault), "%s",
                 e == ERR_NOT_FOUND ? "nobody listens there" : err_text(e));
        probe_again(p);
    }
}

static void probe_try(struct probe *p)
{
    int fd;
    p->sent_bytes = p->answer_bytes = 0;
    p->is_connected = false;
    enum err e = socket_connect_begin(&p->question.address, &fd);
    if (e && e != ERR_AGAIN) {
        snprintf(p->fault, sizeof(p->fault), "%s",
                 e == ERR_NOT_FOUND ? "nobody listens there" : err_text(e));
        probe_again(p);
        return;
    }
    if (loop_watch(p->loop, &p->watch, fd, POLLER_WRITE, probe_on_ready) != ERR_OK) {
        file_close(fd);
        probe_again(p);
        return;
    }
    p->is_open = true;
    loop_timer_set(p->loop, &p->timer, loop_now_ms(p->loop) + TRY_MS);
}

static void probe_on_time(struct timer *t)
{
    struct probe *p = CONTAINER_OF(t, struct probe, timer);
    if (p->is_open) {
        snprintf(p->fault, sizeof(p->fault), "it takes connections and does not answer");
        probe_close(p);
    }
    probe_try(p);
}

void probe_init(struct probe *p)
{
    p->is_open = false;
    p->fault[0] = '\0';
    timer_init(&p->timer, probe_on_time);
}

enum err probe_begin(struct probe *p, struct loop *loop, const struct probe_question *question,
                     probe_fn on_yes)
{
    struct str path = question->path.n ? question->path : STR("/");
    int n = snprintf(p->request, sizeof(p->request),
                     "GET " STR_FMT " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: sws\r\n"
                     "Connection: close\r\n\r\n",
                     STR_ARG(path));
    if (n < 0 || (size_t)n >= sizeof(p->request)) {
        return ERR_LIMIT;
    }
    p->loop = loop;
    p->question = *question;
    p->request_bytes = (size_t)n;
    p->pause_ms = PAUSE_MS_MIN;
    p->on_yes = on_yes;
    p->fault[0] = '\0';
    loop_timer_set(loop, &p->timer, loop_now_ms(loop) + p->pause_ms);
    return ERR_OK;
}

void probe_end(struct probe *p)
{
    timer_cancel(&p->timer);
    probe_close(p);
}
