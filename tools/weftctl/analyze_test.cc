#include "tools/weftctl/analyze.h"

#include <catch2/catch_test_macros.hpp>
#include <nlohmann/json.hpp>

#include "lib/async/manual_loop.h"
#include "tests/support/sim/files.h"

using namespace weft;
using namespace weft::ctl;

namespace {

struct Rig {
  ManualLoop loop;
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};

  Analysis run(const std::string& text, Format format = Format::kText, Colour colour = Colour::kNo) {
    tree->put("/m/a.yaml", text);
    AnalyzeOptions options;
    options.paths = {"/m"};
    options.default_namespace = "shop";
    options.format = format;
    options.colour = colour;
    return analyze(files, options);
  }
};

constexpr const char* kStrict =
    "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: strict}, spec: {mtls: {mode: STRICT}}}\n";
constexpr const char* kTwice =
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec:\n  mtls: {mode: STRICT, x: 1}\n"
    "  y: 2\n";

}  // namespace

TEST_CASE("an object that is fully applied is no finding") {
  Rig rig;
  const auto analysis = rig.run(kStrict);
  CHECK(analysis.exit_status == kClean);
  CHECK(analysis.text == "1 object in 1 file: 0 errors, 0 warnings, 0 remarks\n");
}

TEST_CASE("a remark is told and is no finding") {
  Rig rig;
  const auto analysis = rig.run("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}");
  CHECK(analysis.exit_status == kClean);
  CHECK(analysis.text.find("/m/a.yaml:1: info: Service shop/web: Info: ") == 0);
}

TEST_CASE("a finding is told with its line and sets the exit status") {
  Rig rig;
  const auto analysis = rig.run(kTwice);
  CHECK(analysis.exit_status == kFindings);
  CHECK(analysis.text.find("/m/a.yaml:5: warning: PeerAuthentication shop/a: FieldIgnored: spec.mtls.x: ") == 0);
  CHECK(analysis.text.find("/m/a.yaml:6: warning: PeerAuthentication shop/a: FieldIgnored: spec.y: ") != std::string::npos);
}

TEST_CASE("a file that cannot be parsed sets the exit status, and the others are told") {
  Rig rig;
  rig.tree->put("/m/b.yaml", "{broken");
  const auto analysis = rig.run(kTwice);
  CHECK(analysis.exit_status == kUnreadable);
  CHECK(analysis.text.find("spec.mtls.x") != std::string::npos);
  CHECK(analysis.text.find("/m/b.yaml:1: error: Unreadable: ") != std::string::npos);
}

TEST_CASE("programs read every object, one condition for each reason") {
  Rig rig;
  const auto parsed = nlohmann::json::parse(rig.run(std::string(kTwice) + "---\n" + kStrict, Format::kJson).text);
  REQUIRE(parsed.size() == 2);
  const auto& first = parsed[0];
  CHECK(first["file"] == "/m/a.yaml");
  CHECK(first["line"] == 1);
  CHECK(first["kind"] == "PeerAuthentication");
  CHECK(first["namespace"] == "shop");
  CHECK(first["name"] == "a");
  int ignored = 0;
  for (const auto& condition : first["conditions"]) {
    CHECK(condition.size() == 5);
    if (condition["reason"] != "FieldIgnored") continue;
    ++ignored;
    CHECK(condition["type"] == "FullyApplied");
    CHECK(condition["status"] == "False");
    CHECK(condition["level"] == "warning");
    const auto message = condition["message"].get<std::string>();
    CHECK(message.find("spec.mtls.x") != std::string::npos);
    CHECK(message.find("; spec.y") != std::string::npos);
  }
  CHECK(ignored == 1);
  CHECK(parsed[1]["line"] == 8);
}

TEST_CASE("a document that is no object is an entry without a name") {
  Rig rig;
  const auto analysis = rig.run("kubectl label namespace x\n---\n" + std::string(kStrict), Format::kJson);
  CHECK(analysis.exit_status == kFindings);
  const auto parsed = nlohmann::json::parse(analysis.text);
  REQUIRE(parsed.size() == 2);
  CHECK(parsed[0]["kind"] == "");
  CHECK(parsed[0]["conditions"][0]["reason"] == "NotAnObject");
  CHECK(parsed[0]["conditions"][0]["status"] == "False");
}

TEST_CASE("colour appears only where it was asked for, and a file's control characters never") {
  Rig rig;
  const std::string hostile =
      "{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {name: a}, spec: {\"\\e[2J\": 1}}";
  CHECK(rig.run(hostile).text.find('\x1b') == std::string::npos);
  const auto coloured = rig.run(hostile, Format::kText, Colour::kYes).text;
  CHECK(coloured.find("\x1b[33mwarning: \x1b[0m") != std::string::npos);
  CHECK(coloured.find("\x1b[2J") == std::string::npos);
}
