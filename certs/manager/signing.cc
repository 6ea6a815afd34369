#include "certs/manager/signing.h"

#include <algorithm>

#include "certs/schedule.h"
#include "lib/base/log.h"

namespace weft::certs::manager {

Signing::Signing(Loop& loop, io::Files& files, std::string directory, std::string trust_domain, tls::AlternativeNames names)
    : loop_(loop),
      files_(files),
      directory_(std::move(directory)),
      trust_domain_(std::move(trust_domain)),
      names_(std::move(names)),
      timer_([this] { on_timer(); }) {}

Result<void> Signing::start() {
  WEFT_TRY_VOID(Authority::initialise(files_, directory_, trust_domain_, loop_.clock().wall()));
  WEFT_TRY(watch_, files_.watch(directory_, kSettle, [this] { reload(); }));
  WEFT_TRY(authority_, Authority::load(files_, directory_));
  renew_serving();
  report_ends();
  loop_.arm(timer_, loop_.now() + kClockCheck);
  return {};
}

void Signing::reload() {
  auto loaded = Authority::load(files_, directory_);
  stale_ = !loaded;
  if (!loaded) {
    ++reload_errors_;
    if (reload_error_ == loaded.error().message()) return;
    reload_error_ = loaded.error().message();
    WEFT_LOG(kError, "ca", "the authority's folder cannot be used, its last good state goes on signing",
             {"directory", directory_}, {"error", reload_error_});
    return;
  }
  reload_error_.clear();
  const bool same = (*loaded)->signer() == authority_->signer() && (*loaded)->roots() == authority_->roots();
  authority_ = std::move(*loaded);
  if (same) return;
  WEFT_LOG(kInfo, "ca", "authority changed", {"signer", authority_->signer().serial()},
           {"signer_ends", format_rfc3339(authority_->signer().not_after())},
           {"roots", std::to_string(authority_->roots().size()), log::FieldKind::kNumber});
  renew_serving();
  report_ends();
}

void Signing::renew_serving() {
  const WallTime now = loop_.clock().wall();
  auto credentials = authority_->serving_credentials(names_, kServingLife, now, ++generation_);
  Result<std::shared_ptr<const tls::Context>> context = fail(ErrorCode::kInternal, "");
  if (credentials) context = tls::Context::create(*credentials);
  if (!credentials || !context) {
    const Error& error = credentials ? context.error() : credentials.error();
    WEFT_LOG(kError, "ca", "no serving certificate", {"error", error.message()});
    serving_renewal_ = now + kClockCheck;
    if (serving_ && now >= serving_end_) serving_.reset();
    return;
  }
  serving_ = std::move(*context);
  serving_begin_ = (*credentials)->not_before();
  serving_end_ = (*credentials)->not_after();
  serving_renewal_ = refresh_time((*credentials)->not_before(), serving_end_);
}

std::optional<std::string> Signing::problem() const {
  const WallTime now = loop_.clock().wall();
  const auto& signer = authority_->signer();
  if (signer.not_after() <= now) return "the signing certificate expired at " + format_rfc3339(signer.not_after());
  if (signer.not_before() > now) return "the signing certificate is not valid before " + format_rfc3339(signer.not_before());
  const auto& roots = authority_->roots();
  const bool any = std::any_of(roots.begin(), roots.end(), [now](const auto& root) { return root.not_after() > now; });
  if (!any) return "every root certificate has expired";
  return std::nullopt;
}

WallTime Signing::roots_end() const {
  const auto& roots = authority_->roots();
  const auto ends_first = [](const auto& a, const auto& b) { return a.not_after() < b.not_after(); };
  return std::min_element(roots.begin(), roots.end(), ends_first)->not_after();
}

void Signing::report_ends() {
  const WallTime now = loop_.clock().wall();
  last_report_ = now;
  std::vector<std::pair<const char*, const tls::Certificate*>> all = {{"signer", &authority_->signer()}};
  for (const auto& root : authority_->roots()) all.emplace_back("root", &root);
  for (const auto& [kind, certificate] : all) {
    const WallTime end = certificate->not_after();
    if (end <= now) {
      WEFT_LOG(kError, "ca", "certificate has expired", {"kind", kind}, {"subject", certificate->subject()},
               {"serial", certificate->serial()}, {"expired", format_rfc3339(end)});
    } else if (end - now < kExpiresSoon) {
      WEFT_LOG(kWarn, "ca", "certificate expires soon, rotate it", {"kind", kind}, {"subject", certificate->subject()},
               {"serial", certificate->serial()}, {"expires", format_rfc3339(end)});
    }
  }
}

void Signing::on_timer() {
  const WallTime now = loop_.clock().wall();
  // Before its begin: the clock was ahead when it was made.
  if (now >= serving_renewal_ || now < serving_begin_) renew_serving();
  if (now - last_report_ >= kComplaintInterval) report_ends();
  loop_.arm(timer_, loop_.now() + kClockCheck);
}

}  // namespace weft::certs::manager
