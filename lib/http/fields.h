// The header fields the mesh owns: forwarded, traceparent, x-forwarded-network. Pure text in, values out.
//
// Values from a peer are hostile: nothing here throws, and work and memory stay linear in the text, which the HTTP layer
// bounds. A field that cannot be read counts as absent; no request is refused for one. Baggage: lib/model/baggage.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ip.h"

namespace weft::http {

// `for="10.0.0.1:4711"`, with `;host=<host>` when `host` is not empty (RFC 7239 §4). A host that cannot stand in a header
// field is left out.
std::string format_forwarded(const SocketAddress& source, std::string_view host);
// The first `host=` parameter without its quotes; empty when there is none or the text is not visible ASCII.
std::string_view forwarded_host(std::string_view field);

// W3C Trace Context, version 00.
struct TraceParent {
  std::string trace_id;   // 32 hex digits
  std::string parent_id;  // 16 hex digits
  std::uint8_t flags = 0;

  // Exactly "vv-<32 hex>-<16 hex>-ff", 55 characters; nothing otherwise.
  static std::optional<TraceParent> parse(std::string_view field);
  // Ids from three draws of 64 random bits; flags 0.
  static TraceParent make(std::uint64_t trace_high, std::uint64_t trace_low, std::uint64_t parent);
  // "00-<trace>-<parent>-<flags>"
  std::string to_string() const;
  friend bool operator==(const TraceParent&, const TraceParent&) = default;
};

// Whether x-forwarded-network says that the request came through a gateway from another network than `local`; the source
// address is then a gateway's. Letter case does not count. An empty optional is an absent field.
bool from_other_network(std::optional<std::string_view> field, std::string_view local);

}  // namespace weft::http
