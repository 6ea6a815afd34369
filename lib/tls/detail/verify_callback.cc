#include "lib/tls/detail/verify_callback.h"

namespace weft::tls::detail {
namespace {

// Certificates a peer may show, its own included: each costs a parse and up to a signature check.
constexpr int kChainMax = 5;

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 0;
}

}  // namespace

void TrafficSecrets::clear() {
  OPENSSL_cleanse(client.data(), client.size());
  OPENSSL_cleanse(server.data(), server.size());
  client_size = server_size = 0;
}

void keep_secret(const SSL* ssl, const char* text) {
  auto* check = static_cast<PeerCheck*>(SSL_get_app_data(ssl));
  const std::string_view line(text);
  const bool client = line.starts_with("CLIENT_TRAFFIC_SECRET_0 ");
  if (!client && !line.starts_with("SERVER_TRAFFIC_SECRET_0 ")) return;
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  auto& secret = client ? check->secrets.client : check->secrets.server;
  if (hex.size() % 2 != 0 || hex.size() / 2 > secret.size()) return;
  for (std::size_t i = 0; i < hex.size() / 2; ++i) {
    secret[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  }
  (client ? check->secrets.client_size : check->secrets.server_size) = hex.size() / 2;
}

int verify_peer(X509_STORE_CTX* store, void*) {
  const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* check = static_cast<PeerCheck*>(SSL_get_app_data(ssl));
  if (sk_X509_num(X509_STORE_CTX_get0_untrusted(store)) > kChainMax) {
    check->error =
        Error(ErrorCode::kTls, "invalid peer certificate: more than " + std::to_string(kChainMax) + " in its chain");
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_CHAIN_TOO_LONG);
    return 0;
  }
  const auto seconds = std::chrono::floor<std::chrono::seconds>(check->verification.now).time_since_epoch().count();
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(store), static_cast<std::time_t>(seconds));
  if (X509_verify_cert(store) != 1) {
    const char* reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(store));
    check->error = Error(ErrorCode::kTls, std::string("invalid peer certificate: ") + reason);
    return 0;
  }
  auto names = alternative_names(X509_STORE_CTX_get0_cert(store));
  Result<std::optional<model::Identity>> verdict =
      names ? check_peer(*names, check->verification.expectation) : fail(std::move(names).error());
  if (!verdict) {
    check->error = std::move(verdict).error();
    X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
    return 0;
  }
  check->identity = std::move(*verdict);
  return 1;
}

}  // namespace weft::tls::detail
