// A production connection and a raw peer that does what no library would, frame by frame. For this folder's tests.
#pragma once

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/http2/connection.h"
#include "lib/io/pipe.h"
#include "tests/support/h2_frames.h"

namespace weft::http2 {

using namespace std::chrono_literals;

inline const Headers kOk = {{":status", "200"}};

inline Task<void> drive(std::shared_ptr<Connection> connection, StopToken stop, Result<void>& out) {
  out = co_await connection->run(stop);
}

inline Task<void> write_bytes(io::Stream& stream, std::string bytes, bool& written) {
  auto done = co_await stream.write(BufferChain(Buffer::copy_of(bytes)));
  written = done.has_value();
}

inline Task<void> read_bytes(io::Stream& stream, std::string& seen, bool& ended) {
  for (;;) {
    auto data = co_await stream.read(64 * 1024);
    if (!data || data->empty()) break;
    stream.consumed(data->size());
    seen += data->to_string();
  }
  ended = true;
}

// An application: takes all it gets, or nothing.
inline Task<void> take_all(Stream& stream, std::size_t& taken) {
  for (;;) {
    auto data = co_await stream.read(64 * 1024);
    if (!data || data->empty()) co_return;
    stream.consumed(data->size());
    taken += data->size();
  }
}

// One production server and a raw peer. Every request is answered 200 and read, unless a test does otherwise.
struct Hostile {
  explicit Hostile(Settings settings = {}, Role role = Role::kServer) {
    auto [left, right] = io::make_pipe(loop, 1 << 20);
    peer = std::move(left);
    connection = Connection::create(loop, role, settings, std::move(right));
    connection->on_request([this](StreamPtr stream) {
      ++handled;
      if (!answer) return held.push_back(std::move(stream));
      REQUIRE(stream->respond(kOk, Stream::Body::kFollows));
      held.push_back(std::move(stream));
      if (read) scope.spawn(take_all(*held.back(), taken));
    });
    scope.spawn(drive(connection, scope.token(), outcome));
    if (listen) scope.spawn(read_bytes(*peer, answered, ended));
  }
  ~Hostile() {
    drop();
    scope.request_stop();
    peer->abort(io::AbortReason::kCancel);
    loop.run(scope.join());
  }
  // The application ends all it has.
  void drop() {
    for (auto& stream : held) stream->abort(io::AbortReason::kCancel);
    loop.run_until_idle();
    held.clear();
  }
  // False when the connection is over.
  bool send(const std::string& bytes) {
    bool written = false;
    scope.spawn(write_bytes(*peer, bytes, written));
    loop.run_until_idle();
    return written && !over();
  }
  bool over() const { return connection->ending() && ended; }
  std::vector<h2raw::Frame> frames() const {
    std::string_view bytes = answered;
    if (bytes.starts_with(h2raw::kPreface)) bytes.remove_prefix(h2raw::kPreface.size());
    return h2raw::parse(bytes);
  }
  // GOAWAY's error code, or nothing.
  std::optional<std::uint32_t> goaway() const {
    for (const auto& frame : frames())
      if (frame.type == h2raw::kGoaway) return frame.error();
    return std::nullopt;
  }
  std::size_t count(h2raw::Type type) const {
    const auto all = frames();
    return static_cast<std::size_t>(std::count_if(all.begin(), all.end(), [&](const auto& f) { return f.type == type; }));
  }

  ManualLoop loop;
  bool answer = true, read = true, listen = true;
  std::size_t handled = 0, taken = 0;
  std::string answered;
  bool ended = false;
  io::StreamPtr peer;
  std::shared_ptr<Connection> connection;
  std::vector<StreamPtr> held;
  Result<void> outcome;
  Scope scope{loop};
};

inline void check_breach(Hostile& h, Breach why) {
  h.loop.run_until_idle();
  REQUIRE(h.connection->breach());
  CHECK(to_string(*h.connection->breach()) == to_string(why));
  CHECK(h.goaway() == static_cast<std::uint32_t>(ResetCode::kEnhanceYourCalm));
  h.loop.advance(5s);  // nobody closes: our side does
  REQUIRE_FALSE(h.outcome);
  CHECK(h.outcome.error().code() == ErrorCode::kLimit);
}

// Sends `piece(i)` until the connection is over; how many went, at most `most`.
inline std::size_t flood(Hostile& h, std::size_t most, const std::function<std::string(std::size_t)>& piece) {
  for (std::size_t i = 0; i < most; ++i)
    if (!h.send(piece(i))) return i;
  return most;
}

inline std::uint32_t id(std::size_t index) { return static_cast<std::uint32_t>(2 * index + 1); }

}  // namespace weft::http2
