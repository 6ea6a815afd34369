#include "ztunnel/settings_reference.h"

#include "lib/base/log.h"
#include "ztunnel/setting_table.h"

namespace weft::ztunnel {
namespace {

constexpr std::string_view kHead =
    "# Settings of ztunnel\n"
    "\n"
    "Written by `ztunnel help settings` from the table that the program reads its settings through; a test keeps the page "
    "up to\n"
    "date.\n"
    "\n"
    "ztunnel takes its settings from environment variables, with upstream's names, defaults and meanings; those that begin "
    "with\n"
    "`WEFT_`, `MANIFEST_DIR`, `ROOT_NAMESPACE` and `L7_DENY_AT_L4` are Weft's own, and `AMBIENT_ENABLEMENT_SELECTOR` and\n"
    "`EXCLUDE_NAMESPACES` are istio-cni's. `ztunnel check-config` names everything that is\n"
    "wrong with them, and with the files they name, in one go and exits 1; it starts nothing. A name that ends in `_` "
    "stands "
    "for all\n"
    "variables that begin so.\n"
    "\n"
    "- **boolean**: exactly `true` or `false`.\n"
    "- **flag**: the literal that the description names switches something on; every other value means off.\n"
    "- **number**: a whole number within its bounds.\n"
    "- **duration**: as Go writes it, `10s`, `1h30m`, `500ms`, within its bounds.\n"
    "- **text**: as the description says.\n"
    "\n"
    "The last column is where `config` of the admin page `/config_dump` shows the value in force; `a.b` is the member `b` "
    "of `a`.\n"
    "Settings without one are shown in another form, or not at all because they may hold secrets.\n"
    "\n"
    "`PROXY_CONFIG`, and `defaultConfig` of the file `./etc/istio/config/mesh` before it, are YAML or JSON. Read are\n"
    "`discoveryAddress` (when `XDS_ADDRESS` is unset), `proxyAdminPort` (15000), `statsPort` (15020), `concurrency` (worker "
    "threads;\n"
    "0: one a processor) and `proxyMetadata`.\n"
    "\n"
    "| Variable | Kind | Default | Bounds | Meaning | In the dump |\n"
    "|---|---|---|---|---|---|\n";

std::string_view word(Setting::Kind kind) {
  switch (kind) {
    case Setting::Kind::kText: return "text";
    case Setting::Kind::kBoolean: return "boolean";
    case Setting::Kind::kFlag: return "flag";
    case Setting::Kind::kNumber: return "number";
    case Setting::Kind::kDuration: return "duration";
  }
  return "";
}

// The largest unit that divides it.
std::string show_duration(std::int64_t nanoseconds) {
  struct Unit {
    const char* name;
    std::int64_t size;
  };
  if (nanoseconds == 0) return "0s";
  for (const auto& unit :
       {Unit{"h", 3'600'000'000'000}, Unit{"m", 60'000'000'000}, Unit{"s", 1'000'000'000}, Unit{"ms", 1'000'000}}) {
    if (nanoseconds % unit.size == 0) return fmt::to_string(nanoseconds / unit.size) + unit.name;
  }
  return fmt::to_string(nanoseconds) + "ns";
}

std::string bounds(const Setting& setting) {
  if (setting.kind == Setting::Kind::kNumber) return fmt::format("{} to {}", setting.min, setting.max);
  if (setting.kind == Setting::Kind::kDuration) return show_duration(setting.min) + " to " + show_duration(setting.max);
  return "";
}

std::string code(std::string_view text) { return text.empty() ? "" : fmt::format("`{}`", text); }

// A bar would end the cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

}  // namespace

std::string settings_reference() {
  std::string page(kHead);
  for (const auto& setting : setting_table()) {
    page += fmt::format("| {} | {} | {} | {} | {} | {} |\n", code(setting.name), word(setting.kind),
                        cell(code(setting.default_text)), bounds(setting), cell(setting.help), code(setting.config_key));
  }
  return page;
}

}  // namespace weft::ztunnel
