// HTTP/1.1 messages out of bytes, head and whole body, for the small server and client of this folder (RFC 9112).
//
// Pure: bytes in, state out, in pieces of any size. Everything a peer sends is hostile: sizes are bounded, and where
// two readers could see different messages (two lengths, length and chunks, folded lines, bare CR) the message is
// refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::admin {

enum class MessageKind { kRequest, kResponse };

struct MessageLimits {
  std::size_t head_max = 8 * 1024;  // start line and fields, trailers too
  std::size_t body_max = 64 * 1024;
};

struct MessageHead {
  std::string method;                                       // request
  std::string target;                                       // request, as sent
  int status = 0;                                           // response
  int minor_version = 1;                                    // HTTP/1.x
  std::vector<std::pair<std::string, std::string>> fields;  // names in lower case, values without outer blanks

  // The first value, nullptr when absent.
  const std::string* find(std::string_view name) const;
  // Whether a comma-separated field holds `token`; letter case does not count.
  bool has_token(std::string_view name, std::string_view token) const;
};

class MessageParser {
 public:
  enum class State { kHead, kBody, kDone, kFailed };

  MessageParser(MessageKind kind, MessageLimits limits) : kind_(kind), limits_(limits) {}
  // For the answer to a HEAD request: its length fields describe a body that does not follow.
  void expect_no_body() { no_body_ = true; }

  // Takes bytes up to the end of the message and returns how many; the rest belongs to the next one. Interim responses
  // (1xx) are passed over.
  std::size_t feed(std::string_view bytes);
  // The peer ended its direction: completes a response that reaches to the end of the connection, fails anything else.
  void finish();

  State state() const { return state_; }
  // Whether any byte came.
  bool started() const { return started_; }
  // Complete in kBody and kDone.
  const MessageHead& head() const { return head_; }
  // Complete in kDone; may be moved from.
  std::string& body() { return body_; }
  // In kFailed: the status a server answers with, and a sentence.
  int failure_status() const { return failure_status_; }
  std::string_view failure() const { return failure_; }

 private:
  enum class Framing { kLength, kChunkSize, kChunkData, kChunkEnd, kTrailers, kUntilClose };

  bool read_line(std::string_view& bytes);
  void on_line();
  void on_start_line();
  void on_request_line();
  void on_status_line();
  void on_field(std::string_view line);
  void on_head_end();
  void on_chunk_size();
  void take_body(std::string_view& bytes);
  void fail(int status, std::string_view reason);

  MessageKind kind_;
  MessageLimits limits_;
  State state_ = State::kHead;
  Framing framing_ = Framing::kLength;
  bool no_body_ = false;
  bool started_ = false;
  bool start_line_seen_ = false;
  std::string line_;             // the unfinished line
  std::size_t lines_size_ = 0;   // bytes of all lines of head and trailers, ends included
  std::uint64_t remaining_ = 0;  // of the body or the chunk
  MessageHead head_;
  std::string body_;
  int failure_status_ = 0;
  std::string_view failure_;  // constant text
};

}  // namespace weft::admin
