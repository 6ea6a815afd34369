// What distinguishes the proxies of this process, so that one code serves them all. Values; no thread.
//
//                        pod                     own statistics
//   namespace            the pod's               the process's
//   listeners            15001, 15006, 15008     15008
//   SO_MARK              PACKET_MARK             none
//   SO_REUSEPORT         INPOD_PORT_REUSE        no
//   caller's address     kept (ENABLE_ORIG_SRC)  not kept
//   policy changes       judge open connections  judge new connections only
#pragma once

#include <cstdint>

#include "ztunnel/settings.h"

namespace weft::ztunnel {

struct ProxyKind {
  bool tunnels_only = false;
  std::uint32_t listen_mark = 0;
  std::uint32_t connect_mark = 0;
  bool reuse_port = false;
  OriginalSource original_source = OriginalSource::kNever;
  bool rechecks_policies = true;
};

// One pod of the node, in shared mode.
inline ProxyKind pod_kind(const Settings& set) {
  return {.listen_mark = set.packet_mark,
          .connect_mark = set.packet_mark,
          .reuse_port = set.inpod_port_reuse,
          .original_source = set.original_source};
}

// This process itself, so that its statistics can be read through the mesh (Settings::has_own_identity).
inline ProxyKind own_statistics_kind() { return {.tunnels_only = true, .rechecks_policies = false}; }

}  // namespace weft::ztunnel
