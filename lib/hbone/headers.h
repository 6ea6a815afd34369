// The fields of a tunnel request and its response (the mesh's HBONE protocol: CONNECT over HTTP/2 over mutual TLS).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ip.h"
#include "lib/base/random.h"
#include "lib/http2/settings.h"

namespace weft::hbone {

// What a tunnel is asked for with. `authority` is "ip:port", "[ip6]:port" or "host:port".
struct TunnelRequest {
  std::string authority;
  std::string baggage;                  // describes the source workload; empty: not sent
  std::optional<SocketAddress> client;  // forwarded: for=
  std::string service_host;             // forwarded: host=; empty: not addressed to a service
  std::string traceparent;              // empty: not sent
  std::string forwarded_network;        // x-forwarded-network; inner tunnels between networks only
};

http2::Headers build_request(const TunnelRequest& request);

// What `headers` say; never fails, absent or malformed fields are empty.
struct ReceivedRequest {
  std::string authority;
  std::string baggage;       // all instances, comma-joined; empty when one is not visible ASCII
  std::string service_host;  // forwarded: host=
  std::string forwarded_network;
};
ReceivedRequest parse_request(const http2::Headers& headers);

// "00-<32 hex>-<16 hex>-00" with random ids (W3C Trace Context, not sampled).
std::string make_traceparent(Random& random);

// The reason phrase of the statuses tunnels use; empty for others.
std::string_view reason_phrase(std::string_view status);

}  // namespace weft::hbone
