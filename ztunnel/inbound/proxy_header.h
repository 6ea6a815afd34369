// The PROXY protocol header, version 2, that tells an application behind an application tunnel who is calling
// (haproxy.org, proxy-protocol.txt section 2.2).
#pragma once

#include <optional>

#include "lib/base/buffer.h"
#include "lib/base/ip.h"
#include "lib/model/identity.h"

namespace weft::ztunnel {

// TLV 0xD0 carries the caller's SPIFFE identity when it has one. Addresses of different families are both written as IPv6,
// the IPv4 one mapped.
BufferChain make_proxy_header(const SocketAddress& source, const SocketAddress& destination,
                              const std::optional<model::Identity>& identity);

}  // namespace weft::ztunnel
