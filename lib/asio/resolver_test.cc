#include "lib/asio/resolver.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <thread>

#include "lib/async/scope.h"
#include "lib/base/fd.h"

using namespace weft;
using namespace std::chrono_literals;

namespace {

// A name server on loopback that knows one name, "ca.test" with two IPv4 addresses, and never answers for "silent.test".
class NameServer {
 public:
  NameServer() : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    socklen_t size = sizeof address;
    ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { run(); });
  }
  ~NameServer() {
    ::shutdown(socket_.get(), SHUT_RDWR);  // wakes the receive
    thread_.join();
  }
  const std::string& address() const { return address_; }

 private:
  void run() {
    std::uint8_t packet[512];
    for (;;) {
      sockaddr_in from{};
      socklen_t size = sizeof from;
      const auto got = ::recvfrom(socket_.get(), packet, sizeof packet, 0, reinterpret_cast<sockaddr*>(&from), &size);
      if (got < 12) return;
      const std::string query(reinterpret_cast<char*>(packet), static_cast<std::size_t>(got));
      if (query.find("silent") != std::string::npos) continue;
      const auto reply = answer(query);
      ::sendto(socket_.get(), reply.data(), reply.size(), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  }
  // RFC 1035 4.1: the header with QR set, the question back, and for A questions of the known name two answers.
  static std::string answer(const std::string& query) {
    const auto end = query.find('\0', 12);
    const std::string question = query.substr(12, end + 5 - 12);
    const bool known = question.starts_with(std::string("\2ca\4test", 8));
    const bool wants_v4 = question[question.size() - 3] == 1;
    std::string reply = query.substr(0, 2) + std::string("\x81", 1) + (known ? '\x80' : '\x83');
    reply += std::string("\0\1\0", 3) + (known && wants_v4 ? '\2' : '\0') + std::string(4, '\0') + question;
    if (known && wants_v4) {
      for (const char last : {'\1', '\2'}) reply += std::string("\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0", 15) + last;
    }
    return reply;
  }

  Fd socket_;
  std::string address_;
  std::thread thread_;
};

using Outcome = Result<std::vector<IpAddress>>;

Task<void> ask(asio::Loop& loop, std::string servers, std::string host, StopToken stop, std::optional<Outcome>& out) {
  asio::Resolver resolver(loop, std::move(servers));
  auto outcome = co_await resolver.resolve(std::move(host), stop);
  out.emplace(std::move(outcome));
  loop.stop();
}

Outcome resolve(const std::string& servers, const std::string& host, Duration limit = 10s) {
  asio::Loop loop;
  Scope scope(loop);
  std::optional<Outcome> out;
  Deadline deadline(loop, limit, {});
  scope.spawn(ask(loop, servers, host, deadline.token(), out));
  if (!out) loop.run();
  REQUIRE(out.has_value());
  return std::move(*out);
}

}  // namespace

TEST_CASE("a name is answered by its name server with all its addresses") {
  NameServer server;
  auto found = resolve(server.address(), "ca.test");
  REQUIRE(found);
  std::sort(found->begin(), found->end());
  CHECK(*found == std::vector{*IpAddress::parse("10.0.0.1"), *IpAddress::parse("10.0.0.2")});
}

TEST_CASE("a name nobody knows is not found, and a broken one says so") {
  NameServer server;
  CHECK(resolve(server.address(), "none.test.").error().code() == ErrorCode::kNotFound);
  auto broken = resolve(server.address(), std::string(300, 'a'));
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message().starts_with("resolve aaa"));
}

TEST_CASE("a silent name server costs no more than the caller's patience") {
  NameServer server;
  auto found = resolve(server.address(), "silent.test.", 30ms);
  REQUIRE_FALSE(found);
  CHECK(found.error().code() == ErrorCode::kCancelled);
}

TEST_CASE("the local host needs no name server") {
  auto found = resolve({}, "localhost");
  REQUIRE(found);
  for (const auto& ip : *found) CHECK(ip.is_loopback());
}
