#include "ztunnel/pod_proxy.h"

#include "lib/base/log.h"
#include "lib/model/authorize.h"
#include "lib/tls/stream.h"
#include "ztunnel/inbound/passthrough.h"
#include "ztunnel/inbound/tunnel.h"
#include "ztunnel/outbound/connection.h"

namespace weft::ztunnel {

PodProxy::PodProxy(Worker& worker, zds::Pod pod, io::NetworkPtr network, const ProxyKind& kind)
    : worker_(worker),
      pod_(std::move(pod)),
      kind_(kind),
      network_(std::move(network)),
      snapshot_changed_(worker.loop()),
      policy_revision_(worker.snapshot()->policy_revision()),
      rounds_(worker.round_pace()),
      descriptors_(worker.descriptors(), worker.limit_counters()),
      peers_(worker.settings().peer_limits, worker.node_peers(), worker.limit_counters()),
      handshakes_(worker.loop(), worker.handshake_pace(), worker.limit_counters(), worker.descriptors().pod_max()),
      refusals_(worker.loop(), worker.limit_counters()),
      accepting_(worker.loop()),
      scope_(worker.loop()),
      pool_(worker.loop(),
            {.http2 = http2_settings(),
             .streams_max = worker.settings().pool_max_streams,
             .unused_release_timeout = worker.settings().pool_unused_release_timeout},
            [this](const hbone::PoolKey& key, StopToken stop) { return dial(key, std::move(stop)); }) {}

PodProxy::~PodProxy() = default;

Result<void> PodProxy::start() {
  io::ListenerPtr outbound, plaintext;
  if (!kind_.tunnels_only) {
    WEFT_TRY(outbound, listen(kOutboundPort, "outbound"));
    WEFT_TRY(plaintext, listen(kInboundPlaintextPort, "inbound plaintext"));
  }
  WEFT_TRY(auto tunnels, listen(kHbonePort, "inbound"));
  if (outbound) serve(std::move(outbound), serve_outbound);
  if (plaintext) serve(std::move(plaintext), serve_passthrough);
  serve(std::move(tunnels), serve_tunnels);
  return {};
}

Result<io::ListenerPtr> PodProxy::listen(std::uint16_t port, const char* component) {
  const Settings& set = settings();
  const bool is_tunnel_port = port == kHbonePort;
  const io::ListenOptions options{.mark = kind_.listen_mark,
                                  .sharing = kind_.sharing,
                                  .backlog = kListenBacklog,
                                  .keepalive = is_tunnel_port ? std::nullopt : set.keepalive,
                                  .want_original_destination = !is_tunnel_port};
  auto listener = network_->listen({IpAddress::any(set.ipv6_enabled), port}, options);
  // A pod namespace without IPv6 has no such sockets; the pod has no such addresses either.
  if (!listener && set.ipv6_enabled && listener.error().code() != ErrorCode::kAddressInUse)
    listener = network_->listen({IpAddress::any(false), port}, options);
  if (!listener) {
    const SocketAddress wanted(IpAddress::any(set.ipv6_enabled), port);
    return fail(std::move(listener).error().within("failed to bind to address " + wanted.to_string()));
  }
  bool transparent = false;
  if (kind_.original_source != OriginalSource::kNever) {
    auto done = (*listener)->set_transparent();
    if (!done && kind_.original_source == OriginalSource::kRequired) return fail(std::move(done).error());
    transparent = done.has_value();
  }
  keeps_source_ = transparent;
  WEFT_LOG(kInfo, "inpod", "listener established", {"address", (*listener)->address().to_string(), log::FieldKind::kDisplay},
           {"component", component}, {"transparent", transparent ? "true" : "false", log::FieldKind::kNumber},
           {"pod", pod_.namespace_name + "/" + pod_.name});
  return std::move(*listener);
}

void PodProxy::serve(io::ListenerPtr listener, Serve serve) {
  listeners_.push_back(std::move(listener));
  accepting_.spawn(accept_all(*listeners_.back(), serve));
}

Task<void> PodProxy::accept_all(io::Listener& listener, Serve serve) {
  for (;;) {
    if (serve == serve_tunnels) co_await handshakes_.room(accepting_.token());
    auto accepted = co_await listener.accept(accepting_.token());
    if (!accepted) {
      if (accepted.error().code() != ErrorCode::kCancelled)
        WEFT_LOG(kError, "inpod", "listener ended", {"pod", pod_.namespace_name + "/" + pod_.name},
                 {"error", accepted.error().message()});
      co_return;
    }
    scope_.spawn(serve(*this, std::move(*accepted)));
  }
}

Task<void> PodProxy::leave_ports() {
  if (kind_.sharing == io::PortSharing::kShared) {  // else no newer proxy can be there
    for (auto& listener : listeners_) listener->yield_port();
    auto waited = co_await sleep_for(loop(), std::min(kHandshakeGrace, settings().termination_deadline), scope_.token());
    (void)waited;
  }
  for (auto& listener : listeners_) listener->finish();
}

Task<void> PodProxy::stop(DrainMode mode) {
  drain_.request_stop();
  Timer force([this] { scope_.request_stop(); });
  if (mode == DrainMode::kGraceful) {
    loop().arm(force, loop().now() + settings().termination_deadline);
    co_await leave_ports();
  } else {
    accepting_.request_stop();
    for (auto& listener : listeners_) listener->close();
    auto waited = co_await sleep_for(loop(), kGoodbye, {});
    (void)waited;
    scope_.request_stop();
  }
  co_await accepting_.join();
  listeners_.clear();
  co_await scope_.join();
  co_await pool_.close();
}

void PodProxy::on_snapshot() {
  snapshot_changed_.set();
  evict_gone_destinations();
  // A pod that was away for a while, and came back with other policies, moved no revision.
  bool other_policies = false;
  if (auto local = snapshot().local_workload(pod_.namespace_name, pod_.name, pod_.service_account, settings().node_name)) {
    other_policies = last_workload_ && last_workload_->authorization_policies != local->authorization_policies;
    last_workload_ = std::move(local);
  }
  if (other_policies || snapshot().policy_revision() != policy_revision_) ++judgement_;
  policy_revision_ = snapshot().policy_revision();
  if (!kind_.rechecks_policies || !last_workload_ || rechecking_) return;
  if (connections_.unjudged(judgement_)) scope_.spawn(recheck());
}

// In parts, one a turn, all pods of the worker in turn: a node may have as many open tunnels as descriptors, and any change
// of any policy concerns them all. What is new meanwhile is judged by the newest policies anyway.
Task<void> PodProxy::recheck() {
  rechecking_ = true;
  std::size_t cut = 0;
  while (connections_.unjudged(judgement_)) {
    co_await rounds_.turn();
    cut += connections_.recheck(judgement_, kRecheckedPerTurn, [this](const InboundConnection& connection) {
      return model::authorize(
                 snapshot(), *last_workload_,
                 {.source_ip = connection.source.ip(), .peer = connection.peer, .destination = connection.destination})
          .allowed;
    });
  }
  rechecking_ = false;
  if (cut > 0)
    WEFT_LOG(kInfo, "policy", "connections closed due to policy change", {"pod", pod_.namespace_name + "/" + pod_.name},
             {"count", fmt::to_string(cut), log::FieldKind::kNumber});
}

void PodProxy::evict_gone_destinations() {
  pool_.evict_destinations([this](const std::string& uid) { return !snapshot().workload(uid); });
}

Task<Result<model::WorkloadPtr>> PodProxy::workload(StopToken stop) {
  std::optional<Deadline> deadline;
  for (;;) {
    auto found = snapshot().local_workload(pod_.namespace_name, pod_.name, pod_.service_account, settings().node_name);
    if (found) {
      last_workload_ = found;
      co_return std::move(found);
    }
    if (!deadline) deadline.emplace(loop(), kWorkloadTimeout, stop);
    snapshot_changed_.reset();
    auto changed = co_await snapshot_changed_.wait(deadline->token());
    if (!changed)
      co_return fail(ErrorCode::kNotFound, "failed to fetch information about local workload: " + pod_.service_account +
                                               "." + pod_.namespace_name + " (" + pod_.name + ")");
  }
}

Task<Result<certs::CredentialsPtr>> PodProxy::credentials(model::Identity identity, StopToken stop) {
  const bool known = secret_ && secret_->identity() == identity;
  // A secret without a certificate may be one that was forgotten: the manager may have a newer one.
  if (!known || !secret_->current()->credentials) {
    auto secret = co_await worker_.identities().secret(loop(), std::move(identity));
    secret_ = std::move(secret);
  }
  const certs::SecretPtr secret = secret_;  // another connection may replace it meanwhile
  auto credentials = co_await secret->get(loop(), stop);
  if (!credentials) {
    if (credentials.error().code() == ErrorCode::kCancelled && stop.stop_requested()) co_return credentials;
    co_return fail(ErrorCode::kIdentity, "identity error: " + credentials.error().message());
  }
  co_return std::move(*credentials);
}

Task<Result<std::shared_ptr<const tls::Context>>> PodProxy::tls_context(StopToken stop) {
  auto local = co_await workload(stop);
  if (!local) co_return fail(std::move(local).error());
  auto current = co_await credentials((*local)->identity(), stop);
  if (!current) co_return fail(std::move(current).error());
  if (!tls_context_ || tls_context_->credentials() != *current) {
    auto made = tls::Context::create(
        *current,
        {.tls12 = settings().tls12_enabled, .post_quantum_only = settings().post_quantum_only, .own_records = true});
    if (!made) co_return fail(ErrorCode::kTls, "tls error: " + made.error().message());
    tls_context_ = std::move(*made);
    pool_.evict_generations_before((*current)->generation());
  }
  co_return tls_context_;
}

io::ConnectOptions PodProxy::connect_options() const {
  return {.mark = kind_.connect_mark, .keepalive = settings().keepalive};
}

http2::Settings PodProxy::http2_settings() const {
  const Settings& set = worker_.settings();
  http2::Settings http2;
  http2.stream_window = set.http2_stream_window;
  http2.connection_window = set.http2_connection_window;
  http2.max_frame_size = set.http2_frame_size;
  return http2;
}

// The one place where a tunnel connection is made: TCP, then TLS with the identities that the route expects.
Task<Result<hbone::Pool::Dialed>> PodProxy::dial(const hbone::PoolKey& key, StopToken stop) {
  std::vector<model::Identity> expected;
  for (const auto& text : key.expected_identities) {
    if (auto identity = model::Identity::parse(text)) expected.push_back(std::move(*identity));
  }
  auto descriptor = std::make_shared<const PodDescriptors::Hold>(descriptors_.take(1));
  if (!*descriptor) co_return fail(ErrorCode::kLimit, "the pod has its share of open files");
  auto context = co_await tls_context(stop);
  if (!context) co_return fail(std::move(context).error());
  Deadline deadline(loop(), kConnectTimeout, stop);
  auto socket = co_await network_->connect(key.hop, connect_options(), deadline.token());
  if (!socket) {
    if (deadline.expired())
      co_return fail(ErrorCode::kTimeout,
                     "connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008: deadline has elapsed",
                     Side::kUpstream);
    co_return fail(std::move(socket).error().within("io error").on(Side::kUpstream));
  }
  const tls::Verification verification{.expectation = tls::MeshServer{std::move(expected)}, .now = loop().clock().wall()};
  auto secured = co_await tls::connect(std::move(*socket), *context, verification, deadline.token(), &handshakes_.pace());
  if (!secured) {
    if (deadline.expired()) co_return fail(ErrorCode::kTls, "tls handshake error: timed out", Side::kUpstream);
    co_return fail(std::move(secured).error().on(Side::kUpstream));
  }
  hbone::Pool::Dialed dialed{std::move(*secured), std::move(descriptor)};
  co_return std::move(dialed);
}

}  // namespace weft::ztunnel
