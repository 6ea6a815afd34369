#include "lib/hbone/headers.h"

#include <algorithm>
#include <array>

#include "lib/http/fields.h"

namespace weft::hbone {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
}

}  // namespace

http2::Headers build_request(const TunnelRequest& request) {
  http2::Headers headers = {{":method", "CONNECT"}, {":authority", request.authority}};
  if (!request.baggage.empty()) headers.emplace_back("baggage", request.baggage);
  if (request.client) {
    headers.emplace_back("forwarded", http::format_forwarded(*request.client, request.service_host));
  }
  if (!request.traceparent.empty()) headers.emplace_back("traceparent", request.traceparent);
  if (!request.forwarded_network.empty()) headers.emplace_back("x-forwarded-network", request.forwarded_network);
  return headers;
}

ReceivedRequest parse_request(const http2::Headers& headers) {
  ReceivedRequest request;
  bool baggage_valid = true;
  for (const auto& [name, value] : headers) {
    if (name == ":authority") request.authority = value;
    if (name == "forwarded" && request.service_host.empty()) request.service_host = http::forwarded_host(value);
    if (name == "x-forwarded-network" && is_ascii(value)) request.forwarded_network = value;
    if (name == "baggage") {
      baggage_valid = baggage_valid && is_ascii(value);
      if (!request.baggage.empty()) request.baggage += ',';
      request.baggage += value;
    }
  }
  if (!baggage_valid) request.baggage.clear();
  return request;
}

std::string make_traceparent(Random& random) {
  const auto high = random.next();
  const auto low = random.next();
  const auto parent = random.next();
  return http::TraceParent::make(high, low, parent).to_string();
}

std::string_view reason_phrase(std::string_view status) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kPhrases = {{
      {"200", "OK"},
      {"400", "Bad Request"},
      {"401", "Unauthorized"},
      {"403", "Forbidden"},
      {"404", "Not Found"},
      {"429", "Too Many Requests"},
      {"500", "Internal Server Error"},
      {"502", "Bad Gateway"},
      {"503", "Service Unavailable"},
      {"504", "Gateway Timeout"},
  }};
  for (const auto& [code, phrase] : kPhrases)
    if (code == status) return phrase;
  return {};
}

}  // namespace weft::hbone
