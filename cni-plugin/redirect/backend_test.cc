#include "cni-plugin/redirect/backend.h"

#include <catch2/catch_test_macros.hpp>
#include <set>

#include "cni-plugin/redirect/iptables.h"

using namespace weft;
using namespace weft::cni::redirect;

namespace {

// A machine with these programs that work, and others that are there but do not.
struct Machine {
  std::set<std::string> usable{}, broken{};
  bool legacy_rules = false;

  Result<BackendChoice> choose(const BackendWish& wish) const {
    const auto has = [this](const std::string& name) { return usable.contains(name) || broken.contains(name); };
    return choose_backend(wish, {[this](const Backend& backend) -> Result<void> {
                                   const auto name = backend.kind == Backend::Kind::kNftables ? "nft"
                                                     : backend.v4.name.empty()                ? backend.v6.name
                                                                                              : backend.v4.name;
                                   if (usable.contains(name)) return {};
                                   if (broken.contains(name))
                                     return fail(ErrorCode::kUnsupported, name + " failed: missing kernel module?");
                                   return fail(ErrorCode::kNotFound, name + " is not in PATH");
                                 },
                                 [has](const std::string& name) -> Result<IptablesProgram> {
                                   if (!has(name)) return fail(ErrorCode::kNotFound, name + " is not in PATH");
                                   return IptablesProgram{name, name.ends_with("legacy")};
                                 },
                                 [this](AddressFamily) { return legacy_rules; }});
  }
  std::string chosen(const BackendWish& wish) const {
    const auto choice = choose(wish);
    return choice ? choice->backend.to_string() : "none: " + choice.error().message();
  }
};

const std::set<std::string> kAll{"nft",      "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy",
                                 "iptables", "ip6tables"};

}  // namespace

TEST_CASE("iptables is the rule and nftables what is asked for") {
  CHECK(Machine{kAll}.chosen({}) == "iptables-nft and ip6tables-nft");
  CHECK(Machine{kAll}.chosen({.ipv6 = false}) == "iptables-nft");
  CHECK(Machine{kAll}.chosen({.nftables = true}) == "nftables");
  CHECK(Machine{kAll}.choose({.nftables = true})->remark.empty());
}

TEST_CASE("the node's own legacy rules decide for the legacy variant, if that is usable") {
  CHECK(Machine{kAll, {}, true}.chosen({}) == "iptables-legacy and ip6tables-legacy");
  CHECK(Machine{{"iptables-nft", "ip6tables-nft"}, {"iptables-legacy"}, true}.chosen({}) ==
        "iptables-nft and ip6tables-nft");
  CHECK(Machine{{"iptables", "ip6tables"}}.chosen({}) == "iptables and ip6tables");
}

TEST_CASE("each family has its own variant") {
  CHECK(Machine{{"iptables-legacy", "iptables-nft", "ip6tables-nft"}, {}, true}.chosen({}) ==
        "iptables-legacy and ip6tables-nft");
}

TEST_CASE("a forced variant is taken or refused, whatever the node has") {
  CHECK(Machine{kAll}.chosen({.variant = IptablesVariant::kLegacy}) == "iptables-legacy and ip6tables-legacy");
  CHECK(Machine{kAll, {}, true}.chosen({.variant = IptablesVariant::kNft}) == "iptables-nft and ip6tables-nft");
  const auto refused =
      Machine{{"nft", "iptables", "iptables-nft"}, {"iptables-legacy"}}.choose({.variant = IptablesVariant::kLegacy});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code() == ErrorCode::kUnsupported);
  CHECK(refused.error().message() == "iptables is not usable: iptables-legacy failed: missing kernel module?");
}

TEST_CASE("what is not usable gives way to what is, and says why") {
  const auto without_nft = Machine{{"iptables-nft", "ip6tables-nft"}}.choose({.nftables = true});
  REQUIRE(without_nft);
  CHECK(without_nft->backend.to_string() == "iptables-nft and ip6tables-nft");
  CHECK(without_nft->remark == "nftables is not usable: nft is not in PATH");
  const auto without_iptables = Machine{{"nft"}, {"iptables-nft"}}.choose({});
  REQUIRE(without_iptables);
  CHECK(without_iptables->backend.to_string() == "nftables");
  CHECK(without_iptables->remark ==
        "iptables is not usable: iptables-nft failed: missing kernel module?; iptables is not in PATH");
  // Only one family: the other would go past the proxy.
  CHECK(Machine{{"nft", "iptables-nft"}}.chosen({}) == "nftables");
}

TEST_CASE("where nothing is usable every reason is told") {
  const auto none = Machine{}.choose({});
  REQUIRE_FALSE(none);
  CHECK(none.error().code() == ErrorCode::kNotFound);
  CHECK(none.error().message() ==
        "iptables is not usable: iptables-nft is not in PATH; iptables is not in PATH; nor is nftables: nft is not in PATH");
  CHECK(Machine{}.chosen({.nftables = true}) ==
        "none: nftables is not usable: nft is not in PATH; iptables is not usable: iptables-nft is not in PATH; iptables is "
        "not in PATH");
}

TEST_CASE("a program's variant is read from its version") {
  CHECK(parse_iptables_version("x", "iptables-restore v1.8.9 (nf_tables)\n")->legacy == false);
  CHECK(parse_iptables_version("x", "iptables-restore v1.8.9 (legacy)\n")->legacy);
  CHECK(parse_iptables_version("x", "iptables-restore v1.6.1\n")->legacy);
  CHECK(parse_iptables_version("iptables", "iptables-restore v1.6.1\n")->name == "iptables");
  for (const char* text : {"", "iptables", "usage: iptables-restore [-c]", "x v1"})
    CHECK_FALSE(parse_iptables_version("x", text));
}
