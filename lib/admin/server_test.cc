#include "lib/admin/server.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/admin/client.h"
#include "lib/asio/network.h"
#include "lib/asio/unix_socket.h"
#include "lib/async/manual_loop.h"
#include "lib/async/queue.h"
#include "lib/async/scope.h"
#include "lib/io/pipe.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::admin;
using namespace std::chrono_literals;

namespace {

// Hands out one end of a pipe per connect().
class PipeListener final : public io::Listener {
 public:
  PipeListener(Loop& loop, Queue<io::StreamPtr>& backlog, bool& closed) : loop_(loop), backlog_(backlog), closed_(closed) {}
  Task<Result<io::Accepted>> accept(StopToken stop) override {
    auto stream = co_await backlog_.pop(stop);
    if (!stream) co_return fail(std::move(stream).error());
    io::Accepted accepted;
    accepted.stream = std::move(*stream);
    co_return std::move(accepted);
  }
  void close() override { closed_ = true; }
  void yield_port() override {}
  void finish() override { close(); }
  SocketAddress address() const override { return {}; }
  Result<void> set_transparent() override { return {}; }

 private:
  Loop& loop_;
  Queue<io::StreamPtr>& backlog_;
  bool& closed_;
};

// A client that says what it is told to and collects what it hears.
struct Client {
  io::StreamPtr stream;
  std::string heard;
  bool ended = false;  // the server ended or reset its direction
};

Task<void> listen_to(std::shared_ptr<Client> client) {
  for (;;) {
    auto data = co_await client->stream->read(64 * 1024);
    if (!data || data->empty()) break;
    client->heard += data->to_string();
  }
  client->ended = true;
}

Task<void> write_to(std::shared_ptr<Client> client, std::string text) {
  auto written = co_await client->stream->write(BufferChain(Buffer::copy_of(text)));
  (void)written;  // the server may have gone
}

Task<void> finish_writing(std::shared_ptr<Client> client) {
  auto finished = co_await client->stream->shutdown_write();
  CHECK(finished);
}

struct Fixture {
  explicit Fixture(ServerOptions options = {}) {
    options.name = "test";
    options.refused = &refused;
    scope.spawn(serve(
        loop, std::make_unique<PipeListener>(loop, backlog, listener_closed),
        [this](Request request, StopToken token) { return handle(*this, std::move(request), token); }, options,
        stop.token()));
  }
  ~Fixture() {
    stop.request_stop();
    release.set();
    for (auto& client : clients) client->stream->abort(io::AbortReason::kCancel);
    loop.run(scope.join());
  }

  // Says what it got; "/wait" answers when told to or when the server stops; "/big" is larger than the pipe.
  static Task<Response> handle(Fixture& fixture, Request request, StopToken token) {
    ++fixture.handled;
    if (request.path == "/wait") {
      auto woken = co_await fixture.release.wait(token);
      co_return Response{200, woken ? "released" : "stopped"};
    }
    if (request.path == "/none") co_return Response{404};
    if (request.path == "/big") co_return Response{200, std::string(1 << 20, 'x')};
    co_return Response{
        200, request.method + " " + request.path + " " + request.query + " " + request.accept + " [" + request.body + "]\n"};
  }

  std::shared_ptr<Client> connect() {
    auto [client, server] = io::make_pipe(loop);
    REQUIRE(backlog.try_push(std::move(server)));
    clients.push_back(std::make_shared<Client>());
    clients.back()->stream = std::move(client);
    scope.spawn(listen_to(clients.back()));
    loop.run_until_idle();
    return clients.back();
  }
  // Without letting time pass.
  void say(const std::shared_ptr<Client>& client, const std::string& text) {
    scope.spawn(write_to(client, text));
    loop.run_until_idle();
  }
  std::uint64_t refusals(const std::string& reason) {
    return refused.with({{"server", "test"}, {"reason", reason}}).value();
  }

