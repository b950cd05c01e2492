/* SPDX-License-Identifier: Apache-2.0 */
/* A report that is understood says the same when it is written again. */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "runner/report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buf again;
    struct report first, second;
    arena_init(&arena, 4096, 0);
    buf_init(&again, 0);
    if (report_read(&arena, str_make((const char *)data, size), &first) == ERR_OK) {
        for (size_t i = 0; i < first.process_count; i++) {
            report_add_process(&again, &first.processes[i]);
        }
        for (size_t i = 0; i < first.instance_count; i++) {
            report_add_instance(&again, &first.instances[i]);
        }
        ASSERT(again.n == size);
        enum err e = report_read(&arena, buf_str(&again), &second);
        ASSERT(e == ERR_OK);
        ASSERT(second.process_count == first.process_count);
        ASSERT(second.instance_count == first.instance_count);
        for (size_t i = 0; i < first.instance_count; i++) {
            ASSERT(str_eq(first.instances[i].address, second.instances[i].address));
            ASSERT(first.instances[i].state == second.instances[i].state);
        }
    }
    buf_done(&again);
    arena_done(&arena);
    return 0;
}
