#include "lib/tls/context.h"

#include "lib/tls/detail/openssl.h"
#include "lib/tls/detail/verify_callback.h"

namespace weft::tls {
namespace {

// A peer's certificates: OpenSSL refuses the message by its length, before it keeps any of it. An authority of a mesh has
// one or two intermediates; see detail/verify_callback.cc for their number.
constexpr long kCertificateBytesMax = 64 * 1024;

constexpr char kSuites13[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
constexpr char kSuites12[] =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384";
// ECDSA is what the mesh uses; RSA serves chains and servers of authorities that still do.
constexpr char kSignatures[] =
    "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ed25519:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:"
    "rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512";
// With a star a client sends a key share for the group at once (OpenSSL 3.5 syntax), so that a server without ML-KEM
// answers without an extra round trip.
constexpr char kGroupsHybrid[] = "*X25519MLKEM768:*X25519:P-256:P-384";
constexpr char kGroupsHybridOnly[] = "X25519MLKEM768";
constexpr char kGroupsClassic[] = "X25519:P-256:P-384";

bool set_groups(SSL_CTX* context, const char* groups) {
  const bool known = SSL_CTX_set1_groups_list(context, groups) == 1;
  ERR_clear_error();
  return known;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered,
                unsigned int offered_size, void* wire) {
  const auto* ours = static_cast<const std::string*>(wire);
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours->data()),
                                          static_cast<unsigned int>(ours->size()), offered, offered_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

}  // namespace

std::string library_version() { return OpenSSL_version(OPENSSL_VERSION); }

bool post_quantum_available() {
  static const bool available = [] {
    detail::ContextHandle probe(SSL_CTX_new(TLS_method()));
    return probe && set_groups(probe.get(), kGroupsHybridOnly);
  }();
  return available;
}

Result<std::shared_ptr<Context>> Context::build(const std::vector<Certificate>& roots, const ContextOptions& options) {
  std::shared_ptr<Context> context(new Context);
  SSL_CTX* native = SSL_CTX_new(TLS_method());
  if (!native) return detail::fail_openssl("cannot create a TLS context");
  context->native_ = std::shared_ptr<SSL_CTX>(native, SSL_CTX_free);

  SSL_CTX_set_min_proto_version(native, options.tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(native, TLS1_3_VERSION);
  SSL_CTX_set_options(native,
                      SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(native, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(native, 0);
  SSL_CTX_set_max_cert_list(native, kCertificateBytesMax);
  SSL_CTX_set_max_early_data(native, 0);
  if (SSL_CTX_set_ciphersuites(native, kSuites13) != 1 || SSL_CTX_set_cipher_list(native, kSuites12) != 1 ||
      SSL_CTX_set1_sigalgs_list(native, kSignatures) != 1) {
    return detail::fail_openssl("this OpenSSL lacks a TLS suite or signature we need");
  }
  if (options.post_quantum_only) {
    if (!set_groups(native, kGroupsHybridOnly)) {
      return fail(ErrorCode::kUnsupported, std::string("COMPLIANCE_POLICY=pqc needs X25519MLKEM768, which ") +
                                               OpenSSL_version(OPENSSL_VERSION) + " does not have (3.5 and later do)");
    }
  } else if (!set_groups(native, kGroupsHybrid) && !set_groups(native, kGroupsClassic)) {
    return detail::fail_openssl("this OpenSSL lacks the key exchange groups we need");
  }

  if (roots.empty()) {
    if (SSL_CTX_set_default_verify_paths(native) != 1) return detail::fail_openssl("cannot use the system's roots");
  }
  X509_STORE* store = SSL_CTX_get_cert_store(native);
  for (const auto& root : roots) X509_STORE_add_cert(store, root.native());
  // Any certificate of the bundle is a trust anchor, self-signed or not.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  ERR_clear_error();
  SSL_CTX_set_cert_verify_callback(native, detail::verify_peer, nullptr);

  context->own_records_ = options.own_records;
  if (options.own_records) SSL_CTX_set_keylog_callback(native, detail::keep_secret);
  context->alpn_ = options.alpn;
  for (const auto& name : options.alpn) {
    context->alpn_wire_ += static_cast<char>(name.size());
    context->alpn_wire_ += name;
  }
  if (!context->alpn_wire_.empty()) {
    SSL_CTX_set_alpn_protos(native, reinterpret_cast<const unsigned char*>(context->alpn_wire_.data()),
                            static_cast<unsigned int>(context->alpn_wire_.size()));
    SSL_CTX_set_alpn_select_cb(native, select_alpn, &context->alpn_wire_);
  }
  return context;
}

Result<std::shared_ptr<const Context>> Context::create(std::shared_ptr<const Credentials> credentials,
                                                       const ContextOptions& options) {
  WEFT_TRY(auto context, build(credentials->roots(), options));
  SSL_CTX* native = context->native_.get();
  bool ok = SSL_CTX_use_certificate(native, credentials->leaf().native()) == 1;
  for (std::size_t i = 1; ok && i < credentials->chain().size(); ++i) {
    ok = SSL_CTX_add1_chain_cert(native, credentials->chain()[i].native()) == 1;
  }
  // The chain is sent as given; OpenSSL must not complete it with the root.
  SSL_CTX_set_mode(native, SSL_MODE_NO_AUTO_CHAIN);
  if (!ok || SSL_CTX_use_PrivateKey(native, credentials->key().native()) != 1) {
    return detail::fail_openssl("cannot use the certificate");
  }
  context->credentials_ = std::move(credentials);
  return std::shared_ptr<const Context>(std::move(context));
}

Result<std::shared_ptr<const Context>> Context::for_client(const std::vector<Certificate>& roots,
                                                           const ContextOptions& options) {
  WEFT_TRY(auto context, build(roots, options));
  return std::shared_ptr<const Context>(std::move(context));
}

}  // namespace weft::tls
