// Objects that name a great deal: the work grows with the text, not with its square. At these sizes a search of everything
// for each name takes minutes, beyond what the test runner waits.
#include <catch2/catch_test_macros.hpp>

#include "lib/translate/test_mesh.h"

using namespace weft;
using namespace weft::translate;
using namespace weft::translate::testing;

namespace {

// `make(i)` for each number below `count`, with commas between.
template <typename Make>
std::string list(int count, Make make) {
  std::string out;
  for (int i = 0; i < count; ++i) out += (i == 0 ? "" : ",") + make(std::to_string(i));
  return out;
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

std::string object(const std::string& version, const std::string& kind, const std::string& name, const std::string& spec) {
  return R"({"apiVersion":")" + version + R"(","kind":")" + kind + R"(","metadata":{"namespace":"shop","name":")" + name +
         R"("},"spec":{)" + spec + "}}";
}

Output translated(const std::vector<std::string>& objects) {
  std::string json = R"({"apiVersion":"v1","kind":"List","items":[)";
  for (const auto& object : objects) json += (json.back() == '[' ? "" : ",") + object;
  const auto parsed = manifest::parse(json + "]}", "mesh.json");
  REQUIRE(parsed.readable);
  return translate::translate(parsed.objects, {});
}

std::size_t findings(const Output& output, std::string_view object, std::string_view reason) {
  std::size_t count = 0;
  for (const auto& status : output.statuses) {
    if (status.object->meta.name != object) continue;
    for (const auto& condition : status.conditions) count += condition.reason == reason ? 1 : 0;
  }
  return count;
}

}  // namespace

TEST_CASE("a hundred thousand names are looked up among ten thousand services in bounded time") {
  std::vector<std::string> mesh;
  for (int i = 0; i < 10'000; ++i)
    mesh.push_back(object("v1", "Service", "s" + std::to_string(i), R"("ports":[{"port":80,"name":"tcp"}])"));
  mesh.push_back(object("networking.istio.io/v1", "ServiceEntry", "outside", R"("hosts":["known.example"])"));
  mesh.push_back(object("networking.istio.io/v1", "Sidecar", "limits",
                        R"("egress":[{"hosts":[)" + list(100'000, [](const std::string& i) {
                          return quoted("./gone" + i + ".example");
                        }) + R"(,"./known.example","./s9999","./s9999.shop.svc.cluster.local","./s10000"]}])"));
  mesh.push_back(
      object("networking.istio.io/v1", "VirtualService", "routes",
             R"("gateways":[)" + list(1'000, [](const std::string& i) { return quoted("gone" + i); }) + R"(,"door"])"));
  mesh.push_back(object("networking.istio.io/v1", "Gateway", "door", R"("selector":{"a":"b"})"));
  const auto output = translated(mesh);
  CHECK(findings(output, "limits", "ReferenceNotFound") == 100'001);
  CHECK(findings(output, "routes", "ReferenceNotFound") == 1'000);
}

TEST_CASE("the hosts of six hundred service entries find their memberships in bounded time") {
  std::vector<std::string> mesh;
  for (int i = 0; i < 600; ++i) {
    const auto entry = "e" + std::to_string(i);
    const auto hosts = list(200, [&](const std::string& j) { return quoted("h" + j + "." + entry + ".example"); });
    mesh.push_back(object("networking.istio.io/v1", "ServiceEntry", entry,
                          R"("resolution":"DNS","ports":[{"number":80,"name":"tcp"}],"hosts":[)" + hosts + "]"));
    // Comes later and loses every host.
    if (i % 10 == 0)
      mesh.push_back(object("networking.istio.io/v1", "ServiceEntry", "late-" + entry, R"("hosts":[)" + hosts + "]"));
  }
  const auto output = translated(mesh);
  CHECK(output.services.size() == 120'000);
  CHECK(output.workloads.size() == 120'000);
  CHECK(output.workloads.back().services.size() == 1);
  CHECK(findings(output, "late-e590", "Info") >= 200);
}

TEST_CASE("a hundred and fifty thousand hosts that stand for themselves are each looked up once") {
  const auto hosts = list(150'000, [](const std::string& i) { return quoted("h" + i + ".example"); });
  const auto entry = object("networking.istio.io/v1", "ServiceEntry", "outside",
                            R"("resolution":"DNS","ports":[{"number":80,"name":"tcp"}],"hosts":[)" + hosts + "]");
  const auto output = translated({entry});
  CHECK(output.workloads.size() == 150'000);
}
