#include "lib/model/identity.h"

#include <array>

namespace weft::model {

Result<Identity> Identity::parse(std::string_view uri) {
  constexpr std::string_view kScheme = "spiffe://";
  auto invalid = [&] { return fail(ErrorCode::kInvalidArgument, "not a SPIFFE identity: " + std::string(uri)); };
  if (!uri.starts_with(kScheme)) return invalid();
  auto rest = uri.substr(kScheme.size());
  std::array<std::string_view, 5> parts;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto slash = rest.find('/');
    const bool last = i + 1 == parts.size();
    if ((slash == rest.npos) != last) return invalid();
    parts[i] = rest.substr(0, slash);
    if (!last) rest.remove_prefix(slash + 1);
  }
  if (parts[1] != "ns" || parts[3] != "sa") return invalid();
  return Identity{std::string(parts[0]), std::string(parts[2]), std::string(parts[4])};
}

std::string Identity::to_string() const { return "spiffe://" + principal(); }

std::string Identity::principal() const { return trust_domain + "/ns/" + namespace_name + "/sa/" + service_account; }

}  // namespace weft::model
