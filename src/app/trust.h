/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/str.h"

/* `sws trust`: makes this machine trust the local authority. Says what it did; returns the exit
 * code. */
int trust_install(struct str state_dir);
