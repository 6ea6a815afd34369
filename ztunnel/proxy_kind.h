// What distinguishes the proxies of this process, so that one code serves them all. Values; no thread.
//
//                        pod                     own statistics          dedicated
//   namespace            the pod's               the process's           the process's
//   worker               one                     one                     all, each with listeners of its own
//   listeners            15001, 15006, 15008     15008                   15001, 15006, 15008
//   mark of listeners    PACKET_MARK             none                    none
//   mark when dialling   PACKET_MARK             none                    PACKET_MARK if set
//   port                 shared with a successor alone                   alone, shared among our workers
//                        (INPOD_PORT_REUSE)
//   caller's address     kept (ENABLE_ORIG_SRC)  not kept                kept (ENABLE_ORIG_SRC)
//   policy changes       judge open connections  judge new ones only     judge open connections
#pragma once

#include <cstdint>

#include "ztunnel/settings.h"

namespace weft::ztunnel {

struct ProxyKind {
  bool tunnels_only = false;
  std::uint32_t listen_mark = 0;
  std::uint32_t connect_mark = 0;
  io::PortSharing sharing = io::PortSharing::kAlone;
  OriginalSource original_source = OriginalSource::kNever;
  bool rechecks_policies = true;
};

// One pod of the node, in shared mode.
inline ProxyKind pod_kind(const Settings& set) {
  return {.listen_mark = set.packet_mark,
          .connect_mark = set.packet_mark,
          .sharing = set.inpod_port_reuse ? io::PortSharing::kShared : io::PortSharing::kAlone,
          .original_source = set.original_source};
}

// This process itself, so that its statistics can be read through the mesh (Settings::has_own_identity).
inline ProxyKind own_statistics_kind() { return {.tunnels_only = true, .rechecks_policies = false}; }

// The one workload of dedicated mode. The first worker finds a port that is taken, the others join it there.
inline ProxyKind dedicated_kind(const Settings& set, bool first) {
  return {.connect_mark = set.packet_mark,
          .sharing = first ? io::PortSharing::kFirst : io::PortSharing::kJoin,
          .original_source = set.original_source};
}

}  // namespace weft::ztunnel
