#include "lib/tls/verify.h"

#include <algorithm>

namespace weft::tls {
namespace {

using Outcome = Result<std::optional<model::Identity>>;

std::string join(const std::vector<std::string>& parts) {
  std::string text;
  for (const auto& part : parts) {
    if (!text.empty()) text += ',';
    text += part;
  }
  return text;
}

std::unexpected<Error> refuse(std::string text) {
  return fail(ErrorCode::kIdentity, "identity verification error: " + std::move(text));
}

// The identity in the leaf's only URI, if it is one.
std::optional<model::Identity> only_identity(const AlternativeNames& names) {
  if (names.uris.size() != 1) return std::nullopt;
  auto identity = model::Identity::parse(names.uris.front());
  if (!identity) return std::nullopt;
  return std::move(*identity);
}

Outcome check(const AlternativeNames&, const AnyClient&) { return std::nullopt; }

Outcome check(const AlternativeNames& names, const MeshClient& expectation) {
  if (names.uris.size() > 1) return refuse("peer did not present exactly one URI SAN, got " + join(names.uris));
  auto identity = only_identity(names);
  if (expectation.trust_domain.empty()) return identity;
  if (!identity || identity->trust_domain != expectation.trust_domain) {
    return refuse("peer did not present the expected trustdomain (" + expectation.trust_domain + "), got " +
                  join(names.uris));
  }
  return identity;
}

Outcome check(const AlternativeNames& names, const MeshServer& expectation) {
  auto identity = only_identity(names);
  const auto& expected = expectation.expected;
  if (identity && std::find(expected.begin(), expected.end(), *identity) != expected.end()) return identity;
  std::vector<std::string> texts;
  for (const auto& one : expected) texts.push_back(one.to_string());
  return refuse("peer did not present the expected SAN (" + join(texts) + "), got " + join(names.uris));
}

bool names_host(const AlternativeNames& names, const std::string& host) {
  if (auto ip = IpAddress::parse(host)) {
    return std::find(names.ips.begin(), names.ips.end(), *ip) != names.ips.end();
  }
  return std::any_of(names.dns.begin(), names.dns.end(),
                     [&](const std::string& pattern) { return matches_dns_name(pattern, host); });
}

Outcome check(const AlternativeNames& names, const NamedServer& expectation) {
  if (names_host(names, expectation.host)) return std::nullopt;
  if (expectation.alternative && names_host(names, *expectation.alternative)) return std::nullopt;
  std::vector<std::string> presented = names.dns;
  for (const auto& ip : names.ips) presented.push_back(ip.to_string());
  return refuse("certificate is not valid for name " + expectation.host + ", it names " + join(presented));
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

}  // namespace

bool matches_dns_name(std::string_view pattern, std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.empty() || pattern.empty()) return false;
  if (!pattern.starts_with("*.")) return equal_ignoring_case(pattern, host);
  // A wildcard stands for exactly one label and needs two more behind it, so that "*.com" names nobody.
  const std::string_view suffix = pattern.substr(1);
  const std::size_t dot = host.find('.');
  if (dot == std::string_view::npos || dot == 0 || suffix.find('.', 1) == std::string_view::npos) return false;
  return equal_ignoring_case(suffix, host.substr(dot));
}

Outcome check_peer(const AlternativeNames& names, const Expectation& expectation) {
  return std::visit([&](const auto& expected) { return check(names, expected); }, expectation);
}

}  // namespace weft::tls
