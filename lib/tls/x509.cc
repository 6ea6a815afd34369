#include "lib/tls/x509.h"

#include <algorithm>
#include <ctime>

#include "lib/tls/detail/openssl.h"

namespace weft::tls {
namespace {

using detail::fail_openssl;

// WallTime counts nanoseconds in 64 bits and ends in 2262; "no expiry" (year 9999) is held at this.
constexpr std::int64_t kSecondsMax = 9'000'000'000;
// NIST SP 800-57 part 1: what RSA 2048 and P-224 give.
constexpr int kSecurityBitsMin = 112;
// RFC 5280 4.1.2.2 has at most 20 octets; some roots are longer. Turning it into decimal text costs the square of this.
constexpr int kSerialMax = 64;

WallTime to_wall(const ASN1_TIME* time) {
  std::tm parts{};
  if (!time || !ASN1_TIME_to_tm(time, &parts)) return WallTime{};
  const std::int64_t seconds = std::clamp<std::int64_t>(timegm(&parts), -kSecondsMax, kSecondsMax);
  return WallTime{std::chrono::seconds(seconds)};
}

std::time_t to_seconds(WallTime time) {
  return static_cast<std::time_t>(std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count());
}

std::string to_text(const ASN1_STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<std::size_t>(ASN1_STRING_length(text))};
}

std::string to_text(const X509_NAME* name) {
  detail::BioHandle bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  return detail::contents(bio.get());
}

std::string to_decimal(const ASN1_INTEGER* number) {
  detail::BignumHandle value(ASN1_INTEGER_to_BN(number, nullptr));
  if (!value) return {};
  char* text = BN_bn2dec(value.get());
  std::string result = text ? text : "";
  OPENSSL_free(text);
  return result;
}

AlternativeNames to_names(const GENERAL_NAMES* names) {
  AlternativeNames result;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type == GEN_URI) result.uris.push_back(to_text(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) result.dns.push_back(to_text(name->d.dNSName));
    if (name->type == GEN_IPADD) {
      const ASN1_STRING* bytes = name->d.iPAddress;
      auto ip = IpAddress::from_bytes({ASN1_STRING_get0_data(bytes), static_cast<std::size_t>(ASN1_STRING_length(bytes))});
      if (ip) result.ips.push_back(*ip);
    }
  }
  return result;
}

void add_name(GENERAL_NAMES* names, int type, ASN1_STRING* value) {
  GENERAL_NAME* name = GENERAL_NAME_new();
  GENERAL_NAME_set0_value(name, type, value);
  sk_GENERAL_NAME_push(names, name);
}

ASN1_STRING* ia5(std::string_view text) {
  ASN1_STRING* string = ASN1_IA5STRING_new();
  ASN1_STRING_set(string, text.data(), static_cast<int>(text.size()));
  return string;
}

// A subjectAltName extension; null when there is no name.
detail::ExtensionHandle names_extension(const AlternativeNames& names, bool critical) {
  detail::NamesHandle list(GENERAL_NAMES_new());
  for (const auto& uri : names.uris) add_name(list.get(), GEN_URI, ia5(uri));
  for (const auto& dns : names.dns) add_name(list.get(), GEN_DNS, ia5(dns));
  for (const auto& ip : names.ips) {
    ASN1_STRING* bytes = ASN1_OCTET_STRING_new();
    ASN1_STRING_set(bytes, ip.bytes().data(), static_cast<int>(ip.bytes().size()));
    add_name(list.get(), GEN_IPADD, bytes);
  }
  if (sk_GENERAL_NAME_num(list.get()) == 0) return nullptr;
  return detail::ExtensionHandle(X509V3_EXT_i2d(NID_subject_alt_name, critical, list.get()));
}

bool add_extension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  detail::ExtensionHandle extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// Ed25519 has its own digest; everything else is signed over SHA-256.
const EVP_MD* digest_for(EVP_PKEY* key) { return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519 ? nullptr : EVP_sha256(); }

bool set_random_serial(X509* certificate) {
  // RFC 5280 4.1.2.2: positive, at most 20 octets; 127 random bits are beyond guessing.
  detail::BignumHandle serial(BN_new());
  return serial && BN_rand(serial.get(), 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1 &&
         BN_add_word(serial.get(), 1) == 1 && BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(certificate));
}

