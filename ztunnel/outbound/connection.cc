#include "ztunnel/outbound/connection.h"

#include <iterator>

#include "lib/hbone/headers.h"
#include "lib/model/baggage.h"
#include "lib/model/route.h"
#include "ztunnel/socket_count.h"

namespace weft::ztunnel {
namespace {

using namespace std::chrono_literals;

hbone::HopKind hop_kind(model::HopKind kind) {
  switch (kind) {
    case model::HopKind::kWorkload: return hbone::HopKind::kWorkload;
    case model::HopKind::kWaypoint: return hbone::HopKind::kWaypoint;
    case model::HopKind::kGateway: return hbone::HopKind::kGateway;
  }
  return hbone::HopKind::kWorkload;
}

// ztunnel's word for an error on the way to the next hop. What the peer did wrong in TLS counts as a failed connect.
ResponseFlag flag_of(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kTimeout: return ResponseFlag::kNetworkPolicy;
    case ErrorCode::kProtocol: return ResponseFlag::kH2Handshake;
    case ErrorCode::kIdentity: return error.side() == Side::kLocal ? ResponseFlag::kIdentity : ResponseFlag::kConnect;
    case ErrorCode::kTls: return error.side() == Side::kLocal ? ResponseFlag::kTlsFailure : ResponseFlag::kConnect;
    default: return ResponseFlag::kConnect;
  }
}

hbone::PoolKey pool_key(const PodProxy& pod, const model::Route& route, std::uint64_t generation) {
  hbone::PoolKey key;
  key.source_uid = pod.info().uid;
  key.credential_generation = generation;
  if (route.destination) key.destination_uid = route.destination->uid;
  for (const auto& identity : route.expected) key.expected_identities.push_back(identity.to_string());
  key.hop = route.hop;
  key.kind = hop_kind(route.hop_kind);
  return key;
}

Task<Result<io::StreamPtr>> open_tunnel(PodProxy& pod, const model::Workload& local, const model::Route& route,
                                        SocketAddress client, StopToken stop) {
  hbone::TunnelRequest request;
  request.authority = route.authority;
  request.baggage = model::format_baggage(local);
  request.client = client;
  if (route.service) request.service_host = route.service->hostname;
  request.traceparent = hbone::make_traceparent(pod.loop().random());
  const auto headers = hbone::build_request(request);
  // A certificate renewed, or a connection drained by its peer, between choosing and using it: the request has done nothing
  // yet, so it is asked once more.
  for (bool again = true;; again = false) {
    auto context = co_await pod.tls_context(stop);
    if (!context) co_return fail(std::move(context).error());
    auto key = pool_key(pod, route, (*context)->credentials()->generation());
    auto tunnel = co_await pod.pool().open(std::move(key), headers, stop);
    if (tunnel) {
      io::StreamPtr stream = std::move(tunnel->stream);
      co_return std::move(stream);
    }
    const bool still_there = !route.destination || pod.snapshot().workload(route.destination->uid);
    const bool untouched = still_there && tunnel.error().code() == ErrorCode::kUnavailable &&
                           tunnel.error().side() == Side::kUpstream && !tunnel.error().message().starts_with("http status");
    if (!again || !untouched || stop.stop_requested()) co_return fail(std::move(tunnel).error());
  }
}

Task<Result<io::StreamPtr>> open_plain(PodProxy& pod, SocketAddress hop, StopToken stop) {
  Deadline deadline(pod.loop(), kConnectTimeout, stop);
  auto socket = co_await pod.network().connect(hop, pod.connect_options(), deadline.token());
  if (!socket) {
    Error error = deadline.explain(std::move(socket).error(), "connect to " + hop.to_string());
    if (error.code() == ErrorCode::kTimeout) error = Error(ErrorCode::kUnreachable, error.message());
    co_return fail(std::move(error).within("io error").on(Side::kUpstream));
  }
  co_return std::move(*socket);
}

void refuse_early(PodProxy& pod, const io::Accepted& accepted, const std::string& error) {
  pod.refusals().write(Reporter::kSource, accepted.peer, accepted.original_destination, error);
  accepted.stream->abort(io::AbortReason::kReset);
}

Task<Result<io::StreamPtr>> open_hop(PodProxy& pod, const model::Workload& local, const model::Route& route,
                                     SocketAddress client, StopToken stop) {
  if (route.kind == model::RouteKind::kHbone) {
    auto opened = co_await open_tunnel(pod, local, route, client, stop);
    co_return opened;
  }
  auto opened = co_await open_plain(pod, route.hop, stop);
  co_return opened;
}

Result<model::Route> choose_route(PodProxy& pod, const model::Workload& local, const SocketAddress& client,
                                  const SocketAddress& target) {
  auto route = model::choose_route(pod.snapshot(), local, client.ip(), target, kHbonePort,
                                   [&pod](std::uint64_t below) { return pod.loop().random().below(below); });
  if (route && route->kind == model::RouteKind::kDoubleHbone)
    return fail(ErrorCode::kUnsupported,
                "no valid routing destination for workload: tunnels between networks are not built yet");
  return route;
}

Parties parties_of(model::WorkloadPtr local, const model::Route& route) {
  const bool tunnelled = route.kind == model::RouteKind::kHbone;
  Parties parties{.reporter = Reporter::kSource,
                  .source = std::move(local),
                  .destination = route.destination,
                  .service = route.service,
                  .mutual_tls = tunnelled};
  if (tunnelled) parties.source_identity = parties.source->identity();
  return parties;
}

// Nobody listens at the tunnel port: the destination joins or leaves the mesh at this moment, or is between two ztunnels.
// The way is then looked for again, after these pauses: a change is through within some 50 ms, and a caller of somebody who
// is really gone does not wait long for the news.
constexpr Duration kLookAgainAfter[] = {10ms, 20ms, 40ms, 80ms, 160ms};

}  // namespace

