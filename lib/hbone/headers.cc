#include "lib/hbone/headers.h"

#include <algorithm>
#include <array>

#include "lib/base/log.h"

namespace weft::hbone {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); });
}

// Values come from configuration and must not end the field early.
std::string quoted_safe(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c > ' ' && c <= '~' && c != '"' && c != ';' && c != ',') out += c;
  return out;
}

}  // namespace

http2::Headers build_request(const TunnelRequest& request) {
  http2::Headers headers = {{":method", "CONNECT"}, {":authority", request.authority}};
  if (!request.baggage.empty()) headers.emplace_back("baggage", request.baggage);
  if (request.client) {
    auto forwarded = "for=\"" + request.client->to_string() + "\"";
    if (!request.service_host.empty()) forwarded += ";host=" + quoted_safe(request.service_host);
    headers.emplace_back("forwarded", std::move(forwarded));
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
    if (name == "forwarded" && request.service_host.empty()) request.service_host = forwarded_host(value);
    if (name == "traceparent" && is_traceparent(value)) request.traceparent = value;
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

std::string forwarded_host(std::string_view value) {
  if (!is_ascii(value)) return {};
  while (!value.empty()) {
    const auto end = std::min(value.find(';'), value.size());
    auto part = trim(value.substr(0, end));
    value.remove_prefix(std::min(end + 1, value.size()));
    if (!part.starts_with("host=")) continue;
    part.remove_prefix(5);
    if (part.starts_with('"')) part.remove_prefix(1);
    if (part.ends_with('"')) part.remove_suffix(1);
    return std::string(part);
  }
  return {};
}

std::string make_traceparent(Random& random) {
  const auto high = random.next();
  const auto low = random.next();
  const auto parent = random.next();
  return fmt::format("00-{:016x}{:016x}-{:016x}-00", high, low, parent);
}

bool is_traceparent(std::string_view value) {
  return value.size() == 55 && value[2] == '-' && value[35] == '-' && value[52] == '-' && is_hex(value.substr(0, 2)) &&
         is_hex(value.substr(3, 32)) && is_hex(value.substr(36, 16)) && is_hex(value.substr(53));
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
