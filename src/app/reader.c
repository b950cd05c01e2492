/* SPDX-License-Identifier: Apache-2.0 */
#include "app/reader.h"

#include "app/control.h"
#include "conf/record.h"
#include "conf/settings.h"
#include "os/file.h"
#include "os/process.h"

/* What is wrong in the files is found again, and said, by the edge. */
static void reader_load(const char *config, struct conf_record *record)
{
    struct diag_list diags;
    struct settings *settings = NULL;
    const struct conf_io io = conf_record_io(record);
    diag_list_init(&diags);
    enum err found_again = settings_load(&config, 1, &io, &settings, &diags);
    (void)found_again;
    settings_destroy(settings);
    diag_list_done(&diags);
}

int reader_run(const char *config)
{
    struct conf_record record;
    struct control_message m = {.kind = CONTROL_CONFIG, .fd = -1};
    int fd = -1;
    conf_record_init(&record, &conf_io_system);
    if (config) {
        reader_load(config, &record);
    }
    m.error = record.bytes.is_failed ? ERR_NOMEM : file_in_memory(buf_str(&record.bytes), &fd);
    enum err e = control_send(PROCESS_CHANNEL_FD, &m, fd);
    file_close(fd);
    conf_record_done(&record);
    return e ? 1 : 0;
}
