#include "cni-plugin/redirect/nft.h"

#include "cni-plugin/redirect/command.h"

namespace weft::cni::redirect {

Result<std::string> run_nft(std::string_view script, Listing listing) {
  return run_command({.program = "nft",
                      .arguments = {"-s", listing == Listing::kRules ? "-nnt" : "-nn", "-f", "-"},
                      .input = script,
                      .package = "nftables"});
}

}  // namespace weft::cni::redirect
