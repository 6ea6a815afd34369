#include <linux/netfilter.h>

#include <map>
#include <mutex>

#include "cni-plugin/redirect/chains.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/iptables.h"
#include "cni-plugin/redirect/iptables_text.h"
#include "cni-plugin/redirect/pod_rules.h"

namespace weft::cni::redirect {
namespace {

Result<void> restore(const IptablesProgram& program, const std::string& text) {
  return iptables_restore(program, text, LockScope::kNamespace);
}

Result<SavedRules> save(const IptablesProgram& program) {
  WEFT_TRY(const std::string text, iptables_save(program));
  return parse_saved_rules(text);
}

// How this program lists the rules that iptables_install_text() makes on this kernel: asked of an empty namespace. Constant
// while the process runs.
Result<std::string> expected_rules(const IptablesProgram& program, AddressFamily family, const Options& options) {
  static std::mutex mutex;
  static std::map<std::string, std::string> known;  // by program and text; a process has few
  const std::lock_guard lock(mutex);
  const auto installed = iptables_install_text(options, family, {});
  auto& text = known[program.name + "\n" + installed];
  if (!text.empty()) return text;
  WEFT_TRY(text, inside_new<std::string>([&]() -> Result<std::string> {
             WEFT_TRY_VOID(restore(program, installed));
             WEFT_TRY(const auto saved, save(program));
             return saved.text();
           }));
  return text;
}

class IptablesRules final : public PodRules {
 public:
  IptablesRules(IptablesProgram program, AddressFamily family) : program_(std::move(program)), family_(family) {}

  Result<bool> present() override {
    WEFT_TRY(const auto found, saved());
    return !found.tables.empty();
  }
  Result<bool> right(const Options& options) override {
    WEFT_TRY(const auto found, saved());
    if (!concerns_us(options)) return found.tables.empty();
    WEFT_TRY(const std::string expected, expected_rules(program_, family_, options));
    return found.text() == expected;
  }
  Result<bool> has_delivery_zone() override {
    WEFT_TRY(const auto found, saved());
    return found.text().find("--zone-orig") != std::string::npos;
  }
  Result<void> track(const Options& options) override {
    if (!concerns_us(options)) return {};
    return restore(program_, iptables_tracking_text(options, family_));
  }
  Result<void> install(const Options& options) override {
    if (!concerns_us(options)) return remove();
    WEFT_TRY(const auto found, saved());
    return restore(program_, iptables_install_text(options, family_, found));
  }
  Result<void> remove() override {
    WEFT_TRY(const auto found, saved());
    return restore(program_, iptables_remove_text(found));
  }

 private:
  bool concerns_us(const Options& options) const { return family_ == AddressFamily::kIpv4 || options.ipv6; }

  // The program is run only where there may be something.
  Result<SavedRules> saved() const {
    if (program_.legacy) {
      if (!has_legacy_tables(family_)) return SavedRules{};
      return save(program_);
    }
    WEFT_TRY(const auto chains, list_nft_chains());
    const int family = family_ == AddressFamily::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
    for (const auto& chain : chains) {
      if (chain.family == family) return save(program_);
    }
    return SavedRules{};
  }

  const IptablesProgram program_;
  const AddressFamily family_;
};

}  // namespace

PodRulesPtr make_iptables_rules(const IptablesProgram& program, AddressFamily family) {
  return std::make_unique<IptablesRules>(program, family);
}

}  // namespace weft::cni::redirect
