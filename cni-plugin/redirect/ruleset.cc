#include "cni-plugin/redirect/ruleset.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <map>

#include "lib/base/log.h"

namespace weft::cni::redirect {
namespace {

constexpr std::string_view kNat = "istio-ambient-nat";
constexpr std::string_view kMangle = "istio-ambient-mangle";
constexpr std::string_view kRaw = "istio-ambient-raw";
constexpr std::string_view kTables[] = {kNat, kMangle, kRaw};

struct Family {
  std::string_view ip, loopback, set, address_type;
};
constexpr Family kV4{"ip", "127.0.0.1", "weft-open-v4", "ipv4_addr"};
constexpr Family kV6{"ip6", "::1", "weft-open-v6", "ipv6_addr"};

constexpr std::string_view kNotOurs = "meta mark & 0xfff != 0x539";
constexpr std::string_view kRemember = "ct mark set ct mark | 0x1000";

// Deleting needs the table to be there, and adding it first makes sure.
void clear_table(std::string& out, std::string_view name) {
  out += fmt::format("table inet {0} {{\n}}\ndelete table inet {0}\n", name);
}

void base_chain(std::string& out, std::string_view name, std::string_view type, int priority) {
  out += fmt::format("\tchain {0} {{\n\t\ttype {1} hook {0} priority {2}; policy accept;\n\t\tjump istio-{0}\n\t}}\n", name,
                     type, priority);
}

template <typename... Args>
void rule(std::string& out, fmt::format_string<Args...> text, Args&&... args) {
  out += "\t\t" + fmt::format(text, std::forward<Args>(args)...) + "\n";
}

void open_set(std::string& out, const Family& family, const std::vector<Connection>& open) {
  out += fmt::format("\tset {0} {{\n\t\ttype {1} . inet_service . {1} . inet_service\n\t\tsize {2}\n", family.set,
                     family.address_type, 2 * kOpenConnectionsMax);
  std::string elements;
  for (const auto& [local, remote] : open) {
    if (local.ip().is_v4() != (&family == &kV4)) continue;
    elements += fmt::format("\t\t\t{0} . {1} . {2} . {3},\n\t\t\t{2} . {3} . {0} . {1},\n", local.ip().to_string(),
                            local.port(), remote.ip().to_string(), remote.port());
  }
  if (!elements.empty()) out += "\t\telements = {\n" + elements + "\t\t}\n";
  out += "\t}\n";
}

void nat_table(std::string& out, const Options& options, const std::vector<Connection>& open) {
  const std::vector<const Family*> families = options.ipv6 ? std::vector{&kV4, &kV6} : std::vector{&kV4};
  const auto probe = [&](const Family* f) { return (f == &kV4 ? options.probes.v4 : options.probes.v6).to_string(); };
  clear_table(out, kNat);
  out += fmt::format("table inet {} {{\n", kNat);
  for (const auto* f : families) open_set(out, *f, open);
  base_chain(out, "prerouting", "nat", -100);
  base_chain(out, "output", "nat", -100);

  const auto let_open_through = [&] {
    for (const auto* f : families) {
      rule(out, "tcp flags & (syn | ack) != syn {0} saddr . tcp sport . {0} daddr . tcp dport @{1} counter {2} accept",
           f->ip, f->set, kRemember);
    }
  };
  out += "\tchain istio-prerouting {\n";
  let_open_through();
  for (const auto* f : families) rule(out, "meta l4proto tcp {} saddr {} counter accept", f->ip, probe(f));
  for (const auto* f : families) {
    rule(out, "{} daddr != {} tcp dport != 15008 {} counter {} redirect to :15006", f->ip, f->loopback, kNotOurs, kRemember);
  }
  out += "\t}\n\tchain istio-output {\n";
  let_open_through();
  for (const auto* f : families) rule(out, "meta l4proto tcp {} daddr {} counter accept", f->ip, probe(f));
  if (options.dns_capture) {
    rule(out, "oifname != \"lo\" {} udp dport 53 counter redirect to :15053", kNotOurs);
    for (const auto* f : families) {
      rule(out, "{} daddr != {} tcp dport 53 {} counter {} redirect to :15053", f->ip, f->loopback, kNotOurs, kRemember);
    }
  }
  rule(out, "meta l4proto tcp meta mark & 0xfff == 0x111 counter accept");
  for (const auto* f : families) rule(out, "oifname \"lo\" {} daddr != {} counter accept", f->ip, f->loopback);
  for (const auto* f : families) {
    rule(out, "meta l4proto tcp {} daddr != {} {} counter {} redirect to :15001", f->ip, f->loopback, kNotOurs, kRemember);
  }
  out += "\t}\n}\n";
}

void mangle_table(std::string& out) {
  clear_table(out, kMangle);
  out += fmt::format("table inet {} {{\n", kMangle);
  base_chain(out, "prerouting", "filter", -150);
  base_chain(out, "output", "route", -150);
  out += "\tchain istio-prerouting {\n";
  rule(out, "meta mark & 0xfff == 0x539 counter ct mark set ct mark & 0xfffff000 | 0x111");
  out += "\t}\n\tchain istio-output {\n";
  rule(out, "ct mark & 0xfff == 0x111 counter meta mark set ct mark");
  out += "\t}\n}\n";
}

void raw_table(std::string& out) {
  out += fmt::format("table inet {} {{\n", kRaw);
  base_chain(out, "prerouting", "filter", -300);
  base_chain(out, "output", "filter", -300);
  out += "\tchain istio-prerouting {\n";
  rule(out, "udp sport 53 {} counter ct zone set 1", kNotOurs);
  out += "\t}\n\tchain istio-output {\n";
  rule(out, "udp dport 53 meta mark & 0xfff == 0x539 counter ct zone set 1");
  out += "\t}\n}\n";
}

template <typename Int>
bool read_hex(std::string_view text, Int& out) {
  const auto end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out, 16);
  return error == std::errc() && stop == end;
}

// "0100007F:1F90": words of four bytes as this machine keeps them, then the port.
bool read_address(std::string_view text, SocketAddress& out) {
  const auto colon = text.find(':');
  if (colon != 8 && colon != 32) return false;
  std::array<std::uint8_t, 16> bytes{};
  for (std::size_t at = 0; at < colon; at += 8) {
    std::uint32_t word = 0;
    if (!read_hex(text.substr(at, 8), word)) return false;
    std::memcpy(bytes.data() + at / 2, &word, 4);
  }
  std::uint16_t port = 0;
  if (!read_hex(text.substr(colon + 1), port)) return false;
  out = {colon == 8 ? IpAddress::v4({bytes[0], bytes[1], bytes[2], bytes[3]}) : IpAddress::v6(bytes), port};
  return true;
}

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const auto word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

std::string_view next_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

}  // namespace

