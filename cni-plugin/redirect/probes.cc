#include "cni-plugin/redirect/probes.h"

#include <unistd.h>

#include <mutex>

#include "cni-plugin/redirect/host_ruleset.h"
#include "cni-plugin/redirect/inside.h"
#include "cni-plugin/redirect/nft.h"

namespace weft::cni::redirect {
namespace {

// The three below act on the network namespace of the calling thread.
ProbeOptions usable(ProbeOptions options) {
  options.ipv6 = options.ipv6 && ::access("/proc/sys/net/ipv6", F_OK) == 0;
  return options;
}

Result<std::string> list() { return run_nft(host_list_text(), Listing::kElements); }

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

Result<void> exempt_probes(const Fd& netns, const ProbeOptions& options, const ProbedPods& pods) {
  return inside<void>(netns, [&]() -> Result<void> {
    WEFT_TRY_VOID(run_nft(host_install_text(usable(options), pods)));
    return {};
  });
}

Result<bool> verify_probes(const Fd& netns, const ProbeOptions& options, const ProbedPods& pods) {
  return inside<bool>(netns, [&]() -> Result<bool> {
    WEFT_TRY(const std::string wanted, expected(host_install_text(usable(options), pods)));
    WEFT_TRY(const std::string present, list());
    return present == wanted;
  });
}

Result<void> remove_probes(const Fd& netns) {
  return inside<void>(netns, []() -> Result<void> {
    WEFT_TRY_VOID(run_nft(host_remove_text()));
    return {};
  });
}

}  // namespace weft::cni::redirect
