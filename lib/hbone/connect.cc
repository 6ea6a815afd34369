#include "lib/hbone/connect.h"

namespace weft::hbone {
namespace {

ErrorCode code_of(std::string_view status) {
  if (status == "401" || status == "403") return ErrorCode::kDenied;
  if (status == "400") return ErrorCode::kInvalidArgument;
  if (status.starts_with('5')) return ErrorCode::kUnavailable;
  return ErrorCode::kProtocol;
}

Error of_http2(Error error) {
  if (!error.message().starts_with("h2 failed") && error.code() != ErrorCode::kCancelled)
    error = std::move(error).within("h2 failed");
  return std::move(error).on(Side::kUpstream);
}

}  // namespace

Task<Result<Tunnel>> connect(http2::Connection& connection, http2::Headers request, StopToken stop) {
  auto stream = connection.open(request, http2::Stream::Body::kFollows);
  if (!stream) co_return fail(of_http2(std::move(stream).error()));
  auto response = co_await (*stream)->response(stop);
  if (!response) co_return fail(of_http2(std::move(response).error()));
  const auto* found = http2::find(*response, ":status");
  const std::string status = found ? *found : std::string();
  if (status != "200") {
    auto text = "http status: " + status;
    if (const auto phrase = reason_phrase(status); !phrase.empty()) text += " " + std::string(phrase);
    co_return fail(code_of(status), std::move(text), Side::kUpstream);
  }
  Tunnel tunnel;
  if (const auto* baggage = http2::find(*response, "baggage")) tunnel.baggage = *baggage;
  tunnel.stream = std::move(*stream);
  co_return std::move(tunnel);
}

}  // namespace weft::hbone
