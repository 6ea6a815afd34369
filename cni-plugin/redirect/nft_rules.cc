#include <linux/netfilter.h>

#include <map>
#include <mutex>

#include "cni-plugin/redirect/chains.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/nft.h"
#include "cni-plugin/redirect/nft_text.h"
#include "cni-plugin/redirect/pod_rules.h"

namespace weft::cni::redirect {
namespace {

Result<std::string> list_tables() {
  WEFT_TRY(const std::string listing, run_nft("list ruleset inet\n"));
  return nft_our_tables(listing);
}

// How this nft lists the rules that nft_install_text() makes on this kernel: asked of an empty namespace, because the words
// differ between versions. Constant while the process runs, so it is found out once.
Result<std::string> expected_tables(const Options& options) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;  // by text; a process has one or two
  const std::lock_guard lock(mutex);
  const auto installed = nft_install_text(options);
  auto& text = known[installed];
  if (!text.empty()) return text;
  WEFT_TRY(text, inside_new<std::string>([&]() -> Result<std::string> {
             WEFT_TRY_VOID(run_nft(installed));
             return list_tables();
           }));
  return text;
}

class NftRules final : public PodRules {
 public:
  Result<bool> present() override {
    WEFT_TRY(const auto chains, list_nft_chains());
    for (const auto& chain : chains) {
      if (chain.family == NFPROTO_INET && chain.table.starts_with("istio-ambient-")) return true;
    }
    return false;
  }
  Result<bool> right(const Options& options) override {
    WEFT_TRY(const std::string expected, expected_tables(options));
    WEFT_TRY(const std::string present, list_tables());
    return present == expected;
  }
  Result<bool> has_delivery_zone() override {
    WEFT_TRY(const std::string present, list_tables());
    return present.find("ct original zone set") != std::string::npos;
  }
  Result<void> track(const Options& options) override { return run(nft_tracking_text(options)); }
  Result<void> install(const Options& options) override { return run(nft_install_text(options)); }
  Result<void> remove() override { return run(nft_remove_text()); }

 private:
  static Result<void> run(const std::string& text) {
    WEFT_TRY_VOID(run_nft(text));
    return {};
  }
};

}  // namespace

PodRulesPtr make_nft_rules() { return std::make_unique<NftRules>(); }

}  // namespace weft::cni::redirect
