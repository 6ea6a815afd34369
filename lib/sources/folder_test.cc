#include "lib/sources/folder.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cerrno>

#include "lib/async/manual_loop.h"
#include "tests/support/captured_log.h"
#include "tests/support/sim/files.h"

using namespace weft;
using namespace weft::sources;
using namespace std::chrono_literals;

namespace {

std::string pod(const std::string& name, const std::string& ip, const std::string& more = "") {
  return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: " + name + "\n  namespace: shop\nspec:\n  nodeName: node-a\n" +
         more + "status:\n  phase: Running\n  podIP: " + ip + "\n  podIPs: [{ip: " + ip + "}]\n---\n";
}

std::string service(const std::string& name, const std::string& ip) {
  return "apiVersion: v1\nkind: Service\nmetadata: {name: " + name + ", namespace: shop}\nspec: {clusterIP: " + ip +
         ", selector: {app: x}, ports: [{port: 80}]}\n---\n";
}

struct Rig {
  ManualLoop loop;
  std::shared_ptr<sim::FileTree> tree = std::make_shared<sim::FileTree>();
  sim::MemoryFiles files{loop, tree};
  FolderSettings settings{.directory = "/state"};
  std::vector<FolderStatePtr> updates;
  std::unique_ptr<FolderSource> source;

  Result<void> start() {
    source =
        std::make_unique<FolderSource>(files, settings, [this](const FolderStatePtr& state) { updates.push_back(state); });
    return source->start();
  }
  void put(const std::string& name, const std::string& text) { tree->put("/state/" + name, text); }
  void settle() { loop.advance(100ms); }
  // The pods' names, as the mesh sees them.
  std::vector<std::string> pods() const {
    std::vector<std::string> names;
    for (const auto& workload : source->state()->output.workloads) names.push_back(workload.name);
    std::sort(names.begin(), names.end());
    return names;
  }
};

using Names = std::vector<std::string>;

// Files that fail with `error` while it is set, such as those of a process that has no descriptor left.
class ScarceFiles final : public io::Files {
 public:
  explicit ScarceFiles(io::Files& files) : files_(files) {}
  int error = 0;
  bool listable = true;
  std::string hidden;  // a folder with a manifest's name that cannot be looked at now
  Result<std::string> read(const std::string& path, std::size_t size_max) override {
    if (error) return fail_errno(error, "open " + path);
    if (path == hidden) return fail_errno(EACCES, "open " + path);
    return files_.read(path, size_max);
  }
  Result<std::vector<std::string>> list(const std::string& directory) override {
    if (error && !listable) return fail_errno(error, "list " + directory);
    WEFT_TRY(auto paths, files_.list(directory));
    if (hidden.empty()) return paths;
    std::erase_if(paths, [this](const auto& path) { return path.starts_with(hidden + "/"); });
    paths.push_back(hidden);
    return paths;
  }
  Result<void> write(const std::string& path, std::string_view content, unsigned mode) override {
    return files_.write(path, content, mode);
  }
  Result<void> make_directory(const std::string& path, unsigned mode) override { return files_.make_directory(path, mode); }
  Result<void> remove(const std::string& path) override { return files_.remove(path); }
  Result<std::unique_ptr<Watch>> watch(const std::string& directory, Duration settle,
                                       std::function<void()> on_change) override {
    return files_.watch(directory, settle, std::move(on_change));
  }

 private:
  io::Files& files_;
};

}  // namespace

TEST_CASE("every manifest below the folder counts and nothing else does") {
  Rig rig;
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  rig.put("deep/er/b.yml", pod("b", "10.0.0.2"));
  rig.put("c.json", R"({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "c", "namespace": "shop"},
      "spec": {"nodeName": "node-a"}, "status": {"phase": "Running", "podIP": "10.0.0.3"}})");
  rig.put("notes.txt", pod("x", "10.0.0.9"));
  rig.put(".hidden.yaml", pod("y", "10.0.0.9"));
  REQUIRE(rig.start());
  CHECK(rig.updates.size() == 1);
  CHECK(rig.pods() == Names{"a", "b", "c"});
  CHECK(rig.source->counters().files == 3);
  CHECK(rig.source->state()->problems.empty());
}

TEST_CASE("an empty folder is a state too") {
  Rig rig;
  REQUIRE(rig.start());
  REQUIRE(rig.updates.size() == 1);
  CHECK(rig.updates.front()->objects.empty());
  CHECK(rig.source->refresh());
  CHECK(rig.updates.size() == 1);
}

