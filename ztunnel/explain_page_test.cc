#include "ztunnel/explain_page.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/model/test_objects.h"
#include "ztunnel/settings.h"

using namespace weft;
using namespace weft::ztunnel;

namespace {

// A pod that only shop's callers reach, and a service of `pods` more.
explain::Facts facts_of(int pods = 1) {
  model::MeshObjects objects;
  auto web = model::service("shop", "web", "10.9.0.1");
  for (int i = 0; i < pods; ++i) {
    auto pod = model::pod("shop", "web-" + std::to_string(i),
                          "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1));
    objects.workloads.push_back(model::join(pod, web));
  }
  objects.services = {web};
  model::Policy policy{.name = "callers", .namespace_name = "shop"};
  model::Match shop;
  shop.namespaces = {{model::StringMatch::Kind::kExact, "shop"}};
  policy.rules = {{{shop}}};
  objects.policies = {policy};
  return {.snapshot = model::mesh(std::move(objects)),
          .cluster_id = "Kubernetes",
          .cluster_domain = "cluster.local",
          .hbone_port = kHbonePort,
          .is_own_port = is_illegal_port};
}

admin::Response ask(explain::Facts facts, admin::Request request) {
  ManualLoop loop;
  return loop.run(answer_explain(loop, std::move(facts), std::move(request), {}));
}

admin::Request post(std::string body) { return {.method = "POST", .path = "/explain", .body = std::move(body)}; }

std::string question(const std::string& ns, const std::string& destination = R"({"service": "shop/web"})") {
  return R"({"source": {"principal": "cluster.local/ns/)" + ns + R"(/sa/a"}, "destination": )" + destination + "}\n";
}

long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

Task<void> count_turns(Loop& loop, int& turns, StopToken stop) {
  while (!stop.stop_requested()) {
    ++turns;
    co_await yield_to(loop);
  }
}

Task<void> keep(Task<admin::Response> asked, std::optional<admin::Response>& out, StopSource& stop) {
  auto answer = co_await std::move(asked);
  out = std::move(answer);
  stop.request_stop();
}

}  // namespace

TEST_CASE("each question line is answered by a line, in order, from the mesh in force") {
  const auto answer = ask(facts_of(), post(question("shop") + "\n \r\n" + question("other") + "nonsense"));
  CHECK(answer.status == 200);
  CHECK(answer.content_type == "application/json");
  REQUIRE(lines(answer.body) == 3);
  CHECK(answer.body.starts_with(
      R"({"id":null,"decision":"allow","layer":"l4","kind":"AuthorizationPolicy","policy":"shop/callers","rule":0)"));
  CHECK(answer.body.find(R"("decision":"deny")") != std::string::npos);
  CHECK(answer.body.ends_with("{\"id\":null,\"error\":\"not valid JSON\"}\n"));
}

TEST_CASE("only POST asks, and nothing asked is nothing answered") {
  for (const auto* method : {"GET", "PUT", "HEAD"}) {
    const auto answer = ask(facts_of(), {.method = method, .path = "/explain", .body = question("shop")});
    CHECK(answer.status == 405);
    CHECK(answer.body.starts_with("usage: POST /explain"));
  }
  CHECK(ask(facts_of(), post("")).status == 200);
  CHECK(ask(facts_of(), post("\n\n")).body.empty());
}

TEST_CASE("other work of the thread gets its turn between the steps of one long answer") {
  ManualLoop loop;
  Scope scope(loop);
  StopSource stop;
  int turns = 0;
  std::optional<admin::Response> answer;
  scope.spawn(count_turns(loop, turns, stop.token()));
  scope.spawn(keep(answer_explain(loop, facts_of(1000), post(question("other")), {}), answer, stop));
  loop.run(scope.join());
  REQUIRE(answer);
  CHECK(lines(answer->body) == 1);
  CHECK(turns >= 1000 / kExplainStepsPerTurn);
}

TEST_CASE("who asks for more than one request may cost gets the first answers, and the rest when asking again") {
  const auto facts = facts_of(1000);
  std::string rest;
  for (int i = 0; i < 20; ++i) rest += question("other");
  long asked = 0, answered = 0;
  while (!rest.empty()) {
    const auto answer = ask(facts, post(rest));
    const auto got = lines(answer.body);
    REQUIRE(got >= 1);
    for (long i = 0; i < got; ++i) rest.erase(0, rest.find('\n') + 1);
    answered += got;
    ++asked;
  }
  CHECK(answered == 20);
  CHECK(asked >= 20 * 1000 / (kExplainStepsMax + 1000));
  CHECK(asked < 20);
}

TEST_CASE("answers that name very many policies end the request early") {
  auto facts = facts_of();
  model::MeshObjects objects;
  objects.workloads = {model::pod("shop", "web-0", "10.0.0.1")};
  for (int i = 0; i < 2000; ++i)
    objects.policies.push_back({.name = std::string(200, 'p') + std::to_string(i), .namespace_name = "shop"});
  facts.snapshot = model::mesh(std::move(objects));
  std::string body;
  for (int i = 0; i < 100; ++i) body += question("other", R"({"pod": "shop/web-0", "port": 80})");
  const auto answer = ask(facts, post(body));
  CHECK(lines(answer.body) >= 1);
  CHECK(lines(answer.body) < 5);
  CHECK(answer.body.ends_with("}\n"));
}

TEST_CASE("an ending server answers what it has") {
  ManualLoop loop;
  StopSource stop;
  stop.request_stop();
  const auto answer = loop.run(answer_explain(loop, facts_of(), post(question("shop")), stop.token()));
  CHECK(answer.status == 200);
  CHECK(answer.body.empty());
}
