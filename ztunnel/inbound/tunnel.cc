#include "ztunnel/inbound/tunnel.h"

#include "lib/hbone/accept.h"
#include "lib/http/fields.h"
#include "lib/model/admit.h"
#include "lib/model/baggage.h"
#include "lib/tls/stream.h"
#include "ztunnel/inbound/delivery.h"
#include "ztunnel/inbound/proxy_header.h"
#include "ztunnel/inbound/stall_watch.h"
#include "ztunnel/socket_count.h"

namespace weft::ztunnel {
namespace {

// Who is at the other end of a tunnel connection, and where it arrived.
struct Peer {
  SocketAddress address;
  SocketAddress arrived;  // pod address and tunnel port
  std::optional<model::Identity> identity;
};

hbone::Refusal refusal_of(int status) {
  if (status == 400) return hbone::Refusal::kBadRequest;
  return status == 401 ? hbone::Refusal::kUnauthorized : hbone::Refusal::kUnavailable;
}

void refuse_early(PodProxy& pod, hbone::IncomingTunnel& tunnel, const Peer& peer, int status, const std::string& error) {
  pod.refusals().write(Reporter::kDestination, peer.address, peer.arrived, error);
  tunnel.refuse(refusal_of(status));
}

// The caller as numbers and logs name it: by its address when that is its own, by its own words otherwise.
Parties parties_of(PodProxy& pod, const Peer& peer, const hbone::ReceivedRequest& request, model::WorkloadPtr local,
                   model::ServicePtr service) {
  const std::string& network = pod.settings().network;
  Parties parties{.reporter = Reporter::kDestination,
                  .source_identity = peer.identity,
                  .destination = std::move(local),
                  .service = std::move(service),
                  .mutual_tls = true};
  std::optional<std::string_view> forwarded;
  if (!request.forwarded_network.empty()) forwarded = request.forwarded_network;
  if (!http::from_other_network(forwarded, network)) parties.source = pod.snapshot().workload(network, peer.address.ip());
  if (!parties.source && pod.settings().response_baggage && !request.baggage.empty()) {
    const std::string_view fields[] = {request.baggage};
    parties.source_baggage = model::parse_baggage(fields);
  }
  return parties;
}

// Where the application listens. One that wants a PROXY header is told the addresses by it and may stay on loopback.
SocketAddress listening_at(const PodProxy& pod, const model::Admission& admission) {
  if (!admission.proxy_protocol || !pod.settings().localhost_app_tunnel) return admission.upstream;
  return {IpAddress::loopback(admission.upstream.ip().is_v6()), admission.upstream.port()};
}

// One tunnel. Every refusal has its status and its record here and nowhere else.
Task<void> serve_tunnel(PodProxy& pod, Peer peer, Peers::Seat& seat, hbone::IncomingTunnel tunnel) {
  auto target = model::parse_authority(tunnel.request().authority);
  if (!target) co_return refuse_early(pod, tunnel, peer, 400, target.error().message());
  auto local = co_await pod.workload(pod.stop_token());
  if (!local) co_return refuse_early(pod, tunnel, peer, 503, local.error().message());
  auto admitted =
      model::admit(pod.snapshot(), **local, peer.arrived.ip(), *target, tunnel.request().service_host, is_illegal_port);
  if (const auto* refused = std::get_if<model::Refusal>(&admitted))
    co_return refuse_early(pod, tunnel, peer, refused->status, refused->message);
  const auto admission = std::get<model::Admission>(std::move(admitted));

  const auto counted = seat.open_tunnel();
  if (!counted) co_return refuse_early(pod, tunnel, peer, 503, "too many tunnels of this peer");
  const auto descriptor = pod.descriptors().take(1);
  if (!descriptor) co_return refuse_early(pod, tunnel, peer, 503, "the pod has its share of open files");

  AccessRecord record(pod.metrics(), pod.open_connections(),
                      parties_of(pod, peer, tunnel.request(), *local, admission.service),
                      {peer.address, peer.arrived, tunnel.request().authority}, pod.loop().now());
  Judged judged(pod, peer.address, admission.upstream, peer.identity, admission.service ? admission.service->hostname : "");
  if (auto why = judged.refusal(**local)) {
    tunnel.refuse(hbone::Refusal::kUnauthorized);
    co_return record.deny(*why, pod.refusals());
  }
  bool lost = false;
  tunnel.on_lost([&lost, &judged] {
    lost = true;
    judged.cut();
  });
  auto application = co_await connect_application(pod, peer.address, listening_at(pod, admission), judged.stop_token());
  tunnel.on_lost({});
  if (!application) {
    if (lost) co_return record.finish(Failure{ResponseFlag::kConnect, "the caller took its request back"});
    tunnel.refuse(hbone::Refusal::kUnavailable);
    if (judged.cut_by_policy()) co_return record.finish(Failure{ResponseFlag::kDeny, kClosedByPolicyChange});
    if (application.error().code() == ErrorCode::kCancelled) co_return;  // drained: the record says so
    co_return record.finish(Failure{ResponseFlag::kConnect, application.error().message()});
  }
  auto stream = tunnel.accept(pod.settings().response_baggage ? model::format_baggage(**local) : std::string());
  if (!stream) {
    (*application)->abort(io::AbortReason::kReset);
    co_return record.finish(Failure{ResponseFlag::kConnect, stream.error().message()});
  }
  if (admission.proxy_protocol) {
    auto header = make_proxy_header(peer.address, admission.proxy_destination, peer.identity);
    auto written = co_await (*application)->write(std::move(header));
    if (!written) {
      (*stream)->abort(io::AbortReason::kReset);
      co_return record.finish(Failure{ResponseFlag::kConnect, written.error().message()});
    }
  }
  StallWatch stalls(pod, seat, **stream, **application, judged);
  auto copied = co_await io::pump(pod.loop(), **stream, **application, record.counters(), judged.stop_token());
  if (stalls.cut()) co_return record.finish(Failure{ResponseFlag::kConnect, stalls.reason()});
  finish(record, copied, judged);
}

// TLS with a peer of the mesh, or null after a refusal; fills in who it is.
Task<io::StreamPtr> shake_hands(PodProxy& pod, io::Accepted accepted, Peer& peer) {
  Handshakes::Place place(pod.handshakes(), peer.address.ip(), pod.stop_token());
  Deadline deadline(pod.loop(), kConnectTimeout, place.token());
  auto context = co_await pod.tls_context(deadline.token());
  if (!context) {
    const auto error = deadline.explain(std::move(context).error(), "certificate");
    pod.refusals().write(Reporter::kDestination, peer.address, peer.arrived, error.message());
    co_return nullptr;
  }
  const auto& own = (*context)->credentials()->identity();
  const tls::Verification verification{.expectation = tls::MeshClient{own ? own->trust_domain : std::string()},
                                       .now = pod.loop().clock().wall()};
  auto handshaken =
      co_await tls::accept(std::move(accepted.stream), *context, verification, deadline.token(), &pod.handshakes().pace());
  if (!handshaken) {
    const auto code = handshaken.error().code();
    if (deadline.expired())
      pod.limit_counters().count(LimitReason::kSlowHandshake);
    else if (code == ErrorCode::kTls || code == ErrorCode::kIdentity)
      pod.limit_counters().count(LimitReason::kTls);
    auto error = deadline.explain(std::move(handshaken).error(), "tls handshake");
    if (place.given_away()) error = Error(ErrorCode::kLimit, "tls handshake too slow while others wait");
    pod.refusals().write(Reporter::kDestination, peer.address, peer.arrived, error.message());
    co_return nullptr;
  }
  peer.identity = (*handshaken)->peer_identity();
  co_return std::move(*handshaken);
}

}  // namespace

Task<void> serve_tunnels(PodProxy& pod, io::Accepted accepted) {
  const SocketCount counted(pod.metrics().sockets_open(Reporter::kDestination));
  Peer peer{.address = accepted.peer, .arrived = accepted.local, .identity = {}};
  const IpAddress source = peer.address.ip();
  const auto descriptor = pod.descriptors().take(1);
  if (!descriptor || pod.peers().source_is_full(source) || pod.handshakes().source_is_full(source))
    co_return accepted.stream->abort(io::AbortReason::kReset);
  auto secured = co_await shake_hands(pod, std::move(accepted), peer);
  if (!secured) co_return;
  const std::string identity = peer.identity ? peer.identity->to_string() : std::string();
  auto seat = pod.peers().seat(source, identity, pod.loop().now());
  if (!seat) {
    pod.refusals().write(Reporter::kDestination, peer.address, peer.arrived, seat.error().message());
    auto closed = co_await secured->shutdown_write();
    (void)closed;
    co_return;
  }
  hbone::OnEnd on_end = [&pod, &peer, &identity, source](const hbone::Served& served) {
    if (served.outcome) return;
    const auto code = served.outcome.error().code();
    if (served.breach) {
      pod.limit_counters().count(reason_of(*served.breach));
      pod.peers().on_breach(source, identity, pod.loop().now());
    } else if (code == ErrorCode::kProtocol || code == ErrorCode::kTls) {
      pod.limit_counters().count(code == ErrorCode::kTls ? LimitReason::kTls : LimitReason::kProtocol);
    } else {
      return;
    }
    pod.refusals().write(Reporter::kDestination, peer.address, peer.arrived, served.outcome.error().message());
  };
  co_await hbone::serve(
      pod.loop(), pod.http2_settings(), std::move(secured),
      [&pod, &peer, &seat](hbone::IncomingTunnel tunnel, StopToken) {
        return serve_tunnel(pod, peer, *seat, std::move(tunnel));
      },
      pod.drain_token(), pod.stop_token(),
      [&pod, &peer](std::string_view problem) {
        pod.refusals().write(Reporter::kDestination, peer.address, peer.arrived, std::string(problem));
      },
      std::move(on_end));
}

}  // namespace weft::ztunnel
