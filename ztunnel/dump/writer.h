// Writes the dump piece by piece, so that a large one keeps its thread from nothing else: no piece is larger than one small
// object, and whoever writes lets the loop run others whenever a slice is full.
//
//   out.begin("workloads", '[');
//   for (const auto& workload : workloads) {
//     out.element(describe(*workload));
//     if (out.due()) co_await out.pause();
//   }
//   out.end();
//
// The text is what one document holding all of it would be written as (json.h): the same indents, the same order.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/async/loop.h"
#include "ztunnel/dump/json.h"

namespace weft::ztunnel::dump {

class Writer {
 public:
  // Text written between two turns of the loop, about a millisecond's work.
  static constexpr std::size_t kSliceBytes = 32 * 1024;

  explicit Writer(Loop& loop) : loop_(loop) {}

  // Opens an object '{' or an array '[': the document itself, an element of the innermost array, or a member of the
  // innermost object.
  void begin(char bracket);
  void begin(std::string_view key, char bracket);
  void end();
  void element(const Json& value);
  void member(std::string_view key, const Json& value);

  bool due() const { return text_.size() >= next_pause_; }
  Task<void> pause();

  // All of it, once everything is closed.
  std::string take() { return std::move(text_); }

 private:
  struct Level {
    char closing;
    bool empty = true;
  };
  void separate();
  void new_line();
  void put_key(std::string_view key);
  void put(const Json& value);

  Loop& loop_;
  std::string text_;
  std::vector<Level> open_;
  std::size_t next_pause_ = kSliceBytes;
};

}  // namespace weft::ztunnel::dump
