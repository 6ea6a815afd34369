#include "cni-plugin/agent/kubelet.h"

#include <catch2/catch_test_macros.hpp>

#include "tests/support/temporary_folder.h"

using namespace weft::cni::agent;

namespace {

struct Proc {
  void process(int pid, const std::string& name, const std::string& arguments, const std::string& uid) {
    const auto at = std::to_string(pid);
    folder.file(at + "/comm", name + "\n");
    folder.file(at + "/cmdline", arguments);
    folder.file(at + "/status", "Name:\t" + name + "\nUid:\t" + uid + "\t7\t7\t7\nGid:\t8\t8\t8\t8\n");
  }
  const weft::testing::TemporaryFolder folder;
  const std::string& root = folder.path();
};

}  // namespace

TEST_CASE("the kubelet is the first process of its name, and its real user counts") {
  Proc proc;
  CHECK_FALSE(find_kubelet_uid(proc.root));
  CHECK_FALSE(find_kubelet_uid(proc.root + "/none"));
  proc.process(1, "systemd", "/sbin/init kubelet", "1");
  proc.process(20, "kubelet", "something-else", "2");
  CHECK_FALSE(find_kubelet_uid(proc.root));
  proc.process(1000, "kubelite", "/snap/bin/kubelite --kubelet-args-file", "4");
  CHECK(find_kubelet_uid(proc.root) == 4);
  proc.process(300, "kubelet", "/usr/bin/kubelet --config", "998");
  CHECK(find_kubelet_uid(proc.root) == 998);
  proc.process(200, "k3s", "", "5");
  CHECK(find_kubelet_uid(proc.root) == 5);
  proc.process(100, "kubelet", "kubelet", "x");
  CHECK(find_kubelet_uid(proc.root) == 5);
}
