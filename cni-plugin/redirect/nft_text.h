// The rules of rules.h as nftables text, in three inet tables: istio-ambient-nat, -mangle and -raw. Pure.
#pragma once

#include <string>
#include <string_view>

#include "cni-plugin/redirect/rules.h"

namespace weft::cni::redirect {

// One transaction that replaces all our tables. `ipv6` needs a kernel with IPv6.
std::string nft_install_text(const Options& options);
// One transaction after which conntrack sees connections, and nothing is redirected.
std::string nft_tracking_text(const Options& options);
// One transaction that removes our tables, if there are any.
std::string nft_remove_text();

// The part of `nft list ruleset` that lists our tables, sorted by name; empty when there are none.
std::string nft_our_tables(std::string_view listing);

}  // namespace weft::cni::redirect
