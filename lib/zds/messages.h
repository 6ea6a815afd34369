// The messages of the pod handover as our own types, and their bytes.
//
// One protobuf message a packet, no framing around it. Both sides read into buffers of kMessageMax bytes; a longer message
// is an error for the reader, so the writers here refuse to make one. The pod's network namespace rides beside an Add as a
// descriptor (io::Packet), which is not these functions' concern. Source: istio's pkg/zdsapi and ztunnel's src/inpod.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "lib/base/result.h"

namespace weft::zds {

// As upstream on both sides. Kubernetes names fit by far: 36 + 3 x 253 bytes.
inline constexpr std::size_t kMessageMax = 1024;

// Who a pod is. `uid` is the key; what it looks like does not matter.
struct Pod {
  std::string uid;
  std::string name, namespace_name, service_account;
  friend bool operator==(const Pod&, const Pod&) = default;
};

// Agent to proxy.
struct Add {
  Pod pod;
  bool has_info = true;  // false: the message named a UID and nothing else
};
struct Keep {
  std::string uid;
};
struct Del {
  std::string uid;
};
struct SnapshotSent {};
using Request = std::variant<Add, Keep, Del, SnapshotSent>;

// Proxy to agent: the first message, then an answer a request.
struct Hello {
  std::int32_t version = 1;
};
struct Ack {
  std::string error;  // empty: done
};

// kLimit when the names do not fit; kInvalidArgument when one is no UTF-8, which every reader refuses with the connection.
Result<std::string> encode(const Request& request);
std::string encode(const Hello& hello);
// An error text that does not fit, or is no UTF-8, is cut to what is.
std::string encode(const Ack& ack);

// kProtocol for bytes that are no such message, for a request or response without a payload we know, and for a request
// that names no pod.
Result<Request> decode_request(std::string_view bytes);
Result<Hello> decode_hello(std::string_view bytes);
Result<Ack> decode_ack(std::string_view bytes);

}  // namespace weft::zds
