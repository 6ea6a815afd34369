// A certificate authority for tests: makes credentials with whatever is to be tried. Fixed-length signatures on request,
// so that a simulation's record sizes repeat.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/check.h"
#include "lib/tls/credentials.h"

namespace weft::tls {

class TestAuthority {
 public:
  explicit TestAuthority(WallTime now, std::string name = "test root", KeyKind kind = KeyKind::kEcdsaP256)
      : now_(now), kind_(kind), key_(must(PrivateKey::generate(kind))), root_(must(self_sign(key_, root_profile(name)))) {}

  const Certificate& root() const { return root_; }
  const PrivateKey& key() const { return key_; }

  // Valid from an hour ago for a day, both usages, the given names.
  Profile leaf(AlternativeNames names) const {
    return {
        .names = std::move(names), .not_before = now_ - std::chrono::hours(1), .not_after = now_ + std::chrono::hours(23)};
  }
  std::shared_ptr<const Credentials> credentials(const Profile& profile, std::uint64_t generation = 1) const {
    auto key = must(PrivateKey::generate(kind_));
    auto certificate = must(issue(root_, key_, key, profile));
    return must(Credentials::create(key, {certificate}, {root_}, generation));
  }
  // For the SPIFFE identity `uri`.
  std::shared_ptr<const Credentials> credentials(const std::string& uri, std::uint64_t generation = 1) const {
    return credentials(leaf({.uris = {uri}}), generation);
  }

 private:
  template <typename T>
  static T must(Result<T> result) {
    WEFT_CHECK(result.has_value());
    return std::move(*result);
  }
  Profile root_profile(std::string name) const {
    return {.common_name = std::move(name),
            .not_before = now_ - std::chrono::hours(24),
            .not_after = now_ + std::chrono::hours(24 * 365),
            .authority = true};
  }

  WallTime now_;
  KeyKind kind_;
  PrivateKey key_;
  Certificate root_;
};

}  // namespace weft::tls