TEST_CASE("a broken file keeps its last good objects and stops no other file") {
  Rig rig;
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  rig.put("b.yaml", pod("b", "10.0.0.2"));
  REQUIRE(rig.start());
  rig.put("a.yaml", pod("a2", "10.0.0.3") + "kind: [broken");
  rig.put("b.yaml", pod("b2", "10.0.0.4"));
  rig.put("c.yaml", "}{");
  rig.settle();
  CHECK(rig.updates.size() == 2);
  CHECK(rig.pods() == Names{"a", "b2"});
  const auto& problems = rig.source->state()->problems;
  REQUIRE(problems.size() == 2);
  CHECK(problems[0].file == "/state/a.yaml");
  CHECK(problems[0].kept_last_good);
  CHECK(problems[0].problem.line > 0);
  CHECK(problems[1].file == "/state/c.yaml");
  CHECK(rig.source->counters().unreadable == 2);
  CHECK(rig.source->counters().errors == 2);

  // Nothing changed: nothing is said again.
  CHECK(rig.source->refresh());
  CHECK(rig.source->counters().errors == 2);
  CHECK(rig.updates.size() == 2);

  rig.put("a.yaml", pod("a3", "10.0.0.5"));
  rig.tree->erase("/state/c.yaml");
  rig.settle();
  CHECK(rig.pods() == Names{"a3", "b2"});
  CHECK(rig.source->state()->problems.empty());
  CHECK(rig.source->counters().unreadable == 0);
}

TEST_CASE("a state is complete when everything could be read once, and stays so") {
  Rig rig;
  rig.put("a.yaml", pod("a", "10.0.0.1") + "kind: [broken");
  rig.put("b.yaml", pod("b", "10.0.0.2"));
  rig.put(
      "mesh.yaml",
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'trustDomain: ['}\n");
  REQUIRE(rig.start());
  CHECK(rig.pods() == Names{"b"});
  CHECK_FALSE(rig.source->complete());
  REQUIRE(rig.source->unknown().size() == 2);
  CHECK(rig.source->unknown()[0] == "/state/a.yaml");
  CHECK(rig.source->unknown()[1].starts_with("mesh configuration: "));

  // What was read once and breaks is known all the same.
  rig.put("b.yaml", "}{");
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  rig.settle();
  CHECK_FALSE(rig.source->complete());
  CHECK(rig.source->unknown().size() == 1);
  rig.tree->erase("/state/mesh.yaml");
  rig.settle();
  CHECK(rig.source->complete());
  CHECK(rig.source->unknown().empty());

  // A new file that is broken adds nothing; it takes nothing away either.
  rig.put("c.yaml", "}{");
  rig.settle();
  CHECK(rig.source->complete());
  CHECK(rig.source->unknown() == Names{"/state/c.yaml"});
}

TEST_CASE("what cannot be read for want of descriptors stays as it was, and is read without another change once it can") {
  for (const bool listable : {true, false}) {
    INFO("the folder can be listed: " << listable);
    Rig rig;
    rig.put("a.yaml", pod("a", "10.0.0.1"));
    ScarceFiles scarce(rig.files);
    rig.source = std::make_unique<FolderSource>(scarce, rig.settings,
                                                [&rig](const FolderStatePtr& state) { rig.updates.push_back(state); });
    REQUIRE(rig.source->start());
    scarce.error = EMFILE;
    scarce.listable = listable;
    rig.put("a.yaml", pod("a", "10.0.0.1") + pod("late", "10.0.0.2"));
    rig.put("b.yaml", pod("b", "10.0.0.3"));
    rig.loop.advance(5s);
    CHECK(rig.pods() == Names{"a"});
    CHECK(rig.source->counters().errors >= 5);
    scarce.error = 0;
    rig.loop.advance(kReadAgain);
    CHECK(rig.pods() == Names{"a", "b", "late"});
    if (!listable) continue;
    const auto errors = rig.source->counters().errors;
    // What is wrong with the file itself is not tried again: only a change can mend it.
    scarce.error = EIO;
    rig.put("b.yaml", pod("b", "10.0.0.4"));
    rig.loop.advance(10s);
    CHECK(rig.source->counters().errors == errors + 2);
  }
}

