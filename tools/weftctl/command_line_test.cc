#include "tools/weftctl/command_line.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft;
using namespace weft::ctl;

namespace {

std::expected<Command, int> read(std::vector<std::string> words) {
  words.insert(words.begin(), "weftctl");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  return read_command_line(static_cast<int>(argv.size()), argv.data(), Colour::kNo);
}

}  // namespace

TEST_CASE("who is in the mesh is told as the agents have it, or the labels decide") {
  for (const std::string command : {"analyze", "explain"}) {
    INFO(command);
    const auto options = [&](std::vector<std::string> words) {
      words.insert(words.begin(), {command, command == "analyze" ? "/state" : "--manifests=/state"});
      auto read_one = read(words);
      REQUIRE(read_one);
      if (auto* analyze = std::get_if<AnalyzeOptions>(&*read_one)) return analyze->translate;
      return std::get<ExplainOptions>(*read_one).translate;
    };
    CHECK(options({}).enablement.size() == translate::default_enablement_selectors().size());
    CHECK(options({}).excluded_namespaces.empty());
    const auto told =
        options({"--enablement-selector", "[{podSelector: {matchLabels: {mesh: in}}}]", "--exclude-namespaces=a, b"});
    REQUIRE(told.enablement.size() == 1);
    CHECK(told.enablement[0].pod.matches({{"mesh", "in"}}));
    CHECK(told.excluded_namespaces == std::set<std::string>{"a", "b"});
    const auto wrong = read({command, "--enablement-selector", "[{pods: {}}]"});
    REQUIRE_FALSE(wrong);
    CHECK(wrong.error() == kExitUsage);
  }
}
