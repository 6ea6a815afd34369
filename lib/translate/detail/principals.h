// Trust domains in the principals that policies name.
#pragma once

#include <string>
#include <vector>

#include "lib/translate/options.h"

namespace weft::translate::detail {

// Whether identities written with this trust domain are this mesh's own: its name, one of its aliases, or "cluster.local",
// which stands for it whatever it is called.
bool is_own_trust_domain(const Options& options, const std::string& trust_domain);

// A principal of our own trust domain holds under its name and under all its aliases; any other stays as it is, as does one
// that is no full "domain/ns/x/sa/y" or leaves the domain open ("*/ns/x/sa/y"). At least one.
// Source: istiod's trust domain migration for sidecars and waypoints. Its conversion for node proxies leaves it out, so that
// a policy there means less at L4 than at L7; the two mean the same here. Without a trust domain or aliases of its own a
// mesh sees no difference.
std::vector<std::string> principals_meant(const Options& options, const std::string& principal);

}  // namespace weft::translate::detail