// `issuer` null: self-signed.
Result<Certificate> build(X509* issuer, EVP_PKEY* issuer_key, EVP_PKEY* subject_key, const Profile& profile) {
  detail::CertificateHandle certificate(X509_new());
  X509* made = certificate.get();
  bool ok = made && X509_set_version(made, X509_VERSION_3) == 1 && set_random_serial(made) &&
            X509_set_pubkey(made, subject_key) == 1;
  X509_NAME* subject = ok ? X509_get_subject_name(made) : nullptr;
  if (ok && !profile.common_name.empty()) {
    ok = X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(profile.common_name.data()),
                                    static_cast<int>(profile.common_name.size()), -1, 0) == 1;
  }
  ok = ok && X509_set_issuer_name(made, issuer ? X509_get_subject_name(issuer) : subject) == 1 &&
       ASN1_TIME_set(X509_getm_notBefore(made), to_seconds(profile.not_before)) &&
       ASN1_TIME_set(X509_getm_notAfter(made), to_seconds(profile.not_after));
  X509* signer = issuer ? issuer : made;
  if (ok && profile.authority) {
    ok = add_extension(made, signer, NID_basic_constraints, "critical,CA:TRUE") &&
         add_extension(made, signer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
         add_extension(made, signer, NID_subject_key_identifier, "hash");
  } else if (ok) {
    const char* purposes = profile.server_auth && profile.client_auth ? "serverAuth,clientAuth"
                           : profile.server_auth                      ? "serverAuth"
                                                                      : "clientAuth";
    ok = add_extension(made, signer, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(made, signer, NID_key_usage, "critical,digitalSignature") &&
         add_extension(made, signer, NID_ext_key_usage, purposes);
  }
  if (ok && issuer && X509_get0_subject_key_id(issuer)) {
    ok = add_extension(made, signer, NID_authority_key_identifier, "keyid");
  }
  if (auto names = names_extension(profile.names, profile.common_name.empty()); ok && names) {
    ok = X509_add_ext(made, names.get(), -1) == 1;
  }
  if (!ok || X509_sign(made, issuer_key, digest_for(issuer_key)) == 0) return fail_openssl("cannot issue a certificate");
  return Certificate::from_native(made);
}

}  // namespace

Result<AlternativeNames> alternative_names(x509_st* native) {
  int critical = 0;
  detail::NamesHandle names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(native, NID_subject_alt_name, &critical, nullptr)));
  if (!names && critical != -1) {  // -1: not there; else it occurs twice or does not decode
    ERR_clear_error();
    return fail(ErrorCode::kInvalidArgument, "certificate has malformed alternative names");
  }
  return to_names(names.get());
}

Result<Certificate> Certificate::from_native(x509_st* native) {
  auto parsed = std::make_shared<Parsed>();
  X509_up_ref(native);
  parsed->native = std::shared_ptr<X509>(native, X509_free);
  // Decodes and caches every extension now: malformed ones are found here, and later reads need no lock.
  const std::uint32_t flags = X509_get_extension_flags(native);
  if (flags & EXFLAG_INVALID) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalidArgument, "certificate has a malformed extension");
  }
  parsed->is_authority = (flags & EXFLAG_CA) != 0;
  if (ASN1_STRING_length(X509_get0_serialNumber(native)) > kSerialMax) {
    return fail(ErrorCode::kInvalidArgument, "certificate has an overlong serial number");
  }
  std::tm unused{};
  if (!ASN1_TIME_to_tm(X509_get0_notBefore(native), &unused) || !ASN1_TIME_to_tm(X509_get0_notAfter(native), &unused)) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalidArgument, "certificate has a malformed validity");
  }
  parsed->not_before = to_wall(X509_get0_notBefore(native));
  parsed->not_after = to_wall(X509_get0_notAfter(native));
  WEFT_TRY(parsed->names, alternative_names(native));
  parsed->serial = to_decimal(X509_get0_serialNumber(native));
  parsed->subject = to_text(X509_get_subject_name(native));
  parsed->issuer = to_text(X509_get_issuer_name(native));
  return Certificate(std::move(parsed));
}

Result<Certificate> Certificate::from_pem(std::string_view pem) {
  if (pem.size() > kPemSizeMax) return fail(ErrorCode::kInvalidArgument, "certificate file is too large");
  auto bio = detail::reader(pem);
  detail::CertificateHandle native(PEM_read_bio_X509(bio.get(), nullptr, detail::no_pass_phrase, nullptr));
  if (!native) return fail(ErrorCode::kInvalidArgument, "not a PEM certificate: " + detail::take_error_text());
  return from_native(native.get());
}

std::string Certificate::to_pem() const {
  detail::BioHandle bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), native());
  return detail::contents(bio.get());
}

bool Certificate::signed_by(const Certificate& issuer) const {
  EVP_PKEY* key = X509_get0_pubkey(issuer.native());
  const bool valid = key && X509_verify(native(), key) == 1;
  ERR_clear_error();
  return valid;
}

