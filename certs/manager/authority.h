// The signing half of the authority: root, signer, trust bundle, as files in one folder, with Istio's `cacerts` names.
//
//   root-cert.pem    the trust root (one or more)
//   ca-cert.pem      the certificate that signs; the root itself or an intermediate below it
//   ca-key.pem       its key
//   cert-chain.pem   ca-cert.pem and whatever stands between it and the root; may be empty when the root signs
//   next-root-cert.pem, previous-root-cert.pem   further roots handed out, for a rotation
//
// A folder without ca-key.pem gets a self-made root. Rotating the root without breaking a connection:
//   1. put the new root as next-root-cert.pem: every answer from now on carries both roots;
//   2. wait one leaf lifetime, so that every proxy has them;
//   3. replace ca-key.pem, ca-cert.pem, cert-chain.pem, root-cert.pem by the new ones, with the old root kept as
//      previous-root-cert.pem: the new signer signs, both roots are still handed out;
//   4. wait one leaf lifetime and remove previous-root-cert.pem (and next-root-cert.pem).
// The folder is watched; a state that does not fit together is reported and the last good one goes on signing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/io/files.h"
#include "lib/model/identity.h"
#include "lib/tls/credentials.h"
#include "lib/tls/x509.h"

namespace weft::certs::manager {

// One consistent reading of the folder. Immutable.
class Authority {
 public:
  // Self-made roots live this long; leaves never outlive their signer.
  static constexpr Duration kRootLife = std::chrono::hours(24 * 3650);
  // Clocks of nodes may be behind ours by this much.
  static constexpr Duration kBackdate = std::chrono::minutes(2);

  // Makes the folder (0700) and a root when there is no ca-key.pem. Does nothing otherwise.
  static Result<void> initialise(io::Files& files, const std::string& directory, const std::string& trust_domain,
                                 WallTime now);
  // Errors name the file that is wrong.
  static Result<std::shared_ptr<const Authority>> load(io::Files& files, const std::string& directory);

  // Leaf, intermediates, and last the roots: the elements of an answer.
  Result<std::vector<std::string>> issue(const tls::Request& request, const model::Identity& identity, Duration life,
                                         WallTime now) const;
  // A serving certificate of the authority's own.
  Result<std::shared_ptr<const tls::Credentials>> serving_credentials(const tls::AlternativeNames& names, Duration life,
                                                                      WallTime now, std::uint64_t generation) const;

  const std::vector<tls::Certificate>& roots() const { return roots_; }
  const tls::Certificate& signer() const { return signer_; }

 private:
  Authority(tls::Certificate signer, tls::PrivateKey key, std::vector<tls::Certificate> intermediates,
            std::vector<tls::Certificate> roots)
      : signer_(std::move(signer)),
        key_(std::move(key)),
        intermediates_(std::move(intermediates)),
        roots_(std::move(roots)) {}
  tls::Profile leaf_profile(tls::AlternativeNames names, Duration life, WallTime now) const;

  tls::Certificate signer_;
  tls::PrivateKey key_;
  std::vector<tls::Certificate> intermediates_;  // signer first unless it is a root
  std::vector<tls::Certificate> roots_;
};

}  // namespace weft::certs::manager