TEST_CASE("a folder that cannot be listed, or is gone, keeps its state, is logged once and looked at until it is back") {
  for (const int error : {ENOENT, EACCES, EIO}) {
    Rig rig;
    const auto warnings_within = [&rig](Duration time) {
      testing::CapturedLog log;
      rig.loop.advance(time);
      const auto lines = log.take();
      return std::ranges::count_if(lines, [](const auto& line) { return line.contains("folder cannot be read"); });
    };
    rig.put("a.yaml", pod("a", "10.0.0.1"));
    ScarceFiles files(rig.files);
    rig.source = std::make_unique<FolderSource>(files, rig.settings, nullptr);
    REQUIRE(rig.source->start());
    files.error = error;
    files.listable = false;
    rig.put("b.yaml", pod("b", "10.0.0.2"));
    CHECK(warnings_within(5s) == 1);
    CHECK(rig.pods() == Names{"a"});
    CHECK(rig.source->counters().errors >= 5);
    files.error = 0;
    rig.loop.advance(kReadAgain);
    CHECK(rig.pods() == Names{"a", "b"});
    // The next time is told again.
    files.error = error;
    rig.put("c.yaml", pod("c", "10.0.0.3"));
    CHECK(warnings_within(5s) == 1);
  }
}

TEST_CASE("the manifests in a folder that looks like a file because it cannot be looked at are not gone") {
  Rig rig;
  rig.put("a.yaml/x.yaml", pod("x", "10.0.0.1"));
  rig.put("a.yaml.yaml", pod("y", "10.0.0.2"));
  ScarceFiles files(rig.files);
  rig.source = std::make_unique<FolderSource>(files, rig.settings, nullptr);
  REQUIRE(rig.source->start());
  files.hidden = "/state/a.yaml";
  rig.tree->erase("/state/a.yaml.yaml");
  rig.settle();
  CHECK(rig.pods() == Names{"x"});
  CHECK(rig.source->counters().unreadable == 1);
  files.hidden.clear();
  rig.tree->erase("/state/a.yaml/x.yaml");
  rig.settle();
  CHECK(rig.pods().empty());
  CHECK(rig.source->counters().files == 0);
}

TEST_CASE("a file that is blank and had objects keeps them until it is removed") {
  for (const char* blank : {"", "\n", " \t\r\n\n"}) {
    Rig rig;
    rig.put("a.yaml", pod("a", "10.0.0.1"));
    rig.put("b.yaml", blank);  // never had any: is simply empty
    REQUIRE(rig.start());
    CHECK(rig.source->complete());
    CHECK(rig.source->counters().unreadable == 0);
    const auto kept = [&rig](const char* pod) {
      CHECK(rig.pods() == Names{pod});
      CHECK(rig.source->counters().unreadable == 1);
      REQUIRE(rig.source->state()->problems.size() == 1);
      CHECK(rig.source->state()->problems[0].file == "/state/a.yaml");
      CHECK(rig.source->state()->problems[0].kept_last_good);
      CHECK(rig.source->state()->problems[0].problem.message == "the file is blank; remove it to remove its objects");
    };
    const auto put = [&rig](const std::string& text) {
      rig.put("a.yaml", text);
      rig.settle();
    };
    put(blank);
    kept("a");
    put(pod("a2", "10.0.0.2"));
    CHECK(rig.pods() == Names{"a2"});
    CHECK(rig.source->state()->problems.empty());
    put(blank);
    kept("a2");
    rig.tree->erase("/state/a.yaml");
    rig.settle();
    CHECK(rig.pods().empty());
    // A text without objects is a word, and then there is nothing to keep.
    put(pod("a3", "10.0.0.3"));
    put("# nothing any more\n");
    CHECK(rig.pods().empty());
    put(blank);
    CHECK(rig.source->counters().unreadable == 0);
  }
}

TEST_CASE("the folder must be quiet before it is read, but a writer that never pauses is not waited for") {
  Rig rig;
  REQUIRE(rig.start());
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  rig.loop.advance(40ms);
  rig.put("b.yaml", pod("b", "10.0.0.2"));
  rig.loop.advance(40ms);
  CHECK(rig.updates.size() == 1);
  rig.loop.advance(10ms);
  CHECK(rig.updates.size() == 2);
  CHECK(rig.pods() == Names{"a", "b"});
  for (Duration passed{}; passed < io::Files::kSettleMax; passed += 40ms) {
    CHECK(rig.updates.size() == 2);
    rig.put("notes", "more");
    rig.put("a.yaml", pod("c", "10.0.0.1"));
    rig.loop.advance(40ms);
  }
  CHECK(rig.updates.size() == 3);
  CHECK(rig.pods() == Names{"b", "c"});
}

TEST_CASE("a file that grew beyond the bound keeps what it said") {
  Rig rig;
  rig.settings.parse.limits.bytes = 1000;
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  REQUIRE(rig.start());
  rig.put("a.yaml", pod("b", "10.0.0.2") + std::string(1000, '#'));
  rig.settle();
  CHECK(rig.pods() == Names{"a"});
  REQUIRE(rig.source->state()->problems.size() == 1);
  CHECK(rig.source->state()->problems[0].problem.reason == "Unreadable");
  rig.put("a.yaml", pod("b", "10.0.0.2"));
  rig.settle();
  CHECK(rig.pods() == Names{"b"});
}

