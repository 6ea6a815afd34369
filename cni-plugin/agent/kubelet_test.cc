#include "cni-plugin/agent/kubelet.h"

#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>

using namespace weft::cni::agent;

namespace {

struct Proc {
  Proc() { std::filesystem::create_directories(root); }
  ~Proc() { std::filesystem::remove_all(root); }
  void process(int pid, const std::string& name, const std::string& arguments, const std::string& uid) {
    const auto folder = root + "/" + std::to_string(pid);
    std::filesystem::create_directory(folder);
    std::ofstream(folder + "/comm") << name << "\n";
    std::ofstream(folder + "/cmdline") << arguments;
    std::ofstream(folder + "/status") << "Name:\t" << name << "\nUid:\t" << uid << "\t7\t7\t7\nGid:\t8\t8\t8\t8\n";
  }
  const std::string root = (std::filesystem::temp_directory_path() / ("weft-proc-" + std::to_string(::getpid()))).string();
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
