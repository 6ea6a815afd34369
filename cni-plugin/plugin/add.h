// ADD: lets a pod of the mesh start only when it is redirected and its proxy serves it. Blocking.
//
// Fails closed where istio-cni may let a pod through: a pod that cannot be looked up is always refused.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "cni-plugin/plugin/command.h"

namespace weft::cni::plugin {

// What to print on standard output. `config` is the text from standard input that `call` was read from.
std::expected<std::string, CniError> add(const Call& call, const Environment& environment, std::string_view config);

}  // namespace weft::cni::plugin
