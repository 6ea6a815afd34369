// DEL: tells the node agent that the runtime takes a pod's network away, so that its proxy can say good-bye while the pod's
// link still exists. Blocking, at most kDelLimit.
//
// A courtesy that nothing depends on: the agent learns of a removed pod from the cluster's state too, and a removal that
// failed here would be tried again for ever. So it succeeds whatever happens, also with an agent of istio-cni, which knows
// no such request.
#pragma once

#include <string_view>

#include "cni-plugin/plugin/command.h"

namespace weft::cni::plugin {

// `config` is the text from standard input.
void del(const Environment& environment, std::string_view config);

}  // namespace weft::cni::plugin
