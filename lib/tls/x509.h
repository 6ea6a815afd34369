// X.509 as the mesh needs it: certificates parsed from PEM, requests made and read, certificates issued.
//
// Input may come from a peer or a broken file: every parser answers kInvalidArgument and bounds what it accepts.
// Sources: RFC 5280, RFC 7468, SPIFFE X.509-SVID; the shape of requests is what Istio's authority expects.
#pragma once

#include <compare>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"
#include "lib/tls/key.h"

struct x509_st;      // OpenSSL's X509
struct X509_req_st;  // OpenSSL's X509_REQ

namespace weft::tls {

// Subject alternative names, in the order of the certificate.
struct AlternativeNames {
  std::vector<std::string> uris{};
  std::vector<std::string> dns{};
  std::vector<IpAddress> ips{};
  bool operator==(const AlternativeNames&) const = default;
};

// Those of an OpenSSL certificate, for lib/tls only; kInvalidArgument when they do not decode or occur twice.
Result<AlternativeNames> alternative_names(x509_st* native);

// One certificate. Immutable handle, cheap to copy, usable from any thread.
class Certificate {
 public:
  // The first certificate block of `pem`.
  static Result<Certificate> from_pem(std::string_view pem);
  // For lib/tls only: shares `native` (takes its own reference).
  static Result<Certificate> from_native(x509_st* native);

  std::string to_pem() const;
  WallTime not_before() const { return parsed_->not_before; }
  WallTime not_after() const { return parsed_->not_after; }
  const AlternativeNames& names() const { return parsed_->names; }
  // Decimal, as istioctl prints it.
  const std::string& serial() const { return parsed_->serial; }
  // RFC 2253 text, "" for an empty subject.
  const std::string& subject() const { return parsed_->subject; }
  const std::string& issuer() const { return parsed_->issuer; }
  bool is_authority() const { return parsed_->is_authority; }
  // Whether `issuer`'s key made this certificate's signature.
  bool signed_by(const Certificate& issuer) const;
  // Whether the certificate is for `key`.
  bool matches(const PrivateKey& key) const;
  bool operator==(const Certificate& other) const;

  x509_st* native() const { return parsed_->native.get(); }

 private:
  struct Parsed {
    std::shared_ptr<x509_st> native;
    WallTime not_before, not_after;
    AlternativeNames names;
    std::string serial, subject, issuer;
    bool is_authority = false;
  };
  explicit Certificate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  std::shared_ptr<const Parsed> parsed_;
};

enum class BadBlocks { kRefuse, kSkip };  // kSkip: roots that do not parse are left out, the others serve
// All certificate blocks of `pem`, in order; other PEM blocks are passed over. No certificate at all is an error.
Result<std::vector<Certificate>> parse_certificates(std::string_view pem, BadBlocks bad_blocks = BadBlocks::kRefuse);
std::string to_pem(const std::vector<Certificate>& certificates);

// A signing request, "-----BEGIN CERTIFICATE REQUEST-----": empty subject, SHA-256, exactly one extension, a critical
// subjectAltName with the one URI.
Result<std::string> make_request(const PrivateKey& key, std::string_view uri);

class Request {
 public:
  // Parses and verifies the request's own signature: the sender holds the key. Keys below RSA 2048 and P-224 are refused.
  static Result<Request> from_pem(std::string_view pem);
  const AlternativeNames& names() const { return names_; }
  X509_req_st* native() const { return native_.get(); }

 private:
  Request(std::shared_ptr<X509_req_st> native, AlternativeNames names)
      : native_(std::move(native)), names_(std::move(names)) {}
  std::shared_ptr<X509_req_st> native_;
  AlternativeNames names_;
};

// What a certificate shall say.
struct Profile {
  std::string common_name;  // "" = empty subject, subjectAltName critical
  AlternativeNames names;
  WallTime not_before, not_after;
  bool authority = false;   // else a leaf for serverAuth and clientAuth
  bool server_auth = true;  // leaf only
  bool client_auth = true;  // leaf only
};

Result<Certificate> issue(const Certificate& issuer, const PrivateKey& issuer_key, const Request& request,
                          const Profile& profile);
// For a key of our own: the authority's serving certificate, an intermediate, tests.
Result<Certificate> issue(const Certificate& issuer, const PrivateKey& issuer_key, const PrivateKey& subject_key,
                          const Profile& profile);
Result<Certificate> self_sign(const PrivateKey& key, const Profile& profile);

}  // namespace weft::tls
