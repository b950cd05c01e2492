/* SPDX-License-Identifier: Apache-2.0 */
/* Apart from the signing, because the client library verifies and holds no secrets. */
#include <sodium.h>

#include "crypto/signature.h"

bool signature_verify(const uint8_t public_key[SIGNATURE_PUBLIC_BYTES], struct str s,
                      const uint8_t signature[SIGNATURE_BYTES])
{
    return crypto_sign_verify_detached(signature, (const unsigned char *)s.p, s.n, public_key) == 0;
}