TEST_CASE("changes of several files that come together are one update") {
  Rig rig;
  rig.put("pods.yaml", pod("a", "10.0.0.1"));
  REQUIRE(rig.start());
  rig.put("pods.yaml", pod("b", "10.0.0.2"));
  rig.loop.advance(10ms);
  rig.put("services.yaml", service("s", "10.1.0.1"));
  rig.loop.advance(10ms);
  rig.put("more.yaml", pod("c", "10.0.0.3"));
  rig.settle();
  REQUIRE(rig.updates.size() == 2);
  CHECK(rig.pods() == Names{"b", "c"});
  CHECK(rig.updates.back()->mesh().services.size() == 1);
  // What was handed out before has not changed.
  CHECK(rig.updates.front()->output.workloads.size() == 1);
  CHECK(rig.updates.front()->output.services.empty());
}

TEST_CASE("a removed file takes its objects with it") {
  Rig rig;
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  rig.put("b.yaml", pod("b", "10.0.0.2"));
  REQUIRE(rig.start());
  rig.tree->erase("/state/a.yaml");
  rig.settle();
  CHECK(rig.pods() == Names{"b"});
  CHECK(rig.source->counters().files == 1);
}

TEST_CASE("pods stay in the mesh while their Namespace object is gone, until it says otherwise") {
  const auto name_space = [](const std::string& labels) {
    return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {" + labels + "}}\n";
  };
  Rig rig;
  rig.put("namespace.yaml", name_space("istio.io/dataplane-mode: ambient"));
  rig.put("pod.yaml", pod("a", "10.0.0.1"));
  REQUIRE(rig.start());
  const auto enrolled = [&] {
    return rig.source->state()->mesh().workloads.at(0).protocol == model::TunnelProtocol::kHbone;
  };
  CHECK(enrolled());
  rig.tree->erase("/state/namespace.yaml");
  rig.settle();
  REQUIRE(rig.updates.size() == 2);
  CHECK(enrolled());
  rig.put("pod.yaml", pod("b", "10.0.0.2"));
  rig.settle();
  CHECK(rig.pods() == Names{"b"});
  CHECK(enrolled());
  rig.put("namespace.yaml", name_space(""));
  rig.settle();
  CHECK_FALSE(enrolled());
}

TEST_CASE("of an object written twice the last file counts, and goes back when that file goes") {
  Rig rig;
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  rig.put("b.yaml", pod("a", "10.0.0.2"));
  REQUIRE(rig.start());
  const auto address = [&] { return rig.source->state()->output.workloads.at(0).addresses.at(0).to_string(); };
  REQUIRE(rig.pods() == Names{"a"});
  CHECK(address() == "10.0.0.2");
  rig.tree->erase("/state/b.yaml");
  rig.settle();
  CHECK(address() == "10.0.0.1");
}

TEST_CASE("unknown fields are named and their object is applied all the same") {
  Rig rig;
  rig.put("a.yaml",
          "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: shop}\n"
          "spec:\n  frobnicate: 1\n  rules: [{from: [{source: {namespaces: [shop]}}]}]\n---\n" +
              pod("a", "10.0.0.1", "  frobnicate: true\n"));
  rig.put("b.yaml", "just text\n---\n" + pod("b", "10.0.0.2"));
  REQUIRE(rig.start());
  CHECK(rig.pods() == Names{"a", "b"});
  bool named = false;
  for (const auto& status : rig.source->state()->output.statuses) {
    for (const auto& condition : status.conditions) {
      named |= status.object->kind == "AuthorizationPolicy" && condition.reason == "FieldIgnored" &&
               condition.message.find("frobnicate") != std::string::npos && condition.line == 5;
    }
  }
  CHECK(named);
  // A document that is no object is named by file and line, and is no reason to keep an older state.
  REQUIRE(rig.source->state()->problems.size() == 1);
  CHECK(rig.source->state()->problems[0].file == "/state/b.yaml");
  CHECK_FALSE(rig.source->state()->problems[0].kept_last_good);
  CHECK(rig.source->counters().not_objects == 1);
  CHECK(rig.source->counters().unreadable == 0);
}

TEST_CASE("a source that is gone hears of nothing") {
  Rig rig;
  rig.put("a.yaml", pod("a", "10.0.0.1"));
  REQUIRE(rig.start());
  rig.put("a.yaml", pod("b", "10.0.0.2"));
  rig.source.reset();
  rig.settle();
  CHECK(rig.updates.size() == 1);
  CHECK(rig.tree->watchers.empty());
}
