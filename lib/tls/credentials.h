// What one side of a connection shows and trusts: certificate chain, private key, roots. Immutable, published between
// threads as std::shared_ptr<const Credentials>; a renewal makes a new object with the next generation number.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/result.h"
#include "lib/model/identity.h"
#include "lib/tls/key.h"
#include "lib/tls/x509.h"

namespace weft::tls {

class Credentials {
 public:
  // `chain`: leaf first, then intermediates, no root. kInvalidArgument when the chain is empty, no root is given, or the
  // key does not belong to the leaf. `generation` tells credentials of one identity apart: connections made with an
  // older one are not given new streams.
  static Result<std::shared_ptr<const Credentials>> create(PrivateKey key, std::vector<Certificate> chain,
                                                           std::vector<Certificate> roots, std::uint64_t generation);

  const PrivateKey& key() const { return key_; }
  const Certificate& leaf() const { return chain_.front(); }
  const std::vector<Certificate>& chain() const { return chain_; }
  const std::vector<Certificate>& roots() const { return roots_; }
  WallTime not_before() const { return leaf().not_before(); }
  WallTime not_after() const { return leaf().not_after(); }
  std::uint64_t generation() const { return generation_; }
  // The leaf's first URI that is a SPIFFE identity; none for a control-plane server's certificate.
  const std::optional<model::Identity>& identity() const { return identity_; }

 private:
  Credentials(PrivateKey key, std::vector<Certificate> chain, std::vector<Certificate> roots, std::uint64_t generation);

  PrivateKey key_;
  std::vector<Certificate> chain_;
  std::vector<Certificate> roots_;
  std::uint64_t generation_;
  std::optional<model::Identity> identity_;
};

}  // namespace weft::tls
