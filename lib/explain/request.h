// One line of a question: a connection that somebody might make.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/ip.h"
#include "lib/base/result.h"
#include "lib/model/identity.h"

namespace weft::explain {

struct Request {
  struct Source {
    std::string pod;                          // "ns/name", or empty
    std::optional<model::Identity> identity;  // of an authenticated peer; none: plain text
    std::optional<IpAddress> ip;
  };
  struct Destination {
    std::string pod, service;  // "ns/name", or empty
    std::optional<IpAddress> ip;
    std::uint16_t port = 0;  // 0: not given
  };
  nlohmann::ordered_json id;  // as given; null when not given
  Source source;
  Destination destination;
};

// `id` is filled as soon as it is known, also when the rest is wrong. kInvalidArgument with a sentence for people.
Result<Request> parse_request(std::string_view line, nlohmann::ordered_json& id);

}  // namespace weft::explain
