// libFuzzer target: the certificates an authority answers with, for a key and an identity that are ours. Elements are
// separated by a byte 0; "@leaf@" and "@root@" in them stand for good certificates. What is accepted is for our identity
// and our key.
#include "certs/issued_chain.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/check.h"
#include "lib/tls/test_authority.h"

namespace {

using namespace weft;

struct Fixture {
  const WallTime now{std::chrono::seconds(1'800'000'000)};
  tls::TestAuthority authority{now, "root", tls::KeyKind::kEd25519};
  model::Identity identity{"cluster.local", "shop", "cart"};
  std::shared_ptr<const tls::Credentials> ours = authority.credentials(identity.to_string());
  std::string leaf = ours->leaf().to_pem(), root = authority.root().to_pem();
};

void replace_all(std::string& text, std::string_view from, const std::string& to) {
  for (std::size_t at = text.find(from); at != text.npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Fixture fixture;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string> elements;
  for (;;) {
    const auto end = rest.find('\0');
    elements.emplace_back(rest.substr(0, end));
    replace_all(elements.back(), "@leaf@", fixture.leaf);
    replace_all(elements.back(), "@root@", fixture.root);
    if (end == rest.npos) break;
    rest.remove_prefix(end + 1);
  }
  const auto read = certs::read_issued_chain(fixture.identity, fixture.ours->key(), elements, 7);
  if (!read) {
    WEFT_CHECK(!read.error().message().empty());
    return 0;
  }
  WEFT_CHECK((*read)->leaf().matches(fixture.ours->key()));
  WEFT_CHECK((*read)->identity() == fixture.identity);
  WEFT_CHECK((*read)->generation() == 7 && !(*read)->roots().empty());
  return 0;
}
