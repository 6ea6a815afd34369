#include "cni-plugin/agent/pod_store.h"

#include <fcntl.h>

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"

using namespace weft;
using namespace weft::cni::agent;

namespace {

NetnsPtr netns(ino_t inode) {
  return std::make_shared<const Netns>(Netns{Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), {4, inode}, "/n"});
}

PodInfo info(const std::string& uid = "u") {
  PodInfo result{uid, "front", "shop", "front"};
  result.ips = {IpAddress::parse("10.0.0.1").value()};
  return result;
}

struct State {
  Wish wish;
  bool netns;
  Rules rules;
  bool told;
  zds::LinkId acked_by;
  zds::LinkId newest;
  bool probed;
  Step next;
};

}  // namespace

TEST_CASE("the next step follows from what is wanted and what is the case") {
  const std::vector<State> table{
      {Wish::kIn, false, Rules::kAbsent, false, 0, 0, false, Step::kFind},
      {Wish::kIn, true, Rules::kUnknown, false, 0, 0, false, Step::kRedirect},
      {Wish::kIn, true, Rules::kAbsent, true, 1, 1, false, Step::kRedirect},
      {Wish::kIn, true, Rules::kUnknown, false, 0, 1, false, Step::kPrepare},
      {Wish::kIn, true, Rules::kPrepared, false, 0, 1, false, Step::kAnnounce},
      {Wish::kIn, true, Rules::kUnknown, true, 1, 1, false, Step::kRedirect},
      {Wish::kIn, true, Rules::kPresent, false, 0, 0, false, Step::kNone},
      {Wish::kIn, true, Rules::kPresent, false, 0, 1, false, Step::kAnnounce},
      {Wish::kIn, true, Rules::kPresent, true, 1, 1, false, Step::kExempt},
      {Wish::kIn, true, Rules::kPresent, true, 1, 1, true, Step::kNone},
      {Wish::kIn, true, Rules::kPresent, true, 1, 2, false, Step::kAnnounce},
      {Wish::kOut, true, Rules::kPresent, true, 1, 1, false, Step::kPrepare},
      {Wish::kOut, true, Rules::kPrepared, true, 1, 1, false, Step::kRevoke},
      {Wish::kOut, true, Rules::kPrepared, false, 0, 1, false, Step::kRelease},
      {Wish::kIn, true, Rules::kPrepared, true, 1, 1, false, Step::kRedirect},
      {Wish::kOut, true, Rules::kPresent, false, 0, 1, false, Step::kRelease},
      {Wish::kOut, false, Rules::kUnknown, false, 0, 1, false, Step::kFind},
      {Wish::kOut, true, Rules::kUnknown, false, 0, 1, false, Step::kRelease},
      {Wish::kOut, true, Rules::kAbsent, true, 1, 1, false, Step::kRevoke},
      {Wish::kOut, true, Rules::kAbsent, false, 0, 1, false, Step::kForget},
      {Wish::kGone, true, Rules::kPresent, true, 1, 1, false, Step::kRevoke},
      {Wish::kGone, true, Rules::kPresent, false, 0, 0, false, Step::kForget},
      {Wish::kOut, true, Rules::kPresent, true, 1, 1, true, Step::kPrepare},
      {Wish::kOut, true, Rules::kAbsent, true, 1, 1, true, Step::kRevoke},
      {Wish::kOut, true, Rules::kAbsent, false, 0, 1, true, Step::kUnexempt},
      {Wish::kGone, true, Rules::kPresent, true, 1, 1, true, Step::kRevoke},
      {Wish::kGone, true, Rules::kPresent, false, 0, 1, true, Step::kUnexempt},
  };
  ManualLoop loop;
  for (std::size_t row = 0; row < table.size(); ++row) {
    INFO("row " << row);
    const auto& state = table[row];
    PodRecord pod(loop, info());
    pod.wish = state.wish;
    if (state.netns) pod.netns = netns(1);
    pod.rules = state.rules;
    pod.told = state.told;
    pod.acked_by = state.acked_by;
    if (state.probed) pod.probed = pod.info.ips;
    CHECK(next_step(pod, state.newest) == state.next);
  }
}

TEST_CASE(
    "a running pod is redirected to a proxy that serves it, a starting one first, and one that no proxy takes all the "
    "same") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.netns = netns(1);
  CHECK(next_step(pod, 1) == Step::kPrepare);
  pod.rules = Rules::kPrepared;
  CHECK(next_step(pod, 1) == Step::kAnnounce);
  SECTION("it was redirected already") { pod.redirected = true; }
  SECTION("an earlier agent had enrolled it") { pod.enrolled_before = true; }
  SECTION("a proxy serves it") { pod.acked_by = 1; }
  SECTION("the plugin waits") { pod.waiting = std::make_shared<Verdict>(loop); }
  SECTION("the proxy refused") { pod.failures = 1; }
  SECTION("a snapshot to the proxy is under way") { pod.replaying_to = 1; }
  CHECK(next_step(pod, 1) == Step::kRedirect);
}

TEST_CASE("a pod without an address waits for one") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.info.ips.clear();
  CHECK(next_step(pod, 1) == Step::kNone);
}

