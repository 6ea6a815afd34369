#include "tools/weftctl/node.h"

#include <catch2/catch_test_macros.hpp>
#include <map>
#include <optional>

#include "lib/admin/server.h"
#include "lib/async/scope.h"
#include "tests/support/sim/network.h"

using namespace weft;
using namespace weft::ctl;

namespace {

class OneName final : public io::Resolver {
 public:
  Task<Result<std::vector<IpAddress>>> resolve(std::string host, StopToken) override {
    if (host != "node.test") co_return fail(ErrorCode::kNotFound, "resolve " + host + ": no such name");
    co_return std::vector<IpAddress>{*IpAddress::parse("10.0.0.8"), *IpAddress::parse("10.0.0.9")};
  }
};

// A tool on one host, and a node whose admin pages answer with `answer`.
struct Rig {
  sim::World world{3};
  sim::Internet internet{world};
  sim::SimLoop& loop = world.make_loop("tool");
  sim::SimLoop& node_loop = world.make_loop("node");
  std::unique_ptr<io::NetworkFactory> networks =
      internet.networks(internet.make_host("tool", {*IpAddress::parse("10.0.0.1")}), loop);
  std::unique_ptr<io::NetworkFactory> node_networks =
      internet.networks(internet.make_host("node", {*IpAddress::parse("10.0.0.9")}), node_loop);
  io::NetworkPtr network = networks->own(), node_network = node_networks->own();
  OneName resolver;
  Scope scope{node_loop};
  admin::Request seen;
  admin::Response answer;

  Rig() {
    auto listener = node_network->listen(SocketAddress(IpAddress::any(false), kAdminPort), {});
    REQUIRE(listener);
    admin::ServerOptions options;
    scope.spawn(admin::serve(
        node_loop, std::move(*listener), [this](admin::Request request, StopToken) { return serve(std::move(request)); },
        options, scope.token()));
  }
  ~Rig() {
    scope.request_stop();
    world.run(scope.join());
  }
  Task<admin::Response> serve(admin::Request request) {
    seen = std::move(request);
    co_return answer;
  }
  static Task<void> keep(Task<Result<std::string>> asked, std::optional<Result<std::string>>& out) {
    auto answers = co_await std::move(asked);
    out = std::move(answers);
  }
  Result<std::string> explain(const std::string& address, const std::string& questions = "{}\n") {
    Node node(loop, *network, resolver, *parse_node_address(address, kAdminPort));
    std::optional<Result<std::string>> answers;
    world.run(keep(ask_explain(node, questions), answers));
    return std::move(*answers);
  }
};

bool holds(const Result<std::string>& got, const std::string& word) {
  INFO((got ? *got : got.error().message()));
  return !got && got.error().message().find(word) != std::string::npos;
}

}  // namespace

TEST_CASE("a node is named by address or name, with its port or without") {
  for (const auto& [text, told] : std::map<std::string, std::string>{{"10.0.0.9", "10.0.0.9:15000"},
                                                                     {"10.0.0.9:80", "10.0.0.9:80"},
                                                                     {"::1", "[::1]:15000"},
                                                                     {"[::1]:80", "[::1]:80"},
                                                                     {"[::1]", "[::1]:15000"},
                                                                     {"localhost", "localhost:15000"},
                                                                     {"node-a.test:81", "node-a.test:81"}}) {
    INFO(text);
    const auto address = parse_node_address(text, 15000);
    REQUIRE(address);
    CHECK(address->to_string() == told);
  }
  for (const auto* text :
       {"", ":", "a:", "a:0", "a:65536", "a:b", "a b", "http://a", "a/b", "[a]:80", "[::1", "::1]:80", ":80"}) {
    INFO(text);
    const auto address = parse_node_address(text, 15000);
    REQUIRE(!address);
    CHECK(address.error().message().find("is no address") != std::string::npos);
  }
}

TEST_CASE("questions go to the node as one request, and its answers come back") {
  Rig rig;
  rig.answer = {.body = "{\"id\":1}\n{\"id\":2}\n"};
  for (const auto* address : {"10.0.0.9", "node.test:15000"}) {
    const auto got = rig.explain(address, "{\"a\":1}\n{\"a\":2}\n");
    REQUIRE(got);
    CHECK(*got == rig.answer.body);
    CHECK(rig.seen.method == "POST");
    CHECK(rig.seen.path == "/explain");
    CHECK(rig.seen.body == "{\"a\":1}\n{\"a\":2}\n");
  }
}

TEST_CASE("a node that cannot be asked is named, with what came of it and what to do") {
  Rig rig;
  for (const auto* address : {"10.0.0.9:1", "10.0.0.77", "nobody.test"}) {
    const auto got = rig.explain(address);
    CHECK(holds(got, "cannot reach the node for POST /explain at " + std::string(address)));
    CHECK(holds(got, "is ztunnel running there"));
  }
  CHECK(holds(rig.explain("10.0.0.9:1"), "refused"));
  CHECK(holds(rig.explain("nobody.test"), "no such name"));
}

TEST_CASE("a node that never answers is given up") {
  Rig rig;
  rig.internet.faults().hang = 1;
  CHECK(holds(rig.explain("10.0.0.9"), "timed out"));
}

TEST_CASE("an answer that is none is told as an error") {
  Rig rig;
  rig.answer = {.status = 404};
  CHECK(holds(rig.explain("10.0.0.9"), "no ztunnel of Weft, or an older one"));
  rig.answer = {.status = 413, .body = "too long\nmore"};
  CHECK(holds(rig.explain("10.0.0.9"), "answered with status 413 (too long)"));
  for (const auto* body : {"", "{\"id\":1}"}) {
    rig.answer = {.body = body};
    CHECK(holds(rig.explain("10.0.0.9"), "ended in the middle"));
  }
}
