// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The names in the ruleset that nft_text (net/nft.h) writes, for those that change it piecemeal.
 */

#include "net/nft.h"

#define NFT_NAME_MAX 64             /* a table's name and NUL */
#define NFT_MAP_IP "published"      /* ports on one address of the host: protocol . address . port */
#define NFT_MAP_ANY "published_any" /* ports on all of them: protocol . port */

/** Published on all addresses of the host. */
bool nft_port_any_ip(const NftPort *p);
/** -EINVAL for what no rule can be made of. */
int nft_port_check(const NftPort *p, Err *err);
