/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The process that starts and watches the programs behind backends: loads the configuration itself,
 * with the rights of the supervisor, whenever the edge took one into force. `handover`: the number
 * of a descriptor with what a runner before left in this process, or NULL. Returns an exit code. */
int runner_run(const char *program, const char *config, const char *handover);
