#include "lib/http/fields.h"

#include <algorithm>

namespace weft::http {
namespace {

bool is_visible(char c) { return c >= 0x20 && c < 0x7f; }
bool is_visible_text(std::string_view text) { return std::all_of(text.begin(), text.end(), is_visible); }

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool is_hex(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return hex_digit(c) >= 0; });
}

std::string hex(std::uint64_t value, int digits) {
  std::string text(static_cast<std::size_t>(digits), '0');
  for (auto at = text.rbegin(); at != text.rend(); ++at, value >>= 4) *at = "0123456789abcdef"[value & 15];
  return text;
}

}  // namespace

std::string format_forwarded(const SocketAddress& source, std::string_view host) {
  std::string field = "for=\"" + source.to_string() + "\"";
  const bool fits =
      std::all_of(host.begin(), host.end(), [](char c) { return is_visible(c) && c != ';' && c != '"' && c != ' '; });
  if (!host.empty() && fits) field.append(";host=").append(host);
  return field;
}

std::string_view forwarded_host(std::string_view field) {
  constexpr std::string_view kHost = "host=";
  if (!is_visible_text(field)) return {};
  while (!field.empty()) {
    const auto end = field.find(';');
    auto part = trim(field.substr(0, end));
    if (part.starts_with(kHost)) {
      part.remove_prefix(kHost.size());
      if (part.starts_with('"')) part.remove_prefix(1);
      if (part.ends_with('"')) part.remove_suffix(1);
      return part;
    }
    if (end == field.npos) break;
    field.remove_prefix(end + 1);
  }
  return {};
}

std::optional<TraceParent> TraceParent::parse(std::string_view field) {
  if (field.size() != 55 || field[2] != '-' || field[35] != '-' || field[52] != '-') return std::nullopt;
  const auto version = field.substr(0, 2), trace = field.substr(3, 32), parent = field.substr(36, 16),
             flags = field.substr(53, 2);
  if (!is_hex(version) || !is_hex(trace) || !is_hex(parent) || !is_hex(flags)) return std::nullopt;
  return TraceParent{std::string(trace), std::string(parent),
                     static_cast<std::uint8_t>(hex_digit(flags[0]) * 16 + hex_digit(flags[1]))};
}

TraceParent TraceParent::make(std::uint64_t trace_high, std::uint64_t trace_low, std::uint64_t parent) {
  return {hex(trace_high, 16) + hex(trace_low, 16), hex(parent, 16), 0};
}

std::string TraceParent::to_string() const { return "00-" + trace_id + "-" + parent_id + "-" + hex(flags, 2); }

bool from_other_network(std::optional<std::string_view> field, std::string_view local) {
  if (!field || !is_visible_text(*field)) return false;
  return !std::equal(field->begin(), field->end(), local.begin(), local.end(),
                     [](char a, char b) { return lower(a) == lower(b); });
}

}  // namespace weft::http
