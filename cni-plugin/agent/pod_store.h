// The pods this agent is concerned with: for each what is wanted, what is the case, and what to do next. No I/O.
//
//   wanted in:   find its namespace -> redirect it -> announce it to the node proxy -> exempt its health probes
//                (where the pod runs already, outside: prepare it for a proxy -> announce it -> redirect it)
//   wanted out:  find its namespace -> redirect nothing any more -> tell the proxies -> take the rules away -> as gone
//   gone:        tell the proxies -> end the exemption -> forget it
//
// A pod is known while it is wanted in, and afterwards until everything about it is undone; the rest is not stored. What a
// proxy that connects is told follows from the same records (snapshot()), so that it is never less than the truth: a pod
// whose namespace is not at hand, or whose rules are being looked at, is kept.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cni-plugin/agent/mark_users.h"
#include "cni-plugin/agent/netns.h"
#include "cni-plugin/agent/pod_info.h"
#include "lib/async/event.h"
#include "lib/zds/server.h"

namespace weft::cni::agent {

enum class Wish { kIn, kOut, kGone };
// kPrepared: everything but the redirection.
enum class Rules { kAbsent, kUnknown, kPrepared, kPresent };

// The answer to somebody who waits for a pod to be in the mesh.
struct Verdict {
  explicit Verdict(Loop& loop) : done(loop) {}
  Event done;
  Result<void> outcome;
};

struct PodRecord {
  PodRecord(Loop& loop, PodInfo info) : info(std::move(info)), changed(loop), revoked(loop) {}

  PodInfo info;
  Wish wish = Wish::kIn;
  MonotonicTime since{};  // of the last change from outside

  NetnsPtr netns;
  bool found = false;  // by its address; the runtime never named it
  NetnsPtr foreign;    // found once, and another pod's that is outside the mesh: our rules are still in it
  Rules rules = Rules::kAbsent;
  bool redirected = false;        // it was, or may have been, since it entered
  bool enrolled_before = false;   // by an agent before this one, so that its health probes are exempt already
  std::vector<IpAddress> probed;  // addresses whose health probes are exempt
  bool lost = false;              // its namespace went away and the proxies are yet to be told
  bool told = false;              // a proxy may serve it
  bool let_go = false;            // the runtime took its network away; others may still list it
  zds::LinkId acked_by = 0;       // the proxy that said it does
  zds::LinkId replaying_to = 0;   // in the snapshot of this one, not yet answered

  // A namespace that the CNI plugin brought, to be taken up at the next step.
  struct Offer {
    NetnsPtr netns;
    std::shared_ptr<Verdict> verdict;
  };
  std::optional<Offer> offer;
  bool displaced = false;            // its namespace is another pod's; to be given up at the next step
  std::shared_ptr<Verdict> waiting;  // of the offer taken up

  std::vector<MarkUser> mark_users;  // as last seen
  std::string mark_error;            // why the last look for them failed; empty when it did not

  std::string error;      // why the last step failed; empty when it did not
  unsigned failures = 0;  // in a row
  Event changed;
  Event revoked;  // the proxies were told

  // Applications run that should be behind the proxy and are not.
  bool unenforced() const { return wish == Wish::kIn && info.running && rules != Rules::kPresent; }
  bool served_by(zds::LinkId link) const { return link != 0 && acked_by == link; }
  bool enrolled_with(zds::LinkId link) const { return served_by(link) && rules == Rules::kPresent; }
};
using PodRecordPtr = std::shared_ptr<PodRecord>;

enum class Step {
  kNone,      // nothing to do until something changes
  kFind,      // find the namespace
  kRedirect,  // see to the rules
  kPrepare,   // see to the rules without those that redirect; a pod that enters with rules is taken for redirected instead
  kRelease,   // take the rules away
  kVacate,    // take them away from a namespace that was not the pod's
  kAnnounce,  // ask the newest proxy to serve it
  kExempt,    // exempt the health probes of its addresses
  kUnexempt,  // end that
  kRevoke,    // tell the proxies that it is gone
  kForget,    // drop the record
};
std::string_view to_string(Step step);

// Pure. `newest` is the proxy to announce to, 0 for none.
Step next_step(const PodRecord& pod, zds::LinkId newest);

// What follows from a namespace the plugin brought: takes the offer up, if there is one. True when it is another namespace.
bool take_offer(PodRecord& pod);
// The pod's namespace is gone.
void lose_namespace(PodRecord& pod);

class PodStore {
 public:
  const std::map<std::string, PodRecordPtr>& pods() const { return pods_; }
  PodRecordPtr find(const std::string& uid) const;
  void insert(PodRecordPtr pod) { pods_[pod->info.uid] = std::move(pod); }
  void erase(const std::string& uid) { pods_.erase(uid); }

  // What the proxy that connected as `link` is told; marks the records accordingly.
  std::vector<zds::SnapshotPod> snapshot(zds::LinkId link);

 private:
  std::map<std::string, PodRecordPtr> pods_;  // by UID
};

zds::Pod handover_of(const PodInfo& info);
zds::NetnsPtr handover_of(const NetnsPtr& netns);

}  // namespace weft::cni::agent
