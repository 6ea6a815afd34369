#include "certs/ca_client.h"

#include "ca.pb.h"
#include "certs/issued_chain.h"
#include "lib/base/log.h"

namespace weft::certs {
namespace {

constexpr std::string_view kMethod = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

// Control planes are pinged less often than peers: every connection of the cluster ends there.
http2::Settings control_plane_settings() {
  http2::Settings settings;
  settings.ping_interval = std::chrono::seconds(30);
  settings.ping_timeout = std::chrono::seconds(10);
  return settings;
}

// RFC 9110 5.1 and 5.5, lower-case as HTTP/2 wants names.
bool is_header(const std::string& name, const std::string& value) {
  constexpr std::string_view kSymbols = "!#$%&'*+-.^_`|~";
  for (const char c : name) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || kSymbols.find(c) != std::string_view::npos)) return false;
  }
  for (const char c : value) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') return false;
  }
  return !name.empty();
}

std::string serialize(const std::string& csr, const std::string& identity, const CaClientOptions& options) {
  istio::v1::auth::IstioCertificateRequest message;
  message.set_csr(csr);
  message.set_validity_duration(std::chrono::duration_cast<std::chrono::seconds>(options.certificate_life).count());
  if (options.impersonates) {
    auto& fields = *message.mutable_metadata()->mutable_fields();
    fields["ImpersonatedIdentity"].set_string_value(identity);
  }
  return message.SerializeAsString();
}

Error signing_error(const grpc::Status& status) {
  const Error plain = grpc::to_error(status);
  return Error(plain.code(), "signing gRPC error (" + std::string(grpc::to_string(status.code)) + "): " + status.message,
               Side::kUpstream);
}

}  // namespace

Result<std::unique_ptr<CaClient>> CaClient::create(Loop& loop, io::Network& network, io::Resolver& resolver,
                                                   TrustRoots roots, AuthToken token, CaClientOptions options) {
  WEFT_TRY(auto address, grpc::ServerAddress::parse(options.address));
  for (const auto& [name, value] : options.headers) {
    if (!is_header(name, value)) return fail(ErrorCode::kInvalidArgument, "invalid header for the authority: " + name);
  }
  options.tls.alpn = {"h2"};
  return std::unique_ptr<CaClient>(
      new CaClient(loop, network, resolver, std::move(roots), std::move(token), std::move(options), std::move(address)));
}

CaClient::CaClient(Loop& loop, io::Network& network, io::Resolver& resolver, TrustRoots roots, AuthToken token,
                   CaClientOptions options, grpc::ServerAddress address)
    : roots_(std::move(roots)),
      token_(std::move(token)),
      options_(std::move(options)),
      secure_(address.transport == grpc::Transport::kTls),
      context_(fail(ErrorCode::kUnavailable, "root certificate: not read yet")),
      watch_(roots_.watch([this] { roots_changed_ = true; })),
      dialer_(loop, network, resolver, address, [this] { return context_; },
              {.alternative_host = options_.alternative_host, .mark = options_.mark}),
      channel_(loop, [this](StopToken stop) { return dialer_.dial(std::move(stop)); },
               {.authority = address.authority, .scheme = secure_ ? "https" : "http", .http2 = control_plane_settings()}) {}

CaClient::~CaClient() = default;

void CaClient::refresh_roots() {
  if (!secure_) return;
  // Without any roots so far there is nothing to keep: every fetch looks again.
  if (!roots_changed_ && context_) return;
  auto loaded = roots_.load(options_.tls);
  if (loaded) {
    const bool first = !context_;
    context_ = std::move(loaded);
    roots_changed_ = false;
    if (first) return;
    WEFT_LOG(kInfo, "identity", "root certificate changed, using a new connection to the authority",
             {"address", options_.address});
    channel_.reconnect();
    return;
  }
  WEFT_LOG(kWarn, "identity",
           context_ ? "changed root certificate cannot be used, keeping the old one" : "no root certificate",
           {"address", options_.address}, {"error", loaded.error().message()});
  if (!context_) context_ = std::move(loaded);
}

Task<Result<CredentialsPtr>> CaClient::fetch(model::Identity identity, std::uint64_t generation, StopToken stop) {
  refresh_roots();
  const std::string name = identity.to_string();
  auto key = tls::PrivateKey::generate();
  if (!key) co_return fail(std::move(key).error());
  auto csr = tls::make_request(*key, name);
  if (!csr) co_return fail(std::move(csr).error());
  auto authorization = token_.authorization();
  if (!authorization) co_return fail(std::move(authorization).error());

  grpc::CallOptions call;
  call.metadata = options_.headers;
  if (*authorization) {
    if (!is_header("authorization", **authorization)) {
      co_return fail(ErrorCode::kPermission, "the token has characters that cannot be sent");
    }
    call.metadata.emplace_back("authorization", std::move(**authorization));
    call.metadata.emplace_back("clusterid", options_.cluster_id);
  }
  auto request = serialize(*csr, name, options_);
  auto reply = co_await channel_.unary(std::string(kMethod), std::move(request), std::move(call), std::move(stop));
  if (!reply.status.ok()) co_return fail(signing_error(reply.status));

  istio::v1::auth::IstioCertificateResponse message;
  if (!message.ParseFromString(reply.message)) {
    co_return fail(ErrorCode::kProtocol, "the authority's answer is not a certificate response", Side::kUpstream);
  }
  const std::vector<std::string> elements(message.cert_chain().begin(), message.cert_chain().end());
  co_return read_issued_chain(identity, *key, elements, generation);
}

Task<void> CaClient::stop() {
  watch_.reset();
  co_await channel_.close();
}

}  // namespace weft::certs
