// The roots that vouch for a control-plane server (CA_ROOT_CA, XDS_ROOT_CA): a PEM file, inline PEM, or the system's.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/io/files.h"
#include "lib/tls/context.h"

namespace weft::certs {

// Control thread only.
class TrustRoots {
 public:
  // Kubernetes swaps a folder's files one by one or by a link; wait until it has settled.
  static constexpr Duration kSettle = std::chrono::seconds(2);

  static TrustRoots system() { return TrustRoots(Kind::kSystem, nullptr, {}); }
  static TrustRoots inline_pem(std::string pem) { return TrustRoots(Kind::kInline, nullptr, std::move(pem)); }
  static TrustRoots file(io::Files& files, std::string path) { return TrustRoots(Kind::kFile, &files, std::move(path)); }

  // A client context with the roots as they are now; a file is read again.
  Result<std::shared_ptr<const tls::Context>> load(const tls::ContextOptions& options) const;

  // Calls `on_change` when the file's folder changed; for a file only (else, and when the folder cannot be watched, null).
  std::unique_ptr<io::Files::Watch> watch(std::function<void()> on_change) const;

 private:
  enum class Kind { kSystem, kInline, kFile };
  TrustRoots(Kind kind, io::Files* files, std::string text) : kind_(kind), files_(files), text_(std::move(text)) {}

  Kind kind_;
  io::Files* files_;
  std::string text_;  // path or PEM
};

}  // namespace weft::certs
