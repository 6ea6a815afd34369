#include "ztunnel/inbound/tunnel.h"

#include "lib/hbone/accept.h"
#include "lib/http/fields.h"
#include "lib/model/admit.h"
#include "lib/model/baggage.h"
#include "lib/tls/stream.h"
#include "ztunnel/inbound/delivery.h"
#include "ztunnel/inbound/proxy_header.h"
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

void refuse_early(hbone::IncomingTunnel& tunnel, const Peer& peer, int status, const std::string& error) {
  log_early_refusal(Reporter::kDestination, peer.address, peer.arrived, error);
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
Task<void> serve_tunnel(PodProxy& pod, Peer peer, hbone::IncomingTunnel tunnel) {
  auto target = model::parse_authority(tunnel.request().authority);
  if (!target) co_return refuse_early(tunnel, peer, 400, target.error().message());
  auto local = co_await pod.workload(pod.stop_token());
  if (!local) co_return refuse_early(tunnel, peer, 503, local.error().message());
  auto admitted =
      model::admit(pod.snapshot(), **local, peer.arrived.ip(), *target, tunnel.request().service_host, is_illegal_port);
  if (const auto* refused = std::get_if<model::Refusal>(&admitted))
    co_return refuse_early(tunnel, peer, refused->status, refused->message);
  const auto admission = std::get<model::Admission>(std::move(admitted));

  AccessRecord record(pod.metrics(), pod.open_connections(),
                      parties_of(pod, peer, tunnel.request(), *local, admission.service),
                      {peer.address, peer.arrived, tunnel.request().authority}, pod.loop().now());
  Judged judged(pod, peer.address, admission.upstream, peer.identity, admission.service ? admission.service->hostname : "");
  if (auto why = judged.refusal(**local)) {
    tunnel.refuse(hbone::Refusal::kUnauthorized);
    co_return record.finish(Failure{ResponseFlag::kDeny, std::move(*why)});
  }
  auto application = co_await connect_application(pod, peer.address, listening_at(pod, admission), judged.stop_token());
  if (!application) {
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
  auto copied = co_await io::pump(pod.loop(), **stream, **application, record.counters(), judged.stop_token());
  finish(record, copied, judged);
}

}  // namespace

Task<void> serve_tunnels(PodProxy& pod, io::Accepted accepted) {
  const SocketCount counted(pod.metrics().sockets_open(Reporter::kDestination));
  Peer peer{.address = accepted.peer, .arrived = accepted.local, .identity = {}};
  io::StreamPtr secured;
  {
    Deadline deadline(pod.loop(), kConnectTimeout, pod.stop_token());
    auto context = co_await pod.tls_context(deadline.token());
    if (!context) {
      const auto error = deadline.explain(std::move(context).error(), "certificate");
      co_return log_early_refusal(Reporter::kDestination, peer.address, peer.arrived, error.message());
    }
    const auto& own = (*context)->credentials()->identity();
    const tls::Verification verification{.expectation = tls::MeshClient{own ? own->trust_domain : std::string()},
                                         .now = pod.loop().clock().wall()};
    auto handshaken = co_await tls::accept(std::move(accepted.stream), *context, verification, deadline.token());
    if (!handshaken) {
      const auto error = deadline.explain(std::move(handshaken).error(), "tls handshake");
      co_return log_early_refusal(Reporter::kDestination, peer.address, peer.arrived, error.message());
    }
    peer.identity = (*handshaken)->peer_identity();
    secured = std::move(*handshaken);
  }
  auto ended = co_await hbone::serve(
      pod.loop(), pod.http2_settings(), std::move(secured),
      [&pod, &peer](hbone::IncomingTunnel tunnel, StopToken) { return serve_tunnel(pod, peer, std::move(tunnel)); },
      pod.drain_token(), pod.stop_token(),
      [&peer](std::string_view problem) {
        log_early_refusal(Reporter::kDestination, peer.address, peer.arrived, std::string(problem));
      });
  if (!ended && ended.error().code() == ErrorCode::kProtocol)
    log_early_refusal(Reporter::kDestination, peer.address, peer.arrived, ended.error().message());
}

}  // namespace weft::ztunnel
