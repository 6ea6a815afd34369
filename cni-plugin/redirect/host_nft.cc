#include <mutex>

#include "cni-plugin/redirect/host_rules.h"
#include "cni-plugin/redirect/host_text.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/nft.h"

namespace weft::cni::redirect {
namespace {

Result<std::string> list() { return run_nft(nft_host_list_text(), Listing::kElements); }

// How this nft lists what `text` installs: asked of an empty namespace, because the words differ between versions. The last
// answer is kept, since pods come and go less often than somebody looks.
Result<std::string> expected(const std::string& text) {
  static std::mutex mutex;
  static std::string last_text, last_listing;
  const std::lock_guard lock(mutex);
  if (text == last_text) return last_listing;
  WEFT_TRY(last_listing, inside_new<std::string>([&]() -> Result<std::string> {
             WEFT_TRY_VOID(run_nft(text));
             return list();
           }));
  last_text = text;
  return last_listing;
}

}  // namespace

Result<void> nft_exempt(const ProbeOptions& options, const ProbedPods& pods) {
  WEFT_TRY_VOID(run_nft(nft_host_install_text(options, pods)));
  return {};
}

Result<bool> nft_exempts(const ProbeOptions& options, const ProbedPods& pods) {
  WEFT_TRY(const std::string wanted, expected(nft_host_install_text(options, pods)));
  WEFT_TRY(const std::string present, list());
  return present == wanted;
}

Result<void> nft_unexempt() {
  WEFT_TRY_VOID(run_nft(nft_host_remove_text()));
  return {};
}

}  // namespace weft::cni::redirect
