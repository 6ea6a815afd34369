// libFuzzer target: the fields of a tunnel request, as a peer writes them: CONNECT's authority, forwarded, traceparent,
// baggage, x-forwarded-network; and the identities and addresses inside them. One field a line, "name: value".
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/check.h"
#include "lib/hbone/headers.h"
#include "lib/http/fields.h"
#include "lib/model/admit.h"
#include "lib/model/baggage.h"
#include "lib/model/identity.h"

namespace {

using namespace weft;

void authority(std::string_view text) {
  const auto target = model::parse_authority(text);
  if (!target) {
    const auto& message = target.error().message();
    WEFT_CHECK(message.size() < 400);
    WEFT_CHECK(std::all_of(message.begin(), message.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    return;
  }
  if (const auto* address = std::get_if<SocketAddress>(&*target)) {
    const auto again = model::parse_authority(address->to_string());
    WEFT_CHECK(again && *again == *target);
  } else {
    const auto& named = std::get<model::HostPort>(*target);
    WEFT_CHECK(!named.host.empty() && named.host.size() <= 253 && text.starts_with(named.host));
    const auto again = model::parse_authority(named.host + ":" + std::to_string(named.port));
    WEFT_CHECK(again && *again == *target);
  }
}

void single(std::string_view text) {
  authority(text);
  if (const auto identity = model::Identity::parse(text)) WEFT_CHECK(identity->to_string() == text);
  if (const auto trace = http::TraceParent::parse(text)) WEFT_CHECK(http::TraceParent::parse(trace->to_string()) == trace);
  if (const auto ip = IpAddress::parse(text)) WEFT_CHECK(IpAddress::parse(ip->to_string()).value() == *ip);
  if (const auto cidr = Cidr::parse(text)) WEFT_CHECK(Cidr::parse(cidr->to_string()).value() == *cidr);
  WEFT_CHECK(http::forwarded_host(text).size() <= text.size());
  // A host that was understood can be said again, unless it holds what we would not write.
  const auto host = std::string(http::forwarded_host(text));
  if (!host.empty() && host.find_first_of("\"; ") == host.npos) {
    WEFT_CHECK(http::forwarded_host(http::format_forwarded({}, host)) == host);
  }
  (void)http::from_other_network(text, "network-1");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  http2::Headers headers;
  std::vector<std::string> baggage_texts;
  while (!rest.empty()) {
    const auto line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const auto space = line.find(": ", 1);
    const auto value = space == line.npos ? line : line.substr(space + 2);
    if (space != line.npos) headers.emplace_back(line.substr(0, space), value);
    baggage_texts.emplace_back(value);
    single(value);
  }
  const auto request = hbone::parse_request(headers);
  authority(request.authority);
  const std::string_view joined = request.baggage;
  (void)model::parse_baggage({&joined, 1});

  const std::vector<std::string_view> fields(baggage_texts.begin(), baggage_texts.end());
  const auto baggage = model::parse_baggage(fields);
  for (const auto* part : {&baggage.cluster, &baggage.namespace_name, &baggage.workload_name, &baggage.canonical_name,
                           &baggage.canonical_revision, &baggage.region, &baggage.zone}) {
    WEFT_CHECK(part->size() <= 8192);
    WEFT_CHECK(std::all_of(part->begin(), part->end(), [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; }));
  }
  return 0;
}
