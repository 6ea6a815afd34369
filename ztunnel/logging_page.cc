#include "ztunnel/logging_page.h"

#include <optional>

#include "lib/base/log.h"
#include "lib/grpc/status.h"

namespace weft::ztunnel {
namespace {

constexpr const char* kUsage =
    "usage: POST /logging                       show the current log level\n"
    "       POST /logging?level=LEVEL           log everything from LEVEL on: off, error, warn, info, debug, trace\n"
    "       POST /logging?level=TARGET=LEVEL    change one target, such as access, rbac, inpod or ztunnel::proxy\n"
    "       POST /logging?level=A,B             several of both forms, separated by commas\n"
    "       POST /logging?reset                 back to the level of the start\n"
    "       POST /logging?level=LEVEL&reset     back to the level of the start, then LEVEL\n";

struct Wish {
  std::optional<std::string> level;
  bool reset = false;
};

Wish parse(std::string_view query) {
  Wish wish;
  while (!query.empty()) {
    const auto item = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), item.size() + 1));
    const auto equals = item.find('=');
    const auto name = item.substr(0, equals);
    if (name == "reset") wish.reset = true;
    if (name == "level" && equals != item.npos) wish.level = grpc::percent_decode(item.substr(equals + 1));
  }
  return wish;
}

}  // namespace

admin::Response answer_logging(const admin::Request& request, const std::string& start_filter) {
  if (request.method != "POST") return {.status = 405, .body = kUsage};
  const Wish wish = parse(request.query);
  const std::string level = wish.level.value_or("");
  if (wish.reset || !level.empty()) {
    auto changed = log::set_filter((wish.reset ? start_filter : log::current_filter()) + "," + level);
    if (!changed && changed.error().code() == ErrorCode::kLimit)
      return {.status = 400, .body = changed.error().message() + "\n"};
    if (!changed) return {.status = 400, .body = "Invalid level provided: " + level + "\n" + kUsage};
    WEFT_LOG(kInfo, "admin", "log level changed", {"level", log::current_filter()});
  }
  return {.body = "current log level is " + log::current_filter() + "\n"};
}

}  // namespace weft::ztunnel
