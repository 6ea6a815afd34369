#include "cni-plugin/redirect/chains.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cerrno>

#include "cni-plugin/redirect/netlink.h"

namespace weft::cni::redirect {
namespace {

std::string as_text(std::span<const char> value) {
  std::string out(value.begin(), value.end());
  while (!out.empty() && out.back() == '\0') out.pop_back();
  return out;
}

}  // namespace

Result<std::vector<NftChain>> list_nft_chains() {
  WEFT_TRY(Netlink netlink, Netlink::open(NETLINK_NETFILTER));
  nfgenmsg header{};
  header.version = NFNETLINK_V0;
  std::vector<NftChain> out;
  auto listed = netlink.list(NetlinkRequest((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETCHAIN, NLM_F_DUMP, header),
                             "list nftables chains", [&out](std::uint16_t, std::span<const char> payload) {
                               nfgenmsg answer{};
                               if (payload.size() < sizeof answer) return;
                               std::memcpy(&answer, payload.data(), sizeof answer);
                               NftChain chain{.family = answer.nfgen_family, .table = {}, .name = {}};
                               for_each_attribute(payload.subspan(sizeof answer),
                                                  [&chain](std::uint16_t type, std::span<const char> value) {
                                                    if (type == NFTA_CHAIN_TABLE) chain.table = as_text(value);
                                                    if (type == NFTA_CHAIN_NAME) chain.name = as_text(value);
                                                  });
                               out.push_back(std::move(chain));
                             });
  // What nfnetlink answers for a subsystem that is not there.
  if (!listed && listed.error().os_error() != EINVAL && listed.error().os_error() != EOPNOTSUPP) {
    return std::unexpected(listed.error());
  }
  return out;
}

}  // namespace weft::cni::redirect
