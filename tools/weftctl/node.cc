#include "tools/weftctl/node.h"

#include <charconv>

namespace weft::ctl {
namespace {

constexpr const char* kAdvice =
    "; is ztunnel running there, and is this its admin address? It listens on port 15000 of its node's loopback only "
    "(kubectl port-forward, or run weftctl on the node)";

std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

// The first line of a refusal, for a message.
std::string first_line(const std::string& body) {
  constexpr std::size_t kShown = 200;
  const auto line = body.substr(0, std::min(body.find('\n'), kShown));
  return line.empty() ? "" : " (" + line + ")";
}

}  // namespace

std::string NodeAddress::to_string() const {
  const bool brackets = host.find(':') != std::string::npos;
  return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<NodeAddress> parse_node_address(const std::string& text, std::uint16_t default_port) {
  const auto wrong = [&] {
    return fail(ErrorCode::kInvalidArgument, "\"" + text + "\" is no address: write HOST, HOST:PORT or [IPv6]:PORT");
  };
  if (auto ip = IpAddress::parse(text)) return NodeAddress{text, default_port};
  const auto colon = text.ends_with(']') ? std::string::npos : text.rfind(':');
  auto host = text.substr(0, colon);
  NodeAddress address{host, default_port};
  if (colon != std::string::npos) {
    const auto port = port_of(std::string_view(text).substr(colon + 1));
    if (!port) return wrong();
    address.port = *port;
  }
  if (host.starts_with('[') && host.ends_with(']')) {
    address.host = host.substr(1, host.size() - 2);
    if (!IpAddress::parse(address.host)) return wrong();
  } else if (host.empty() || host.find_first_of(":/@[] \t") != std::string::npos) {
    return wrong();
  }
  return address;
}

Task<Result<io::StreamPtr>> Node::connect(StopToken stop) {
  std::vector<IpAddress> addresses;
  if (auto ip = IpAddress::parse(address_.host)) {
    addresses.push_back(*ip);
  } else {
    auto resolved = co_await resolver_.resolve(address_.host, stop);
    if (!resolved) co_return fail(std::move(resolved).error());
    addresses = std::move(*resolved);
  }
  Result<io::StreamPtr> stream = fail(ErrorCode::kNotFound, "the name has no address");
  for (const auto& ip : addresses) {
    const SocketAddress target(ip, address_.port);
    io::ConnectOptions options;
    stream = co_await network_.connect(target, options, stop);
    if (stream) break;
  }
  co_return stream;
}

Task<Result<std::string>> Node::ask(admin::ClientRequest request) {
  const auto what = request.method + " " + request.target + " at " + address_.to_string();
  request.host = address_.to_string();
  Deadline deadline(loop_, kLimit, {});
  auto stream = co_await connect(deadline.token());
  if (!stream) {
    auto error = deadline.explain(std::move(stream).error(), "the connection");
    co_return fail(error.code(), "cannot reach the node for " + what + ": " + error.message() + kAdvice);
  }
  auto answer = co_await admin::exchange(std::move(*stream), std::move(request), kPageMax, deadline.token());
  if (!answer) {
    auto error = deadline.explain(std::move(answer).error(), "the answer");
    co_return fail(error.code(), "no answer to " + what + ": " + error.message());
  }
  if (answer->status == 404)
    co_return fail(ErrorCode::kUnsupported, what + " is not known there: it is no ztunnel of Weft, or an older one");
  if (answer->status != 200)
    co_return fail(ErrorCode::kUnavailable,
                   what + " was answered with status " + std::to_string(answer->status) + first_line(answer->body));
  co_return std::move(answer->body);
}

Task<Result<std::string>> ask_explain(Node& node, std::string questions) {
  admin::ClientRequest request;
  request.method = "POST";
  request.target = "/explain";
  request.body = std::move(questions);
  auto answers = co_await node.ask(std::move(request));
  if (!answers) co_return answers;
  if (answers->empty() || answers->back() != '\n')
    co_return fail(ErrorCode::kProtocol, node.address().to_string() + " ended in the middle of its answers; is it ending?");
  co_return answers;
}

}  // namespace weft::ctl
