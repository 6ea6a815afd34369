// Is this pod ours? Decided from the objects of the cluster's state. Pure.
#pragma once

#include <string_view>
#include <vector>

#include "cni-plugin/plugin/command.h"
#include "lib/base/result.h"
#include "lib/manifest/object.h"
#include "lib/translate/enrolment.h"

namespace weft::cni::plugin {

// The pod that runs the node agent itself: it is never held up, because nothing could let it through.
bool is_node_agent(std::string_view pod_name, std::string_view pod_namespace, std::string_view agent_namespace);

// kNotFound when the pod is not among `objects`; one with another UID than the runtime says is an earlier pod of that name.
// Of an object written several times the last counts. kUndecided where the namespace would
// decide and is not described: the node agent knows more.
Result<translate::Enrolment> decide(const std::vector<manifest::ObjectPtr>& objects, const Arguments& asked,
                                    const std::vector<translate::EnablementSelector>& enablement);

}  // namespace weft::cni::plugin
