// io::Resolver on c-ares: /etc/hosts, then the name servers of /etc/resolv.conf, as nsswitch.conf says; nothing blocks but
// reading those small files. Not getaddrinfo(3): it would tie a statically linked program to the C library's plug-ins.
#pragma once

#include <string>

#include "lib/asio/loop.h"
#include "lib/io/resolver.h"

namespace weft::asio {

class Resolver final : public io::Resolver {
 public:
  // `servers`: "10.0.0.10:53,[fd00::a]:53" instead of those of /etc/resolv.conf; empty for the system's. Several calls may
  // be under way; each reads the configuration afresh, so that a changed file counts at once.
  explicit Resolver(Loop& loop, std::string servers = {});
  ~Resolver() override;
  Task<Result<std::vector<IpAddress>>> resolve(std::string host, StopToken stop) override;

 private:
  Loop& loop_;
  const std::string servers_;
};

}  // namespace weft::asio
