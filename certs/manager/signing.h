// The authority as it is now: read from its folder, watched, and what follows from it, our own serving certificate.
//
// A folder that does not fit together is reported, and the last good authority goes on signing. Loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "certs/manager/authority.h"
#include "lib/async/loop.h"
#include "lib/tls/context.h"

namespace weft::certs::manager {

class Signing {
 public:
  // Several files are replaced in a rotation; they are read this long after the first change. Shorter than what clients that
  // watch the same root file wait (TrustRoots::kSettle): we then serve under a new root before they insist on it.
  static constexpr Duration kSettle = std::chrono::seconds(1);
  // Our own serving certificate, renewed at half life.
  static constexpr Duration kServingLife = std::chrono::hours(24);
  // Wall-clock times are looked at this often, because the clock may be set; for so long clients may refuse us.
  static constexpr Duration kClockCheck = std::chrono::seconds(30);
  // Roots and signers that end within this time are complained about daily.
  static constexpr Duration kExpiresSoon = std::chrono::hours(24 * 30);
  static constexpr Duration kComplaintInterval = std::chrono::hours(24);

  Signing(Loop& loop, io::Files& files, std::string directory, std::string trust_domain, tls::AlternativeNames names);

  // Makes the folder and a root where there is none, reads it and watches it. Errors say which file is wrong.
  Result<void> start();

  // Never null after start().
  const std::shared_ptr<const Authority>& authority() const { return authority_; }
  // For new connections; null when the authority cannot issue one.
  const std::shared_ptr<const tls::Context>& serving() const { return serving_; }

  // What keeps certificates from being of use: an expired signer or no root that is still valid.
  std::optional<std::string> problem() const;
  // The first end of life among the roots handed out.
  WallTime roots_end() const;
  WallTime serving_end() const { return serving_end_; }
  // Readings of the folder that failed, and whether the latest did.
  std::uint64_t reload_errors() const { return reload_errors_; }
  bool stale() const { return stale_; }

 private:
  void reload();
  void renew_serving();
  void report_ends();
  void on_timer();

  Loop& loop_;
  io::Files& files_;
  const std::string directory_;
  const std::string trust_domain_;
  const tls::AlternativeNames names_;
  std::unique_ptr<io::Files::Watch> watch_;
  std::shared_ptr<const Authority> authority_;
  std::shared_ptr<const tls::Context> serving_;
  WallTime serving_begin_{}, serving_renewal_{}, serving_end_{};
  WallTime last_report_{};
  std::uint64_t generation_ = 0;
  std::uint64_t reload_errors_ = 0;
  std::string reload_error_;  // logged once, for a folder that is gone is looked at every second
  bool stale_ = false;
  Timer timer_;
};

}  // namespace weft::certs::manager