  ManualLoop loop;
  telemetry::Registry registry;
  telemetry::CounterFamily& refused = registry.counters("refused", "R");
  Queue<io::StreamPtr> backlog{loop, 100};
  bool listener_closed = false;
  int handled = 0;
  Event release{loop};
  StopSource stop;
  Scope scope{loop};
  std::vector<std::shared_ptr<Client>> clients;
};

const std::string kGet = "GET /a?b=c HTTP/1.1\r\nHost: h\r\nAccept: x/y\r\n\r\n";
const std::string kDate = "date: Fri, 15 Jan 2027 08:00:00 GMT\r\n";
const std::string kGot = "GET /a b=c x/y []\n";  // what kGet is answered

std::string answer_head(std::size_t length, const std::string& extra = {}) {
  return "HTTP/1.1 200 OK\r\n" + kDate + "content-length: " + std::to_string(length) +
         "\r\ncontent-type: text/plain; charset=utf-8\r\n" + extra + "\r\n";
}
std::string answer(const std::string& body, const std::string& extra = {}) { return answer_head(body.size(), extra) + body; }

std::string start_of(const Client& client) { return client.heard.substr(0, client.heard.find('\r')); }

}  // namespace

TEST_CASE("a kept connection answers one request after the other") {
  Fixture fixture;
  auto client = fixture.connect();
  for (int i = 0; i < 3; ++i) {
    client->heard.clear();
    fixture.say(client, kGet);
    CHECK(client->heard.ends_with("\r\n\r\n" + kGot));
    CHECK(!client->ended);
    fixture.loop.advance(50s);
  }
  fixture.loop.advance(20s);  // idle for longer than it may be
  CHECK(client->ended);
  CHECK(fixture.refusals("timeout") == 0);
}

