#include <catch2/catch_test_macros.hpp>

#include "lib/async/scope.h"
#include "tests/support/sim/files.h"
#include "tests/support/sim/network.h"
#include "tests/support/sim/packets.h"
#include "tests/support/sim/process.h"

using namespace weft;
using namespace weft::sim;
using namespace std::chrono_literals;

namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

Task<void> serve_one(io::Listener& listener, std::string& got, bool& reset) {
  auto accepted = co_await listener.accept({});
  if (!accepted) co_return;
  for (;;) {
    auto data = co_await accepted->stream->read(64 * 1024);
    if (!data) {
      reset = data.error().code() == ErrorCode::kReset;
      co_return;
    }
    if (data->empty()) break;
    got += data->to_string();
  }
  auto written = co_await accepted->stream->write(BufferChain(Buffer::copy_of(accepted->original_destination.to_string())));
  (void)written;
  auto finished = co_await accepted->stream->shutdown_write();
  (void)finished;
}

Task<void> call(io::Network& network, SocketAddress address, std::size_t size, std::string& reply,
                std::optional<ErrorCode>& error) {
  auto stream = co_await network.connect(address, {}, {});
  if (!stream) {
    error = stream.error().code();
    co_return;
  }
  auto written = co_await (*stream)->write(BufferChain(Buffer::copy_of(std::string(size, 'q'))));
  if (!written) {
    error = written.error().code();
    co_return;
  }
  auto finished = co_await (*stream)->shutdown_write();
  (void)finished;
  for (;;) {
    auto data = co_await (*stream)->read(1000);
    if (!data) {
      error = data.error().code();
      co_return;
    }
    if (data->empty()) co_return;
    reply += data->to_string();
  }
}

// Two hosts, each with a loop of its own; a redirect rule at the client's.
struct Outcome {
  std::uint64_t trace = 0;
  std::string got;
  std::string reply;
  bool reset = false;
  std::optional<ErrorCode> error;
};

