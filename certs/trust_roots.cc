#include "certs/trust_roots.h"

#include "lib/base/log.h"

namespace weft::certs {

Result<std::shared_ptr<const tls::Context>> TrustRoots::load(const tls::ContextOptions& options) const {
  if (kind_ == Kind::kSystem) return tls::Context::for_client({}, options);
  std::string pem = text_;
  if (kind_ == Kind::kFile) {
    auto content = files_->read(text_, tls::kPemSizeMax);
    if (!content) return fail(std::move(content).error().within("root certificate"));
    pem = std::move(*content);
  }
  auto roots = tls::parse_certificates(pem, tls::BadBlocks::kSkip);
  if (!roots) {
    return fail(std::move(roots).error().within(kind_ == Kind::kFile ? "root certificate " + text_ : "root certificate"));
  }
  return tls::Context::for_client(*roots, options);
}

std::unique_ptr<io::Files::Watch> TrustRoots::watch(std::function<void()> on_change) const {
  if (kind_ != Kind::kFile) return nullptr;
  const std::size_t slash = text_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : text_.substr(0, slash);
  auto watch = files_->watch(folder, kSettle, std::move(on_change));
  if (watch) return std::move(*watch);
  WEFT_LOG(kWarn, "identity", "cannot watch the root certificate's folder", {"folder", folder},
           {"error", watch.error().message()});
  return nullptr;
}

}  // namespace weft::certs
