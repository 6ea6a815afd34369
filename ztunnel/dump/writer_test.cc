#include "ztunnel/dump/writer.h"

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/model/snapshot_editor.h"
#include "ztunnel/dump/config_dump.h"

using namespace weft;
using namespace weft::ztunnel;
using dump::Json;
using dump::Writer;

namespace {

constexpr int kObjects = 10'000;

// A mesh as large as they come: as many workloads, and a service with all of them behind it.
model::MeshObjects large_mesh() {
  model::MeshObjects objects;
  model::Service service;
  service.name = "all";
  service.namespace_name = "shop";
  service.hostname = "all.shop.svc.cluster.local";
  for (int i = 0; i < kObjects; ++i) {
    model::Workload workload;
    workload.uid = "c1//Pod/shop/web-" + std::to_string(i);
    workload.name = "web-" + std::to_string(i);
    workload.namespace_name = workload.service_account = "shop";
    workload.trust_domain = "cluster.local";
    workload.services = {{"shop/all.shop.svc.cluster.local", {{80, 8080}}}};
    service.endpoints[workload.uid] = {.workload_uid = workload.uid, .ports = {{80, 8080}}};
    objects.workloads.push_back(std::move(workload));
  }
  objects.services.push_back(std::move(service));
  return objects;
}

Task<void> make(Loop& loop, const Settings& settings, dump::Contents contents, std::string& text) {
  auto made = co_await dump::config_dump(loop, settings, std::move(contents));
  text = std::move(made);
}

// Does a little again and again until there is nothing to wait for.
void count_turns(Loop& loop, const std::string& text, std::size_t& turns) {
  if (!text.empty()) return;
  ++turns;
  loop.post([&loop, &text, &turns] { count_turns(loop, text, turns); });
}

}  // namespace

TEST_CASE("pieces give the text of the whole document") {
  const Json nested = Json::parse(R"({"a": [], "b": {}, "c": [1, {"d": "two\nlines"}], "e": null})");
  Json whole = {{"list", Json::array({nested, 1, "x"})},
                {"empty", Json::array()},
                {"none", Json::object()},
                {"key \"quoted\"", {{"inner", nested}}},
                {"last", nested}};
  ManualLoop loop;
  Writer out(loop);
  out.begin('{');
  out.begin("list", '[');
  for (const auto& element : whole["list"]) out.element(element);
  out.end();
  out.begin("empty", '[');
  out.end();
  out.begin("none", '{');
  out.end();
  out.begin("key \"quoted\"", '{');
  out.member("inner", nested);
  out.end();
  out.member("last", nested);
  out.end();
  CHECK(out.take() == dump::to_text(whole));
}

TEST_CASE("a dump of ten thousand workloads lets other work of its thread go on, and is one document all the same") {
  ManualLoop loop;
  auto objects = std::make_shared<const model::MeshObjects>(large_mesh());
  model::SnapshotEditor editor;
  editor.replace("test", model::MeshObjects(*objects));
  const dump::Contents contents{editor.commit(), objects, {}, {}, {}};
  const Settings settings{};
  std::string text;
  std::size_t turns = 0;
  Scope scope(loop);
  scope.spawn(make(loop, settings, contents, text));
  CHECK(text.empty());  // the first slice is not all of it
  count_turns(loop, text, turns);
  loop.run_until_idle();
  loop.run(scope.join());
  REQUIRE(text.size() > 4'000'000);
  // A slice ends with the object that fills it.
  constexpr std::size_t kSliceMax = Writer::kSliceBytes + 2048;
  CHECK(turns >= text.size() / kSliceMax);
  const Json json = Json::parse(text);
  CHECK(json["workloads"].size() == kObjects);
  CHECK(json["services"][0]["endpoints"].size() == kObjects);
  CHECK(json["staticConfig"]["workloads"].size() == kObjects);
  CHECK(text == dump::to_text(json) + "\n");
}