bool Certificate::matches(const PrivateKey& key) const {
  const bool matches = X509_check_private_key(native(), key.native()) == 1;
  ERR_clear_error();
  return matches;
}

bool Certificate::operator==(const Certificate& other) const { return X509_cmp(native(), other.native()) == 0; }

Result<std::vector<Certificate>> parse_certificates(std::string_view pem, BadBlocks bad_blocks) {
  if (pem.size() > kPemSizeMax) return fail(ErrorCode::kInvalidArgument, "certificate file is too large");
  std::vector<Certificate> certificates;
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  // Block by block, so that one that does not decode hides none behind it.
  for (std::size_t at = pem.find(kBegin); at != std::string_view::npos;) {
    const std::size_t next = pem.find(kBegin, at + kBegin.size());
    auto certificate = Certificate::from_pem(pem.substr(at, next == std::string_view::npos ? next : next - at));
    if (certificate) {
      certificates.push_back(std::move(*certificate));
    } else if (bad_blocks == BadBlocks::kRefuse) {
      return fail(std::move(certificate).error());
    }
    at = next;
  }
  if (certificates.empty()) return fail(ErrorCode::kInvalidArgument, "no certificate found in PEM text");
  return certificates;
}

std::string to_pem(const std::vector<Certificate>& certificates) {
  std::string text;
  for (const auto& certificate : certificates) text += certificate.to_pem();
  return text;
}

Result<std::string> make_request(const PrivateKey& key, std::string_view uri) {
  detail::RequestHandle request(X509_REQ_new());
  auto names = names_extension({.uris = {std::string(uri)}}, true);
  STACK_OF(X509_EXTENSION)* extensions = sk_X509_EXTENSION_new_null();
  if (names) sk_X509_EXTENSION_push(extensions, names.get());
  const bool ok = request && names && X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1 &&
                  X509_REQ_set_pubkey(request.get(), key.native()) == 1 &&
                  X509_REQ_add_extensions(request.get(), extensions) == 1 &&
                  X509_REQ_sign(request.get(), key.native(), digest_for(key.native())) > 0;
  sk_X509_EXTENSION_free(extensions);
  if (!ok) return fail_openssl("cannot make a certificate request");
  detail::BioHandle bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509_REQ(bio.get(), request.get());
  return detail::contents(bio.get());
}

Result<Request> Request::from_pem(std::string_view pem) {
  if (pem.size() > kPemSizeMax) return fail(ErrorCode::kInvalidArgument, "certificate request is too large");
  auto bio = detail::reader(pem);
  detail::RequestHandle native(PEM_read_bio_X509_REQ(bio.get(), nullptr, detail::no_pass_phrase, nullptr));
  if (!native) return fail(ErrorCode::kInvalidArgument, "not a PEM certificate request: " + detail::take_error_text());
  EVP_PKEY* key = X509_REQ_get0_pubkey(native.get());
  if (!key || X509_REQ_verify(native.get(), key) != 1) {
    ERR_clear_error();
    return fail(ErrorCode::kInvalidArgument, "certificate request is not signed by its own key");
  }
  if (EVP_PKEY_get_security_bits(key) < kSecurityBitsMin) {
    return fail(ErrorCode::kInvalidArgument, "certificate request has a weak key");
  }
  STACK_OF(X509_EXTENSION)* extensions = X509_REQ_get_extensions(native.get());
  int critical = 0;
  detail::NamesHandle names(
      static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions, NID_subject_alt_name, &critical, nullptr)));
  sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
  ERR_clear_error();
  if (!names && critical != -1) {
    return fail(ErrorCode::kInvalidArgument, "certificate request has malformed alternative names");
  }
  AlternativeNames parsed = to_names(names.get());
  return Request(std::shared_ptr<X509_REQ>(native.release(), X509_REQ_free), std::move(parsed));
}

Result<Certificate> issue(const Certificate& issuer, const PrivateKey& issuer_key, const Request& request,
                          const Profile& profile) {
  return build(issuer.native(), issuer_key.native(), X509_REQ_get0_pubkey(request.native()), profile);
}

Result<Certificate> issue(const Certificate& issuer, const PrivateKey& issuer_key, const PrivateKey& subject_key,
                          const Profile& profile) {
  return build(issuer.native(), issuer_key.native(), subject_key.native(), profile);
}

Result<Certificate> self_sign(const PrivateKey& key, const Profile& profile) {
  return build(nullptr, key.native(), key.native(), profile);
}

}  // namespace weft::tls