TEST_CASE("a request may come in any two pieces, with the body told to continue") {
  const std::string request =
      "POST http://unix/cmdadd HTTP/1.1\r\nHost: unix\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\n{\"a\r\n2\r\n\"}\r\n0\r\n\r\n";
  for (std::size_t cut = 1; cut < request.size(); ++cut) {
    Fixture fixture;
    auto client = fixture.connect();
    fixture.say(client, request.substr(0, cut));
    CHECK(client->heard.empty());
    fixture.say(client, request.substr(cut));
    CHECK(client->heard == answer("POST /cmdadd   [{\"a\"}]\n"));
  }
  Fixture fixture;
  auto client = fixture.connect();
  fixture.say(client, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n");
  CHECK(client->heard == "HTTP/1.1 100 Continue\r\n\r\n");
  fixture.say(client, "body");
  CHECK(client->heard == "HTTP/1.1 100 Continue\r\n\r\n" + answer("POST /   [body]\n"));
}

TEST_CASE("requests sent ahead are answered in order, and none after a close") {
  Fixture fixture;
  auto client = fixture.connect();
  fixture.say(client, kGet + kGet + "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + kGet);
  const auto one = answer(kGot);
  CHECK(client->heard == one + one + answer("GET /last   []\n", "connection: close\r\n"));
  CHECK(client->ended);
  CHECK(fixture.handled == 3);
}

TEST_CASE("HEAD is answered without the body, HTTP/1.0 without keeping the connection, and an empty answer without a type") {
  Fixture fixture;
  auto head = fixture.connect();
  fixture.say(head, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(head->heard == answer_head(13));
  auto old = fixture.connect();
  fixture.say(old, "GET /x HTTP/1.0\r\n\r\n");
  CHECK(old->heard == answer("GET /x   []\n", "connection: close\r\n"));
  CHECK(old->ended);
  auto none = fixture.connect();
  fixture.say(none, "GET /none HTTP/1.1\r\nHost: h\r\n\r\n");
  CHECK(none->heard == "HTTP/1.1 404 Not Found\r\n" + kDate + "content-length: 0\r\n\r\n");
}

TEST_CASE("a long answer is compressed for a client that allows it, a short one and everybody else's are not") {
  Fixture f;
  struct Row {
    const char *path, *field, *coding;
  };
  for (const auto& row :
       {Row{"/big", "accept-encoding: gzip\r\n", "gzip"}, Row{"/big", "Accept-Encoding: deflate\r\n", "deflate"},
        Row{"/big", "accept-encoding: br\r\n", ""}, Row{"/big", "", ""}, Row{"/short", "accept-encoding: gzip\r\n", ""}}) {
    INFO(row.path << " " << row.field);
    for (const std::string method : {"GET", "HEAD"}) {
      const auto client = f.connect();
      f.say(client, method + " " + row.path + " HTTP/1.1\r\nhost: x\r\n" + row.field + "\r\n");
      const auto end = client->heard.find("\r\n\r\n") + 4;
      const auto head = client->heard.substr(0, end);
      const auto length = std::stoul(head.substr(head.find("content-length: ") + 16));
      CHECK(client->heard.size() - end == (method == "GET" ? length : 0));
      if (*row.coding) {
        CHECK(head.find(std::string("content-encoding: ") + row.coding + "\r\nvary: accept-encoding\r\n") != head.npos);
        CHECK(length < 100'000);
      } else {
        CHECK(head.find("content-encoding") == head.npos);
        CHECK((row.path == std::string("/short") || length == 1 << 20));
      }
    }
  }
  CHECK(f.handled == 10);
}

TEST_CASE("a client that finished writing still gets its answer") {
  Fixture fixture;
  auto client = fixture.connect();
  fixture.say(client, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  fixture.scope.spawn(finish_writing(client));
  fixture.loop.run_until_idle();
  CHECK(client->heard.empty());
  fixture.release.set();
  fixture.loop.run_until_idle();
  CHECK(client->heard == answer("released"));
  CHECK(client->ended);
}

TEST_CASE("bad requests are refused, counted, and harm nobody else") {
  Fixture fixture;
  auto good = fixture.connect();
  const std::pair<std::string, std::string> cases[] = {
      {"GET\r\n", "HTTP/1.1 400 Bad Request"},
      {"GET relative HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 Bad Request"},
      {"GET / HTTP/3.0\r\n", "HTTP/1.1 505 HTTP Version Not Supported"},
      {"GET / HTTP/1.1\r\nX: " + std::string(9000, 'x'), "HTTP/1.1 431 Request Header Fields Too Large"},
      {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n",
       "HTTP/1.1 413 Content Too Large"},
      {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 Not Implemented"},
  };
  for (const auto& [request, line] : cases) {
    auto client = fixture.connect();
    fixture.say(client, request);
    CHECK(start_of(*client) == line);
    CHECK(client->heard.find("connection: close\r\n") != std::string::npos);
    CHECK(client->ended);
  }
  CHECK(fixture.refusals("400") == 3);
  CHECK(fixture.refusals("431") == 1);
  CHECK(fixture.refusals("413") == 1);
  CHECK(fixture.handled == 0);
  fixture.say(good, kGet);
  CHECK(good->heard == answer(kGot));
}

TEST_CASE("a refused client may go on sending while it reads the refusal, but not for ever") {
  Fixture fixture;
  auto client = fixture.connect();
  fixture.say(client, "nonsense\r\n");
  CHECK(start_of(*client) == "HTTP/1.1 400 Bad Request");
  for (int i = 0; i < 10; ++i) fixture.say(client, std::string(10'000, 'x'));
  CHECK(fixture.loop.armed_timers() == 1);  // reads on
  for (int i = 0; i < 20; ++i) fixture.say(client, std::string(10'000, 'x'));
  CHECK(fixture.loop.armed_timers() == 0);
}

TEST_CASE("slow clients are cut off: silent, in the head, in the body, and in reading the answer") {
  Fixture fixture;
  auto silent = fixture.connect();
  auto head = fixture.connect();
  auto body = fixture.connect();
  fixture.say(head, "GET / HT");
  fixture.say(body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nb");
  auto kept = fixture.connect();
  fixture.say(kept, kGet);
  fixture.loop.advance(1900ms);
  CHECK(!silent->ended);
  CHECK(!head->ended);
  fixture.say(head, "T");
  fixture.say(kept, "GET");  // the head's time starts with its first byte
  fixture.loop.advance(200ms);
  CHECK(silent->ended);
  CHECK(head->ended);
  CHECK(!kept->ended);
  fixture.loop.advance(2s);
  CHECK(kept->ended);
  CHECK(!body->ended);
  fixture.loop.advance(8s);
  CHECK(body->ended);
  CHECK(fixture.refusals("timeout") == 4);

  auto [deaf, server] = io::make_pipe(fixture.loop, 1000);
  REQUIRE(fixture.backlog.try_push(std::move(server)));
  auto requested = fixture.loop.run(deaf->write(BufferChain(Buffer::copy_of("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"))));
  REQUIRE(requested);
  fixture.loop.run_until_idle();
  auto more = fixture.loop.run(deaf->write(BufferChain(Buffer::copy_of("GET /big HTTP/1.1\r\nHost: h\r\n\r\n"))));
  REQUIRE(more);
  fixture.loop.run_until_idle();
  CHECK(fixture.handled == 3);
  fixture.loop.advance(11s);
  CHECK(fixture.refusals("timeout") == 5);
}

TEST_CASE("a crowd waits: the longest idle connection makes room, answers end theirs, nobody is turned away") {
  ServerOptions options;
  options.connections_max = 3;
  Fixture fixture(options);
  auto first = fixture.connect();
  fixture.say(first, kGet);
  auto second = fixture.connect();
  fixture.say(second, kGet);
  CHECK(!first->ended);
  auto third = fixture.connect();
  CHECK(first->ended);
  CHECK(!second->ended);
  fixture.say(third, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  auto fourth = fixture.connect();
  CHECK(second->ended);
  fixture.say(fourth, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n");
  auto fifth = fixture.connect();
  fixture.say(fifth, kGet);  // none is idle: answered and closed
  CHECK(fifth->heard == answer(kGot, "connection: close\r\n"));
  auto sixth = fixture.connect();
  auto seventh = fixture.connect();
  fixture.say(seventh, kGet);
  CHECK(seventh->heard.empty());  // waits in the backlog
  fixture.release.set();
  fixture.loop.run_until_idle();
  CHECK(start_of(*third) == "HTTP/1.1 200 OK");
  CHECK(start_of(*fourth) == "HTTP/1.1 200 OK");
  CHECK(start_of(*seventh) == "HTTP/1.1 200 OK");
}

TEST_CASE("a stopping server answers what is under way, closes the rest and returns") {
  Fixture fixture;
  auto idle = fixture.connect();
  fixture.say(idle, kGet);
  auto silent = fixture.connect();
  auto waiting = fixture.connect();
  fixture.say(waiting, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n" + kGet);
  auto body = fixture.connect();
  fixture.say(body, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbo");
  fixture.stop.request_stop();
  fixture.loop.run_until_idle();
  CHECK(fixture.listener_closed);
  CHECK(idle->ended);
  CHECK(silent->ended);
  CHECK(waiting->heard == answer("stopped", "connection: close\r\n"));
  CHECK(!body->ended);
  fixture.say(body, "dy");
  CHECK(body->heard == answer("POST /   [body]\n", "connection: close\r\n"));
  CHECK(fixture.handled == 3);
  for (auto& client : fixture.clients) CHECK(client->ended);
  fixture.loop.run(fixture.scope.join());
  CHECK(fixture.loop.armed_timers() == 0);
}

namespace {

Task<Response> echo_body(Request request, StopToken) { co_return Response{200, request.path + request.body}; }

Task<void> ask(Result<io::StreamPtr> stream, std::string body) {
  REQUIRE(stream);
  ClientRequest request{"POST", "http://unix/cmdadd", "unix", body};
  auto answer = co_await exchange(std::move(*stream), std::move(request), 1 << 20, {});
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "/cmdadd" + body);
}

Task<void> over_kernel_sockets(asio::Loop& loop, std::string path) {
  asio::Networks networks(loop);
  auto network = networks.own();
  auto tcp = network->listen(SocketAddress(IpAddress::loopback(false), 0), {});
  auto local = asio::listen_unix(loop, path, 0600);
  REQUIRE(tcp);
  REQUIRE(local);
  const auto address = (*tcp)->address();
  Scope servers(loop);
  servers.spawn(serve(loop, std::move(*tcp), echo_body, {}, servers.token()));
  servers.spawn(serve(loop, std::move(*local), echo_body, {}, servers.token()));
  for (const std::size_t size : {0, 1, 60'000}) {
    auto tcp_stream = co_await network->connect(address, {}, {});
    co_await ask(std::move(tcp_stream), std::string(size, 'x'));
    auto unix_stream = co_await asio::connect_unix(loop, path, {});
    co_await ask(std::move(unix_stream), std::string(size, 'y'));
  }
  // The refusal arrives although the body is still coming.
  auto refused = co_await network->connect(address, {}, {});
  REQUIRE(refused);
  ClientRequest large{"POST", "/", "h", std::string(200'000, 'z')};
  auto answer = co_await exchange(std::move(*refused), std::move(large), 1 << 20, {});
  REQUIRE(answer);
  CHECK(answer->status == 413);
  servers.request_stop();
  co_await servers.join();
}

Task<void> stop_after(asio::Loop& loop, Task<void> body) {
  co_await std::move(body);
  loop.stop();
}

}  // namespace

TEST_CASE("requests are served over TCP and over a Unix socket") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  Scope scope(loop);
  scope.spawn(stop_after(loop, over_kernel_sockets(loop, folder.path("door.sock"))));
  loop.run();
}
