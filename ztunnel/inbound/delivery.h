// The last steps of an incoming connection, tunnelled or plain: judged by policy, connected to the application.
#pragma once

#include <optional>
#include <string>

#include "ztunnel/pod_proxy.h"

namespace weft::ztunnel {

inline constexpr const char* kClosedByPolicyChange = "connection closed due to policy change";

// A connection under policy while this lives: registered, then judged, so that a policy change in between finds it.
class Judged {
 public:
  Judged(PodProxy& pod, SocketAddress source, SocketAddress destination, std::optional<model::Identity> peer,
         std::string destination_service);

  // Asks the policies of `local`; the text of a refusal, or none.
  std::optional<std::string> refusal(const model::Workload& local) const;
  // Fires when the connection must end: by the pod, or by a policy change.
  StopToken stop_token() const { return connection_.stop.token(); }
  // Ends it for another reason.
  void cut() { connection_.stop.request_stop(); }
  bool cut_by_policy() const { return connection_.denied_by_policy_change; }

 private:
  PodProxy& pod_;
  InboundConnection connection_;
  StopCallback on_pod_stop_;
};

// Connects to the application inside the pod, from the caller's address where that is kept.
Task<Result<io::StreamPtr>> connect_application(PodProxy& pod, SocketAddress caller, SocketAddress application,
                                                StopToken stop);

// The end of a connection whose policy may have changed meanwhile.
void finish(AccessRecord& record, const io::PumpResult& copied, const Judged& judged);

}  // namespace weft::ztunnel
