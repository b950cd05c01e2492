/* SPDX-License-Identifier: Apache-2.0 */
#include <sws/proof.h>

const char *sws_proof_error_text(enum sws_proof_error error)
{
    switch (error) {
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        SWS_PROOF_ERRORS(X)
#undef X
    }
    return "unknown error";
}
