// The certificate manager's command line; each flag has an environment variable that stands in for it.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/tls/x509.h"

namespace weft::certs::manager {

struct Settings {
  SocketAddress listen;               // gRPC over TLS
  std::uint16_t status_port = 15013;  // readiness and metrics, on 127.0.0.1; 0: the kernel chooses
  std::string ca_directory;
  std::string manifest_directory;
  std::string token_directory;
  tls::AlternativeNames server_names;  // what the serving certificate says
  std::string trust_domain = "cluster.local";
  Duration certificate_life = std::chrono::hours(1);  // the longest a leaf may live
  std::string log_filter = "info";
  bool log_json = false;
};

// Longer-lived leaves would make a stolen key useful for too long; shorter ones would be renewed every few seconds.
inline constexpr Duration kCertificateLifeMin = std::chrono::minutes(2);
inline constexpr Duration kCertificateLifeMax = std::chrono::hours(24 * 7);

// The settings, or the code to exit with after help (0) or a report of everything that is wrong (64) was printed.
std::expected<Settings, int> read_settings(int argc, const char* const* argv);

}  // namespace weft::certs::manager
