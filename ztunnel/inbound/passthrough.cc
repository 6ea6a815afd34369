#include "ztunnel/inbound/passthrough.h"

#include "lib/model/admit.h"
#include "ztunnel/inbound/delivery.h"
#include "ztunnel/socket_count.h"

namespace weft::ztunnel {
namespace {

void refuse_early(PodProxy& pod, const io::Accepted& accepted, const std::string& error) {
  pod.refusals().write(Reporter::kDestination, accepted.peer, accepted.original_destination, error);
  accepted.stream->abort(io::AbortReason::kReset);
}

// The rules send us what comes from outside whatever it was meant for, before the kernel drops what no host may be called
// by. A neighbour could so have us call, from the pod's loopback, what listens there for the pod alone.
bool is_of_no_host(const IpAddress& ip) {
  return ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast();
}

}  // namespace

Task<void> serve_passthrough(PodProxy& pod, io::Accepted accepted) {
  const SocketCount counted(pod.metrics().sockets_open(Reporter::kDestination));
  const auto descriptors = pod.descriptors().take(2);
  if (!descriptors) co_return accepted.stream->abort(io::AbortReason::kReset);
  const SocketAddress target = accepted.original_destination;
  if (is_of_no_host(target.ip())) co_return refuse_early(pod, accepted, "destination is not the address of a host");
  if (is_illegal_port(target.port())) co_return refuse_early(pod, accepted, "attempted recursive call to ourselves");
  auto local = co_await pod.workload(pod.stop_token());
  if (!local) co_return refuse_early(pod, accepted, local.error().message());

  auto service = model::guess_service(pod.snapshot(), **local, target.port(), {});
  Parties parties{.reporter = Reporter::kDestination,
                  .source = pod.snapshot().workload(pod.settings().network, accepted.peer.ip()),
                  .destination = *local,
                  .service = service};
  AccessRecord record(pod.metrics(), pod.open_connections(), std::move(parties), {accepted.peer, target, {}},
                      pod.loop().now());
  Judged judged(pod, accepted.peer, target, std::nullopt, service ? service->hostname : "");
  if (auto why = judged.refusal(**local)) {
    accepted.stream->abort(io::AbortReason::kReset);
    co_return record.deny(*why, pod.refusals());
  }
  auto application = co_await connect_application(pod, accepted.peer, target, judged.stop_token());
  if (!application) {
    accepted.stream->abort(io::AbortReason::kReset);
    if (judged.cut_by_policy()) co_return record.finish(Failure{ResponseFlag::kDeny, kClosedByPolicyChange});
    if (application.error().code() == ErrorCode::kCancelled) co_return;  // drained: the record says so
    co_return record.finish(Failure{ResponseFlag::kConnect, application.error().message()});
  }
  auto copied = co_await io::pump(pod.loop(), *accepted.stream, **application, record.counters(), judged.stop_token());
  finish(record, copied, judged);
}

}  // namespace weft::ztunnel
