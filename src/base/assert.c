/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "sws: internal error: %s does not hold (%s:%d). Please report this.\n",
            condition, file, line);
    abort();
}