Outcome run_world(std::uint64_t seed, const Faults& faults, bool redirected) {
  World world(seed);
  Internet internet(world);
  internet.faults() = faults;
  auto& client_loop = world.make_loop("client");
  auto& server_loop = world.make_loop("server");
  auto& client_host = internet.make_host("client", {ip("10.0.0.1")});
  auto& server_host = internet.make_host("server", {ip("10.0.0.2"), ip("fd00::2")});
  if (redirected) {
    client_host.redirect_output([](const Flow& flow) -> std::optional<std::uint16_t> {
      if (flow.mark == 1337) return std::nullopt;
      return 15001;
    });
  }
  auto client_networks = internet.networks(client_host, client_loop);
  auto server_networks = internet.networks(redirected ? client_host : server_host, server_loop);
  auto client = client_networks->own();
  auto server = server_networks->own();
  io::ListenOptions options;
  options.want_original_destination = true;
  auto listener = server->listen(SocketAddress(IpAddress::any(true), redirected ? 15001 : 80), options);
  REQUIRE(listener);
  Outcome outcome;
  {
    Scope clients(client_loop), servers(server_loop);
    servers.spawn(serve_one(**listener, outcome.got, outcome.reset));
    clients.spawn(call(*client, SocketAddress(ip("10.0.0.2"), 80), 500'000, outcome.reply, outcome.error));
    world.run_until([&] { return clients.running() == 0; });
    (*listener)->close();
    world.run(servers.join());
  }
  listener->reset();
  world.run_for(1s);
  CHECK(internet.open_sockets() == 0);
  outcome.trace = world.trace();
  return outcome;
}

Task<void> connect_in(io::NetworkFactory& networks, const Fd& netns, SocketAddress address, Result<io::StreamPtr>& out) {
  auto network = networks.in_namespace(netns);
  REQUIRE(network);
  out = co_await (*network)->connect(address, {}, {});
}

Task<void> packets(SimPackets& network, const Fd& file) {
  auto nobody = co_await network.connect("/zds.sock", {});
  REQUIRE(!nobody);
  CHECK(nobody.error().code() == ErrorCode::kNotFound);
  auto listener = network.listen("/zds.sock", 0600);
  REQUIRE(listener);
  auto client = co_await network.connect("/zds.sock", {});
  REQUIRE(client);
  auto server = co_await (*listener)->accept({});
  REQUIRE(server);
  auto sent = co_await (*client)->send("one", file.get(), {});
  CHECK(sent);
  sent = co_await (*client)->send("two", {}, {});
  CHECK(sent);
  auto one = co_await (*server)->receive(100, {});
  REQUIRE(one);
  CHECK(one->data == "one");
  CHECK(one->descriptors.size() == 1);
  (*client)->close();
  auto two = co_await (*server)->receive(100, {});
  REQUIRE(two);
  CHECK(two->data == "two");
  auto end = co_await (*server)->receive(100, {});
  REQUIRE(!end);
  CHECK(end.error().code() == ErrorCode::kClosed);
}

}  // namespace

TEST_CASE("packet sockets of a host keep order and carry descriptors") {
  World world(7);
  Internet internet(world);
  auto files = std::make_shared<SocketFiles>();
  SimPackets network(world, world.make_loop("agent"), files);
  const Fd netns = internet.namespace_of(internet.make_host("pod", {}));
  world.run(packets(network, netns));
  CHECK(files->open == 0);
}

TEST_CASE("the same seed repeats the same run, another one does not") {
  Faults faults;
  faults.short_read = faults.short_write = 0.3;
  const auto first = run_world(1, faults, false);
  const auto again = run_world(1, faults, false);
  const auto other = run_world(2, faults, false);
  CHECK(first.got.size() == 500'000);
  CHECK(first.trace == again.trace);
  CHECK(first.trace != other.trace);
  CHECK(other.got == first.got);
}

TEST_CASE("redirected connections know where they were going") {
  const auto outcome = run_world(3, {}, true);
  CHECK(outcome.reply == "10.0.0.2:80");
}

TEST_CASE("faults strike both ends, and never end a stream as if it were whole") {
  Faults faults;
  faults.reset = 0.2;
  faults.short_write = 0.5;
  faults.refuse = 0.1;
  int resets = 0, refusals = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    INFO("seed " << seed);
    const auto outcome = run_world(seed, faults, false);
    if (outcome.error == ErrorCode::kRefused) ++refusals;
    if (outcome.reset) ++resets;
    CHECK((outcome.reset || outcome.got.size() == 500'000 || outcome.got.empty()));
    if (!outcome.error) CHECK(outcome.got.size() == 500'000);
  }
  CHECK(resets > 0);
  CHECK(refusals > 0);
}

TEST_CASE("a namespace's descriptor leads to its host") {
  World world(5);
  Internet internet(world);
  auto& loop = world.make_loop("agent");
  auto& node = internet.make_host("node", {ip("192.168.0.1")});
  auto& pod = internet.make_host("pod", {ip("10.0.0.7")});
  const Fd netns = internet.namespace_of(pod);
  auto networks = internet.networks(node, loop);
  Result<io::StreamPtr> stream = fail(ErrorCode::kInternal, "never ran");
  const Fd copy = netns.duplicate();
  auto in_pod = networks->in_namespace(copy);
  REQUIRE(in_pod);
  auto listener = (*in_pod)->listen(SocketAddress(IpAddress::any(false), 8080), {});
  REQUIRE(listener);
  world.run(connect_in(*networks, netns, SocketAddress(IpAddress::loopback(false), 8080), stream));
  CHECK(stream);
  world.run(connect_in(*networks, netns, SocketAddress(ip("10.9.9.9"), 8080), stream));
  REQUIRE(!stream);
  CHECK(stream.error().code() == ErrorCode::kUnreachable);
  CHECK((*in_pod)->listen(SocketAddress(IpAddress::any(false), 8080), {}).error().code() == ErrorCode::kAddressInUse);
}

TEST_CASE("a watched folder tells of changes after they settled, hidden files are not listed") {
  World world(6);
  auto& loop = world.make_loop("control");
  auto tree = std::make_shared<FileTree>();
  MemoryFiles files(loop, tree);
  int changes = 0;
  auto watch = files.watch("/state", 100ms, [&] { ++changes; });
  REQUIRE(watch);
  REQUIRE(files.write("/state/a.yaml", "one", 0600));
  tree->put("/state/sub/b.yaml", "two");
  tree->put("/state/.hidden", "x");
  tree->put("/elsewhere", "x");
  world.run_for(1s);
  CHECK(changes == 1);
  // Every change restarts the time, up to a bound.
  for (int i = 0; i < 10; ++i) {
    CHECK(changes == 1);
    tree->put("/state/a.yaml", "one");
    world.run_for(90ms);
  }
  for (const auto pause : {95ms, 20ms}) {
    CHECK(changes == 1);
    tree->put("/state/a.yaml", "one");
    world.run_for(pause);
  }
  CHECK(changes == 2);
  world.run_for(1s);
  CHECK(changes == 2);
  CHECK(files.list("/state").value() == std::vector<std::string>{"/state/a.yaml", "/state/sub/b.yaml"});
  CHECK(files.read("/state/a.yaml", 2).error().code() == ErrorCode::kLimit);
  tree->full = true;
  CHECK(!files.write("/state/c", "x", 0600));
  watch->reset();
  tree->put("/state/a.yaml", "three");
  world.run_for(1s);
  CHECK(changes == 2);
}

namespace {

Task<void> dial_and_wait(io::Network& network, SocketAddress address, std::string& got, std::optional<ErrorCode>& error) {
  auto stream = co_await network.connect(address, {}, {});
  if (!stream) {
    error = stream.error().code();
    co_return;
  }
  auto data = co_await (*stream)->read(1000);
  if (!data) {
    error = data.error().code();
    co_return;
  }
  got = data->empty() ? "end" : data->to_string();
}

Task<void> refused_packets(SimPackets& packets) {
  auto connected = co_await packets.connect("/zds.sock", {});
  REQUIRE(!connected);
  CHECK(connected.error().code() == ErrorCode::kRefused);
}

Task<void> accept_and_hold(io::Listener& listener, std::optional<ErrorCode>& error) {
  auto accepted = co_await listener.accept({});
  if (!accepted) co_return;
  auto data = co_await accepted->stream->read(1000);
  if (!data) error = data.error().code();
}

}  // namespace

TEST_CASE("a killed process is seen to end at once, and nothing that it does afterwards is seen") {
  World world(8);
  Internet internet(world);
  auto& client_loop = world.make_loop("client");
  auto& host = internet.make_host("server", {ip("10.0.0.2")});
  auto& client_host = internet.make_host("client", {ip("10.0.0.1")});
  auto sockets = std::make_shared<SocketFiles>();
  auto tree = std::make_shared<FileTree>();
  Process process(internet, sockets, "server");
  auto& loop = process.make_loop("control");
  MemoryFiles files(loop, tree);
  auto network = internet.networks(host, loop)->own();
  auto listener = network->listen(SocketAddress(IpAddress::any(false), 80), {});
  REQUIRE(listener);
  SimPackets packets(world, loop, sockets), other_packets(world, client_loop, sockets);
  auto packet_listener = packets.listen("/zds.sock", 0600);
  REQUIRE(packet_listener);
  auto client_network = internet.networks(client_host, client_loop)->own();
  std::string got;
  std::optional<ErrorCode> client_error, server_error;
  Scope clients(client_loop), servers(loop);
  servers.spawn(accept_and_hold(**listener, server_error));
  clients.spawn(dial_and_wait(*client_network, SocketAddress(ip("10.0.0.2"), 80), got, client_error));
  world.run_for(1s);
  process.kill();
  world.run_for(1s);
  CHECK(process.killed());
  CHECK(got == "end");
  CHECK(server_error == ErrorCode::kCancelled);
  CHECK(clients.running() == 0);
  CHECK(servers.running() == 0);
  clients.spawn(dial_and_wait(*client_network, SocketAddress(ip("10.0.0.2"), 80), got, client_error));
  world.run_for(1s);
  CHECK(client_error == ErrorCode::kRefused);
  CHECK(network->listen(SocketAddress(IpAddress::any(false), 81), {}).error().code() == ErrorCode::kCancelled);
  CHECK(!files.write("/state", "x", 0600));
  CHECK(tree->files.empty());
  world.run(refused_packets(other_packets));
  listener->reset();
  packet_listener->reset();
  process.retire();
  CHECK(internet.open_sockets() == 0);
}