TEST_CASE("probes of a pod that was enrolled stay exempt without a proxy, for its newest known addresses") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.netns = netns(1);
  pod.rules = Rules::kPresent;
  CHECK(next_step(pod, 0) == Step::kNone);
  SECTION("by an earlier agent") { pod.enrolled_before = true; }
  SECTION("by this one") { pod.probed = {IpAddress::parse("10.0.0.2").value()}; }
  CHECK(next_step(pod, 0) == Step::kExempt);
  pod.probed = pod.info.ips;
  CHECK(next_step(pod, 0) == Step::kNone);
  pod.info.ips.clear();
  CHECK(next_step(pod, 0) == Step::kNone);
  pod.wish = Wish::kGone;
  CHECK(next_step(pod, 0) == Step::kUnexempt);
}

TEST_CASE("a pod in a snapshot under way is not announced beside it") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.netns = netns(1);
  pod.rules = Rules::kPresent;
  pod.replaying_to = 7;
  CHECK(next_step(pod, 7) == Step::kNone);
  CHECK(next_step(pod, 8) == Step::kAnnounce);
}

TEST_CASE("a new sandbox starts from nothing, the same one changes nothing") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.netns = netns(1);
  pod.rules = Rules::kPresent;
  pod.acked_by = 3;
  pod.probed = pod.info.ips;
  auto first = std::make_shared<Verdict>(loop);
  pod.offer = PodRecord::Offer{netns(1), first};
  take_offer(pod);
  CHECK(pod.acked_by == 3);
  CHECK(next_step(pod, 3) == Step::kNone);
  CHECK(pod.waiting == first);

  pod.offer = PodRecord::Offer{netns(2), std::make_shared<Verdict>(loop)};
  take_offer(pod);
  CHECK(pod.netns->id.inode == 2);
  CHECK(next_step(pod, 3) == Step::kRedirect);
  CHECK(first->done.is_set());
  CHECK_FALSE(first->outcome);
}

TEST_CASE("proxies are told of a namespace that went away, once") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.netns = netns(1);
  pod.rules = Rules::kPresent;
  pod.told = true;
  pod.acked_by = 1;
  lose_namespace(pod);
  CHECK(next_step(pod, 1) == Step::kRevoke);
  pod.told = pod.lost = false;
  CHECK(next_step(pod, 1) == Step::kFind);
}

TEST_CASE(
    "rules left in another pod's namespace go once the proxies know, and stay where the runtime says it is the pod's") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  pod.netns = pod.foreign = netns(1);
  pod.found = pod.told = true;
  pod.rules = Rules::kPresent;
  lose_namespace(pod);
  SECTION("the pod stays in the mesh") {}
  SECTION("it leaves") { pod.wish = Wish::kOut; }
  SECTION("it is gone") { pod.wish = Wish::kGone; }
  CHECK(next_step(pod, 1) == Step::kRevoke);
  pod.told = pod.lost = false;
  CHECK(next_step(pod, 1) == Step::kVacate);
  pod.offer = PodRecord::Offer{netns(2), std::make_shared<Verdict>(loop)};
  CHECK(take_offer(pod));
  CHECK(pod.foreign);
  pod.offer = PodRecord::Offer{netns(1), std::make_shared<Verdict>(loop)};
  CHECK(take_offer(pod));
  CHECK_FALSE(pod.foreign);
  CHECK_FALSE(pod.found);
}

TEST_CASE("a snapshot is never less than the truth") {
  ManualLoop loop;
  PodStore store;
  const auto put = [&](const std::string& uid, Wish wish, bool found, Rules rules) {
    auto pod = std::make_shared<PodRecord>(loop, info(uid));
    pod->wish = wish;
    if (found) pod->netns = netns(1);
    pod->rules = rules;
    store.insert(pod);
    return pod;
  };
  put("enrolled", Wish::kIn, true, Rules::kPresent);
  put("not-found-yet", Wish::kIn, false, Rules::kUnknown);
  put("being-repaired", Wish::kIn, true, Rules::kAbsent);
  put("leaving-with-rules", Wish::kOut, true, Rules::kPresent);
  put("leaving-not-found", Wish::kOut, false, Rules::kUnknown);
  put("left", Wish::kOut, true, Rules::kAbsent);
  put("gone", Wish::kGone, true, Rules::kPresent);
  put("lost", Wish::kIn, false, Rules::kAbsent)->lost = true;
  std::map<std::string, bool> sent;  // with a namespace
  for (const auto& item : store.snapshot(5)) sent[item.pod.uid] = item.netns != nullptr;
  CHECK(sent == std::map<std::string, bool>{{"being-repaired", false},
                                            {"enrolled", true},
                                            {"leaving-not-found", false},
                                            {"leaving-with-rules", true},
                                            {"not-found-yet", false}});
  CHECK(store.find("enrolled")->replaying_to == 5);
  CHECK(store.find("not-found-yet")->replaying_to == 0);
  CHECK(store.find("not-found-yet")->told);
}

TEST_CASE("who runs outside the proxy though wanted inside is counted") {
  ManualLoop loop;
  PodRecord pod(loop, info());
  CHECK_FALSE(pod.unenforced());
  pod.info.running = true;
  CHECK(pod.unenforced());
  pod.rules = Rules::kPresent;
  CHECK_FALSE(pod.unenforced());
  pod.rules = Rules::kUnknown;
  pod.wish = Wish::kOut;
  CHECK_FALSE(pod.unenforced());
}
