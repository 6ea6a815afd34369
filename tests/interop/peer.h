// The two halves of grpc_peer, the program that talks to another gRPC implementation in tests. Messages are plain bytes.
#pragma once

#include <string>

#include "lib/asio/loop.h"
#include "lib/async/stop.h"
#include "lib/async/task.h"

namespace weft::interop {

// PEM files; empty for clear text.
struct TlsFiles {
  std::string certificate;  // server: chain, leaf first
  std::string key;          // server
  std::string roots;
};

// Listens on a port of 127.0.0.1 that the kernel chooses, prints "port N" and serves until stopped. Methods of
// /weft.test.Peer/:
//   Echo      unary              the message
//   Chat      both ways          every message, at once
//   Collect   client to server   "COUNT BYTES"
//   Spread    server to client   asked "COUNT SIZE": so many messages of that size
//   Refuse    unary              PERMISSION_DENIED without any message
//   FailLate  server to client   one message, then ABORTED
//   Silent    unary              nothing, until the caller gives up
//   GoAway    both ways          one message, GOAWAY on this connection, then as Chat
//   Numbers   unary              "connections=N given_up=N silent=N"
Task<int> serve(asio::Loop& loop, TlsFiles files, StopToken stop);

// Calls a peer that offers the same methods at 127.0.0.1:`port` and prints what happened, a fact a line.
Task<int> call(asio::Loop& loop, TlsFiles files, std::string port, std::string scenario);

}  // namespace weft::interop
