/* SPDX-License-Identifier: Apache-2.0 */
/* How the edge follows files of certificates that change while the configuration stays: the
 * watcher, which may read them, hands on what they hold. */
#include "app/edge_int.h"
#include "conf/record.h"
#include "os/file.h"
#include "os/process.h"

void edge_watch_files(struct edge *e)
{
    struct site_files *files = NULL;
    struct control_message m = {.kind = CONTROL_WATCH, .fd = -1};
    if (e->site->listens_for_https) {
        enum err err = site_files_create(e->site, &files);
        if (err) {
            LOG(e->log, LOG_LEVEL_ERROR, "the files of certificates are not watched", log_err(err));
        }
    }
    site_files_destroy(e->certs.files);
    e->certs.files = files;
    /* The next watcher begins with all files: what waits is older than the site. */
    file_close(e->next_files);
    e->next_files = -1;
    m.count = files && site_files_count(files) != 0;
    if (!m.count && !e->has_watcher) {
        return;
    }
    e->has_watcher = m.count != 0;
    if (control_send(PROCESS_CHANNEL_FD, &m, -1) != ERR_OK) {
        LOG(e->log, LOG_LEVEL_ERROR, "the supervisor does not answer", log_u64("kind", m.kind));
    }
}

static void files_on_fault(void *context, struct str cert, const char *text)
{
    struct edge *e = context;
    e->refused_file_count++;
    metrics_set_process(e->metrics, METRICS_CERT_FILES_REFUSED, (int64_t)e->refused_file_count);
    LOG(e->log, LOG_LEVEL_WARN, "a changed certificate is not taken, the old one serves on",
        log_str("file", cert), log_str("reason", str_of(text)));
}

void edge_take_files(struct edge *e, int fd)
{
    struct buf record;
    if (e->is_changing) {
        file_close(e->next_files);
        e->next_files = fd;
        return;
    }
    buf_init(&record, 0);
    enum err err = file_read_memory(fd, &record);
    file_close(fd);
    size_t count = 0;
    if (!err && e->certs.files && !e->is_draining) {
        const struct str bytes = buf_str(&record);
        const struct conf_io io = conf_replay_io(&bytes);
        count = site_files_take(e->certs.files, &io, files_on_fault, e);
    }
    buf_done_secret(&record);
    if (err) {
        LOG(e->log, LOG_LEVEL_ERROR, "changed files of certificates cannot be read", log_err(err));
    } else if (count) {
        LOG(e->log, LOG_LEVEL_INFO, "files of certificates changed", log_u64("count", count));
        edge_take_certificates(e);
        edge_issuer_update(e);
    }
}
