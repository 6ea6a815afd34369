// The result of the plugins before us in the chain, which is also ours: we add nothing to it. Pure.
//
// Source: CNI specification 0.2, 0.4, 1.0 and 1.1, "Result types". Up to 0.2 a result is one address per family; from 0.3 a
// list of addresses with the family beside each; from 1.0 without; 1.1 adds fields to interfaces and routes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/ip.h"
#include "lib/base/result.h"

namespace weft::cni::plugin {

struct ResultAddress {
  std::optional<int> interface;  // index into the result's interfaces
  Cidr address;                  // as given to the pod, host bits included
  std::optional<IpAddress> gateway;
};

struct CniResult {
  std::string text;  // to be printed: JSON of the configuration's version, with a line end
  bool has_previous = false;
  std::vector<ResultAddress> addresses;  // of the previous result
};

// `config` is the network configuration, already known to be a JSON object; `version` is its cniVersion. A result of the
// same version is handed on unchanged. One that cannot be read is an error.
Result<CniResult> read_previous_result(std::string_view config, std::string_view version);

}  // namespace weft::cni::plugin