Task<void> serve_outbound(PodProxy& pod, io::Accepted accepted) {
  const SocketCount counted(pod.metrics().sockets_open(Reporter::kSource));
  const auto descriptor = pod.descriptors().take(1);
  if (!descriptor) {
    accepted.stream->abort(io::AbortReason::kReset);
    co_return;
  }
  const StopToken stop = pod.stop_token();
  const SocketAddress target = accepted.original_destination;
  const MonotonicTime begun = pod.loop().now();
  if (target.ip().is_loopback() && is_illegal_port(target.port())) {
    refuse_early(pod, accepted, "attempted recursive call to ourselves");
    co_return;
  }
  for (std::size_t looks = 0;; ++looks) {
    auto local = co_await pod.workload(stop);
    if (!local) {
      refuse_early(pod, accepted, local.error().message());
      co_return;
    }
    auto route = choose_route(pod, **local, accepted.peer, target);
    if (!route) {
      refuse_early(pod, accepted, route.error().message());
      co_return;
    }
    const bool tunnelled = route->kind == model::RouteKind::kHbone;
    // Tunnels share a connection, which has its own.
    const auto to_hop = tunnelled ? PodDescriptors::Hold() : pod.descriptors().take(1);
    if (!tunnelled && !to_hop) {
      accepted.stream->abort(io::AbortReason::kReset);
      co_return;
    }
    OutboundConnection shown;
    shown.source = accepted.peer;
    shown.original_destination = target;
    shown.actual_destination = route->hop;
    shown.protocol = tunnelled ? ConnectionProtocol::kHbone : ConnectionProtocol::kTcp;
    pod.connections().add(shown);
    auto upstream = co_await open_hop(pod, **local, *route, accepted.peer, stop);
    if (!upstream && upstream.error().code() == ErrorCode::kRefused && tunnelled && looks < std::size(kLookAgainAfter)) {
      auto waited = co_await sleep_for(pod.loop(), kLookAgainAfter[looks], stop);
      if (waited) continue;
    }
    AccessRecord record(pod.metrics(), pod.open_connections(), parties_of(std::move(*local), *route),
                        {accepted.peer, route->hop, route->authority}, begun);
    if (!upstream) {
      accepted.stream->abort(io::AbortReason::kReset);
      if (upstream.error().code() == ErrorCode::kCancelled) co_return;  // drained: the record says so
      record.finish(Failure{flag_of(upstream.error()), upstream.error().message()});
      co_return;
    }
    auto copied = co_await io::pump(pod.loop(), *accepted.stream, **upstream, record.counters(), stop);
    record.finish(copied);
    co_return;
  }
}

}  // namespace weft::ztunnel
