#include "certs/manager/authority.h"

#include <algorithm>

#include "lib/base/log.h"

namespace weft::certs::manager {
namespace {

Result<std::string> read(io::Files& files, const std::string& directory, const std::string& name) {
  return files.read(directory + "/" + name, tls::kPemSizeMax);
}

// The certificates of a file that may be absent or empty.
Result<std::vector<tls::Certificate>> read_optional(io::Files& files, const std::string& directory,
                                                    const std::string& name) {
  auto content = read(files, directory, name);
  if (!content && content.error().code() == ErrorCode::kNotFound) return std::vector<tls::Certificate>{};
  if (!content) return fail(std::move(content).error());
  if (content->find("-----BEGIN") == std::string::npos) return std::vector<tls::Certificate>{};
  auto certificates = tls::parse_certificates(*content);
  if (!certificates) return fail(std::move(certificates).error().within(name));
  return certificates;
}

bool contains(const std::vector<tls::Certificate>& list, const tls::Certificate& certificate) {
  return std::find(list.begin(), list.end(), certificate) != list.end();
}

void add_new(std::vector<tls::Certificate>& list, const std::vector<tls::Certificate>& more) {
  for (const auto& certificate : more) {
    if (!contains(list, certificate)) list.push_back(certificate);
  }
}

}  // namespace

Result<void> Authority::initialise(io::Files& files, const std::string& directory, const std::string& trust_domain,
                                   WallTime now) {
  auto existing = read(files, directory, "ca-key.pem");
  if (existing) return {};
  if (existing.error().code() != ErrorCode::kNotFound) return fail(std::move(existing).error());
  // A root without its key was provided incompletely; making another one would cut off whoever trusts the first.
  if (read(files, directory, "root-cert.pem")) {
    return fail(ErrorCode::kInvalidArgument, directory + " has root-cert.pem but no ca-key.pem");
  }
  WEFT_TRY_VOID(files.make_directory(directory, 0700));
  WEFT_TRY(auto key, tls::PrivateKey::generate());
  tls::Profile profile{.common_name = "weft root for " + trust_domain,
                       .names = {},
                       .not_before = now - kBackdate,
                       .not_after = now + kRootLife,
                       .authority = true};
  WEFT_TRY(auto root, tls::self_sign(key, profile));
  WEFT_TRY_VOID(files.write(directory + "/root-cert.pem", root.to_pem(), 0644));
  WEFT_TRY_VOID(files.write(directory + "/ca-cert.pem", root.to_pem(), 0644));
  WEFT_TRY_VOID(files.write(directory + "/cert-chain.pem", "", 0644));
  // The key comes last: its presence says that the folder is complete.
  WEFT_TRY_VOID(files.write(directory + "/ca-key.pem", key.to_pem(), 0600));
  WEFT_LOG(kInfo, "ca", "made a new root", {"directory", directory}, {"trust_domain", trust_domain});
  return {};
}

Result<std::shared_ptr<const Authority>> Authority::load(io::Files& files, const std::string& directory) {
  WEFT_TRY(auto key_pem, read(files, directory, "ca-key.pem"));
  auto key = tls::PrivateKey::from_pem(key_pem);
  if (!key) return fail(std::move(key).error().within("ca-key.pem"));
  WEFT_TRY(auto signer_pem, read(files, directory, "ca-cert.pem"));
  auto signer = tls::Certificate::from_pem(signer_pem);
  if (!signer) return fail(std::move(signer).error().within("ca-cert.pem"));
  WEFT_TRY(auto roots, read_optional(files, directory, "root-cert.pem"));
  WEFT_TRY(auto chain, read_optional(files, directory, "cert-chain.pem"));
  WEFT_TRY(auto next, read_optional(files, directory, "next-root-cert.pem"));
  WEFT_TRY(auto previous, read_optional(files, directory, "previous-root-cert.pem"));
  add_new(roots, next);
  add_new(roots, previous);
  if (roots.empty()) return fail(ErrorCode::kInvalidArgument, "root-cert.pem: no certificate found");
  if (!signer->matches(*key)) return fail(ErrorCode::kInvalidArgument, "ca-key.pem does not belong to ca-cert.pem");
  if (!signer->is_authority()) return fail(ErrorCode::kInvalidArgument, "ca-cert.pem may not sign certificates");

  // From the signer up: each certificate is signed by the next, the last by a root.
  std::vector<tls::Certificate> intermediates;
  tls::Certificate top = *signer;
  while (!contains(roots, top)) {
    intermediates.push_back(top);
    const bool under_root = std::any_of(roots.begin(), roots.end(), [&](const auto& root) { return top.signed_by(root); });
    if (under_root) break;
    auto above = std::find_if(chain.begin(), chain.end(), [&](const auto& candidate) {
      return !contains(intermediates, candidate) && top.signed_by(candidate);
    });
    if (above == chain.end()) {
      return fail(ErrorCode::kInvalidArgument, "cert-chain.pem does not lead from ca-cert.pem to a root");
    }
    top = *above;
  }
  return std::shared_ptr<const Authority>(
      new Authority(std::move(*signer), std::move(*key), std::move(intermediates), std::move(roots)));
}

tls::Profile Authority::leaf_profile(tls::AlternativeNames names, Duration life, WallTime now) const {
  return {.names = std::move(names),
          .not_before = std::max(now - kBackdate, signer_.not_before()),
          .not_after = std::min(now + life, signer_.not_after())};
}

Result<std::vector<std::string>> Authority::issue(const tls::Request& request, const model::Identity& identity,
                                                  Duration life, WallTime now) const {
  if (signer_.not_after() <= now || signer_.not_before() > now) {
    return fail(ErrorCode::kUnavailable, "the signing certificate is not valid now");
  }
  const tls::Profile profile = leaf_profile({.uris = {identity.to_string()}}, life, now);
  WEFT_TRY(auto leaf, tls::issue(signer_, key_, request, profile));
  std::vector<std::string> elements{leaf.to_pem()};
  for (const auto& intermediate : intermediates_) elements.push_back(intermediate.to_pem());
  elements.push_back(tls::to_pem(roots_));
  return elements;
}

Result<std::shared_ptr<const tls::Credentials>> Authority::serving_credentials(const tls::AlternativeNames& names,
                                                                               Duration life, WallTime now,
                                                                               std::uint64_t generation) const {
  if (signer_.not_after() <= now) return fail(ErrorCode::kUnavailable, "the signing certificate has expired");
  WEFT_TRY(auto key, tls::PrivateKey::generate());
  tls::Profile profile = leaf_profile(names, life, now);
  profile.client_auth = false;
  WEFT_TRY(auto leaf, tls::issue(signer_, key_, key, profile));
  std::vector<tls::Certificate> chain{std::move(leaf)};
  chain.insert(chain.end(), intermediates_.begin(), intermediates_.end());
  return tls::Credentials::create(std::move(key), std::move(chain), roots_, generation);
}

}  // namespace weft::certs::manager