std::vector<Connection> parse_open_connections(std::string_view text) {
  // States of net/tcp_states.h: TIME_WAIT and CLOSE are over, LISTEN is none.
  constexpr unsigned kTimeWait = 6, kClose = 7, kListen = 10;
  std::vector<Connection> out;
  while (!text.empty()) {
    auto line = next_line(text);
    next_word(line);
    Connection connection;
    unsigned state = 0;
    if (!read_address(next_word(line), connection.local) || !read_address(next_word(line), connection.remote)) continue;
    if (!read_hex(next_word(line), state) || state == kTimeWait || state == kClose || state == kListen) continue;
    if (connection.local.ip().is_loopback() || connection.remote.ip().is_loopback()) continue;
    out.push_back(connection);
  }
  return out;
}

std::string install_text(const Options& options, const std::vector<Connection>& open) {
  std::string out;
  nat_table(out, options, open);
  mangle_table(out);
  clear_table(out, kRaw);
  if (options.dns_capture) raw_table(out);
  return out;
}

std::string tracking_text() {
  std::string out;
  clear_table(out, kMangle);
  out += fmt::format("table inet {} {{\n", kMangle);
  base_chain(out, "prerouting", "filter", -150);
  base_chain(out, "output", "route", -150);
  for (std::string_view hook : {"prerouting", "output"}) {
    out += fmt::format("\tchain istio-{} {{\n", hook);
    rule(out, "meta l4proto tcp ct state new {}", kRemember);
    out += "\t}\n";
  }
  return out + "}\n";
}

std::string remove_text() {
  std::string out;
  for (const auto table : kTables) clear_table(out, table);
  return out;
}

std::string our_tables(std::string_view listing) {
  std::map<std::string, std::string, std::less<>> found;
  std::string* current = nullptr;
  while (!listing.empty()) {
    const auto line = next_line(listing);
    if (line.starts_with("table ")) {
      current = nullptr;
      for (const auto name : kTables) {
        if (line == fmt::format("table inet {} {{", name)) current = &found[std::string(name)];
      }
    }
    if (current) current->append(line).append("\n");
    if (line == "}") current = nullptr;
  }
  std::string out;
  for (const auto& [name, text] : found) out += text;
  return out;
}

}  // namespace weft::cni::redirect
