#include "ztunnel/dump/pods.h"

namespace weft::ztunnel::dump {
namespace {

Json describe(const ConnectionRow& row) {
  return {{"src", row.source.to_string()},
          {"originalDst", text_or_null(row.meant())},
          {"actualDst", row.actual_destination.to_string()},
          {"protocol", row.protocol == ConnectionProtocol::kHbone ? "HBONE" : "TCP"}};
}

Json describe(const zds::Pod& pod) {
  return {{"name", pod.name}, {"namespace", pod.namespace_name}, {"serviceAccount", pod.service_account}};
}

Task<void> write_rows(Writer& out, std::string_view direction, const std::vector<ConnectionRow>& rows) {
  out.begin(direction, '[');
  for (const auto& row : rows) {
    out.element(describe(row));
    if (out.due()) co_await out.pause();
  }
  out.end();
}

}  // namespace

Task<void> write_pods(Writer& out, const std::vector<PodState>& pods) {
  out.begin("workloadState", '{');
  for (const auto& state : pods) {
    out.begin(state.pod.uid, '{');
    out.member("state", state.up ? "Up" : "Pending");
    if (state.up) {
      out.begin("connections", '{');
      co_await write_rows(out, "inbound", state.inbound);
      co_await write_rows(out, "outbound", state.outbound);
      out.end();
    }
    out.member("info", describe(state.pod));
    out.end();
    if (out.due()) co_await out.pause();
  }
  out.end();
}

}  // namespace weft::ztunnel::dump
