// What tunnels lead to in this folder's tests.
#pragma once

#include "lib/hbone/accept.h"
#include "tests/support/read_all.h"

namespace weft::hbone::testing {

// Answers with the authority and what was sent, once it was sent to its end; some authorities are refused, dropped or
// greeted.
inline Task<void> echo_tunnel(IncomingTunnel tunnel, StopToken) {
  const auto authority = tunnel.request().authority;
  if (authority == "denied:1") co_return tunnel.refuse(Refusal::kUnauthorized);
  if (authority == "broken:1") co_return tunnel.refuse(Refusal::kUnavailable);
  if (authority == "silent:1") co_return;  // dropped unanswered
  if (authority == "greeting:1") {
    auto stream = tunnel.accept("");
    if (!stream) co_return;
    auto sent = co_await (*stream)->write(BufferChain(Buffer::copy_of("welcome")));
    auto all = co_await weft::testing::read_all(**stream);
    (void)sent;
    (void)all;
    co_return;
  }
  auto stream = tunnel.accept("k8s.cluster.name=c");
  if (!stream) co_return;
  auto all = co_await weft::testing::read_all(**stream);
  if (!all) co_return;
  auto written = co_await (*stream)->write(BufferChain(Buffer::copy_of(authority + ":" + *all)));
  if (!written) co_return;
  auto ended = co_await (*stream)->shutdown_write();
  (void)ended;
}

}  // namespace weft::hbone::testing
