// The chains that the kernel's nf_tables has, asked over netlink: whether a back end has anything in a namespace, without
// running its program.
#pragma once

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace weft::cni::redirect {

struct NftChain {
  int family = 0;  // NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6, ...
  std::string table, name;
};

// Of the calling thread's network namespace; none where the kernel has no nf_tables.
Result<std::vector<NftChain>> list_nft_chains();

}  // namespace weft::cni::redirect
