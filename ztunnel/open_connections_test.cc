#include "ztunnel/open_connections.h"

#include <catch2/catch_test_macros.hpp>
#include <memory>
#include <vector>

#include "lib/async/manual_loop.h"

using namespace weft;
using namespace weft::ztunnel;
using namespace std::chrono_literals;

namespace {

class Counted final : public OpenConnection {
 public:
  void on_still_open() override { ++told; }
  int told = 0;
};

}  // namespace

TEST_CASE("a connection is told of after a minute and every ten from then on") {
  ManualLoop loop;
  OpenConnections open(loop);
  Counted first, second;
  open.add(first);
  loop.advance(30s);
  open.add(second);
  loop.advance(29s);
  CHECK(first.told == 0);
  loop.advance(2s);
  CHECK(first.told == 1);
  CHECK(second.told == 0);
  loop.advance(30s);
  CHECK(second.told == 1);
  loop.advance(9min);
  CHECK(first.told == 1);
  loop.advance(1min);
  CHECK(first.told == 2);
  CHECK(second.told == 2);
  loop.advance(20min);
  CHECK(first.told == 4);
}

TEST_CASE("a connection that comes while the others are all waited for ten minutes is told of after its own minute") {
  ManualLoop loop;
  OpenConnections open(loop);
  Counted old, fresh;
  open.add(old);
  loop.advance(2min);
  CHECK(old.told == 1);
  open.add(fresh);
  loop.advance(59s);
  CHECK(fresh.told == 0);
  loop.advance(2s);
  CHECK(fresh.told == 1);
  loop.advance(8min);
  CHECK(old.told == 2);
  CHECK(fresh.told == 1);
}

TEST_CASE("a connection that ended is not told of, and nothing is left to wait for") {
  ManualLoop loop;
  OpenConnections open(loop);
  Counted stays;
  {
    Counted ended;
    open.add(ended);
    open.add(stays);
  }
  loop.advance(61s);
  CHECK(stays.told == 1);
  {
    OpenConnections others(loop);
    Counted ended;
    others.add(ended);
    static_cast<ListLink&>(ended).unlink();
    loop.advance(2min);
  }
  static_cast<ListLink&>(stays).unlink();
  loop.advance(11min);
  CHECK(loop.armed_timers() == 0);
}

TEST_CASE("many at a time are told of in batches") {
  ManualLoop loop;
  OpenConnections open(loop);
  std::vector<std::unique_ptr<Counted>> many;
  for (int i = 0; i < 250; ++i) {
    many.push_back(std::make_unique<Counted>());
    open.add(*many.back());
  }
  const auto told = [&many] {
    int sum = 0;
    for (const auto& one : many) sum += one->told;
    return sum;
  };
  loop.advance(60s);
  CHECK(told() == 100);
  loop.advance(10ms);
  CHECK(told() == 200);
  loop.advance(10ms);
  CHECK(told() == 250);
}
