#include "ztunnel/dump/certificates.h"

#include "lib/base/base64.h"
#include "lib/base/clock.h"

namespace weft::ztunnel::dump {
namespace {

Json describe(const std::vector<tls::Certificate>& certificates) {
  Json list = Json::array();
  for (const auto& certificate : certificates) {
    list.push_back({{"pem", base64(certificate.to_pem())},
                    {"serialNumber", certificate.serial()},
                    {"validFrom", format_rfc3339(certificate.not_before())},
                    {"expirationTime", format_rfc3339(certificate.not_after())}});
  }
  return list;
}

Json describe(const certs::SecretManager::Entry& entry) {
  const auto state = entry.secret->current();
  const auto& held = state->credentials;
  return {{"identity", entry.secret->identity().to_string()},
          {"state", state->to_string()},
          {"certChain", held ? describe(held->chain()) : Json::array()},
          {"rootCerts", held ? describe(held->roots()) : Json::array()}};
}

}  // namespace

Task<void> write_certificates(Writer& out, const std::vector<certs::SecretManager::Entry>& entries) {
  out.begin("certificates", '[');
  for (const auto& entry : entries) {
    out.element(describe(entry));
    if (out.due()) co_await out.pause();
  }
  out.end();
}

}  // namespace weft::ztunnel::dump
