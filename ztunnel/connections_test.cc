#include "ztunnel/connections.h"

#include <catch2/catch_test_macros.hpp>

#include "ztunnel/test_mesh.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

struct Inbound : InboundConnection {
  Inbound(const char* from, const char* account) {
    source = at(from);
    destination = at("10.0.0.2:8080");
    if (*account) peer = identity_of(account);
  }
};

}  // namespace

TEST_CASE("connections with equal ends are kept apart, and each leaves by itself") {
  Connections connections;
  Inbound first("10.0.0.1:1", "front");
  {
    Inbound second("10.0.0.1:1", "front");
    connections.add(first);
    connections.add(second);
    CHECK(connections.inbound_rows().size() == 2);
  }
  CHECK(connections.inbound_rows().size() == 1);
  OutboundConnection out;
  connections.add(out);
  CHECK(connections.outbound_rows().size() == 1);
}

TEST_CASE("a row is HBONE when the peer has proven who it is") {
  Connections connections;
  Inbound tunnelled("10.0.0.1:1", "front"), plain("10.0.0.3:2", "");
  tunnelled.destination_service = "web.shop.svc.cluster.local";
  connections.add(tunnelled);
  connections.add(plain);
  const auto rows = connections.inbound_rows();
  REQUIRE(rows.size() == 2);
  for (const auto& row : rows) {
    const bool first = row.source == at("10.0.0.1:1");
    CHECK(row.protocol == (first ? ConnectionProtocol::kHbone : ConnectionProtocol::kTcp));
    CHECK(row.meant() == (first ? "web.shop.svc.cluster.local" : ""));
    CHECK(row.actual_destination == at("10.0.0.2:8080"));
  }
}

TEST_CASE("a recheck stops what is no longer allowed, once, and says why") {
  Connections connections;
  Inbound doomed("10.0.0.1:1", "front"), twin("10.0.0.1:1", "front"), kept("10.0.0.1:2", "cart");
  for (auto* connection : {&doomed, &twin, &kept}) connections.add(*connection);
  int asked = 0;
  auto no_front = [&asked](const InboundConnection& connection) {
    ++asked;
    return connection.peer != identity_of("front");
  };
  CHECK(connections.recheck(1, 100, no_front) == 2);
  CHECK(asked == 3);
  for (auto* connection : {&doomed, &twin}) {
    CHECK(connection->stop.stop_requested());
    CHECK(connection->denied_by_policy_change);
  }
  CHECK_FALSE(kept.stop.stop_requested());
  CHECK_FALSE(connections.unjudged(1));
  CHECK(connections.recheck(2, 100, no_front) == 0);
}

TEST_CASE("a connection that ends when it is told to may leave the list meanwhile") {
  Connections connections;
  auto first = std::make_unique<Inbound>("10.0.0.1:1", "front");
  auto second = std::make_unique<Inbound>("10.0.0.1:2", "front");
  connections.add(*first);
  connections.add(*second);
  StopCallback ends(first->stop.token(), [&second] { second.reset(); });
  CHECK(connections.recheck(1, 100, [](const InboundConnection&) { return false; }) == 2);
  CHECK(connections.inbound_rows().size() == 1);
}

TEST_CASE("a recheck in parts judges each connection once by the newest policies, whoever comes and goes meanwhile") {
  Connections connections;
  std::vector<std::unique_ptr<Inbound>> all;
  for (int i = 0; i < 10; ++i) {
    all.push_back(std::make_unique<Inbound>("10.0.0.1:1", "front"));
    connections.add(*all.back());
  }
  int asked = 0;
  const auto count = [&asked](const InboundConnection&) {
    ++asked;
    return true;
  };
  (void)connections.recheck(1, 4, count);
  CHECK(asked == 4);
  CHECK(connections.unjudged(1));
  all.erase(all.begin());      // one that was judged
  all.erase(all.begin() + 3);  // one that was not
  Inbound newcomer("10.0.0.3:1", "cart");
  newcomer.judged_by = 1;  // as it came
  connections.add(newcomer);
  (void)connections.recheck(1, 4, count);
  CHECK(asked == 8);
  // The policies change again before the last of the first time had its turn.
  asked = 0;
  while (connections.unjudged(2))
    CHECK(connections.recheck(2, 4, [&](const auto& c) { return count(c) && &c != &newcomer; }) <= 1);
  CHECK(asked == 9);
  CHECK(newcomer.denied_by_policy_change);
}
