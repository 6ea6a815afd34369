#include "lib/translate/detail/principals.h"

#include <algorithm>

namespace weft::translate::detail {
namespace {

// "*-td" and "td-*" are patterns.
bool means(const std::string& written, const std::string& domain) {
  if (written.starts_with('*')) return domain.ends_with(written.substr(1));
  if (written.ends_with('*')) return domain.starts_with(written.substr(0, written.size() - 1));
  return written == domain;
}

std::vector<std::string> domains_of(const Options& options) {
  auto out = options.trust_domain_aliases;
  out.insert(out.begin(), options.trust_domain);
  return out;
}

}  // namespace

bool is_own_trust_domain(const Options& options, const std::string& trust_domain) {
  const auto domains = domains_of(options);
  return trust_domain == "cluster.local" ||
         std::ranges::any_of(domains, [&](const std::string& domain) { return means(trust_domain, domain); });
}

std::vector<std::string> principals_meant(const Options& options, const std::string& principal) {
  const auto slash = principal.find('/');
  const auto written = principal.substr(0, slash);
  if (std::ranges::count(principal, '/') != 4 || written == "*" || !is_own_trust_domain(options, written))
    return {principal};
  std::vector<std::string> out;
  for (const auto& domain : domains_of(options)) {
    // A pattern that covers the domain covers the principal as it is.
    const bool covered = written.starts_with('*') && means(written, domain);
    auto meant = covered ? principal : domain + principal.substr(slash);
    if (std::ranges::find(out, meant) == out.end()) out.push_back(std::move(meant));
  }
  return out;
}

}  // namespace weft::translate::detail
