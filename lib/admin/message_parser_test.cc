#include "lib/admin/message_parser.h"

#include <catch2/catch_test_macros.hpp>

using namespace weft::admin;
using State = MessageParser::State;

namespace {

struct Case {
  std::string bytes;
  int failure = 0;  // 0: parses
  std::string body = {};
  std::string rest = {};  // what belongs to the next message
};

struct Outcome {
  State state;
  int failure;
  std::string start;  // what the head says
  std::string body;
  std::size_t taken;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(MessageParser& parser, std::size_t taken) {
  Outcome outcome{parser.state(), parser.failure_status(), {}, parser.body(), taken};
  const auto& head = parser.head();
  outcome.start = head.method + " " + head.target + " " + std::to_string(head.status);
  for (const auto& [name, value] : head.fields) outcome.start += "|" + name + "=" + value;
  return outcome;
}

// Fed in two pieces, then in pieces of `step`.
Outcome parse(MessageKind kind, const MessageLimits& limits, std::string_view bytes, std::size_t first, std::size_t step) {
  MessageParser parser(kind, limits);
  std::size_t taken = 0;
  for (std::size_t at = 0, size = first; at < bytes.size(); at += size, size = step) {
    const auto part = bytes.substr(at, size);
    const auto count = parser.feed(part);
    taken += count;
    if (count < part.size()) break;
  }
  return outcome_of(parser, taken);
}

void check(MessageKind kind, const Case& test, const MessageLimits& limits = {}) {
  INFO(test.bytes);
  const auto whole = parse(kind, limits, test.bytes, test.bytes.size(), 1);
  CHECK(whole.failure == test.failure);
  CHECK(whole.state == (test.failure ? State::kFailed : State::kDone));
  if (!test.failure) {
    CHECK(whole.body == test.body);
    CHECK(test.bytes.substr(whole.taken) == test.rest);
  }
  bool same = true;
  for (std::size_t cut = 1; cut < test.bytes.size(); ++cut) {
    auto split = parse(kind, limits, test.bytes, cut, test.bytes.size());
    if (test.failure) split.taken = whole.taken;  // how much of a bad message was taken is nobody's business
    if (test.failure == 413) split.body = whole.body;
    same = same && split == whole;
  }
  CHECK(same);
  CHECK(parse(kind, limits, test.bytes, 1, 1).failure == test.failure);
}

std::string with_fields(const std::string& fields) { return "POST /x HTTP/1.1\r\nHost: h\r\n" + fields; }

}  // namespace

TEST_CASE("requests are read whole, wherever they are split") {
  const Case cases[] = {
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
      {"\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"},
      {"GET / HTTP/1.1\nHost: h\n\n"},
      {"GET / HTTP/1.0\r\n\r\n"},
      {"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET /2", 0, "", "GET /2"},
      {"GET http://h/x?y HTTP/1.1\r\nHost:\t h \t\r\nX-Empty:\r\nX: a\xC3\xA4 b\r\n\r\n"},
      {with_fields("Content-Length: 5\r\n\r\nhello"), 0, "hello"},
      {with_fields("Content-Length: 5\r\n\r\nhelloGET"), 0, "hello", "GET"},
      {with_fields("Content-Length: 0\r\n\r\n")},
      {with_fields("Content-Length: 3\r\ncontent-length: 3\r\n\r\nabc"), 0, "abc"},
      {with_fields("Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n")},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n00A;x=\"y\"\r\n, my world\r\n0\r\nT: v\r\n\r\nrest"), 0,
       "hello, my world", "rest"},
  };
  for (const auto& test : cases) check(MessageKind::kRequest, test);
}

TEST_CASE("malformed and ambiguous requests are refused with the fitting status") {
  const Case cases[] = {
      {"GET /\r\n", 400},
      {"GET / HTTP/1.1 \r\n", 400},
      {" GET / HTTP/1.1\r\n", 400},
      {"GET  / HTTP/1.1\r\n", 400},
      {"G\tT / HTTP/1.1\r\n", 400},
      {"GET /\x80 HTTP/1.1\r\n", 400},
      {std::string("GET /\0 HTTP/1.1\r\n", 17), 400},
      {"GET / http/1.1\r\n", 400},
      {"GET / HTTP/11\r\n", 400},
      {"GET / HTTP/2.0\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03\n", 12), 400},  // a TLS client
      {"GET / HTTP/1.1\r\n\r\n", 400},                                           // no host
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost : a\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n", 400},
      {"GET / HTTP/1.1\r\n: a\r\n", 400},
      {"GET / HTTP/1.1\r\nnothing\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\rb\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\x01\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\x7F\r\n", 400},
      {with_fields("Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), 400},
      {with_fields("Content-Length: 5, 5\r\n\r\n"), 400},
      {with_fields("Content-Length: +5\r\n\r\n"), 400},
      {with_fields("Content-Length: -1\r\n\r\n"), 400},
      {with_fields("Content-Length: 0x5\r\n\r\n"), 400},
      {with_fields("Content-Length:\r\n\r\n"), 400},
      {with_fields("Content-Length: 18446744073709551616\r\n\r\n"), 400},
      {with_fields("Content-Length: 18446744073709551615\r\n\r\n"), 413},
      {with_fields("Content-Length: 65537\r\n\r\n"), 413},
      {with_fields("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400},
      {with_fields("Transfer-Encoding: gzip, chunked\r\n\r\n"), 501},
      {with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), 501},
      {with_fields("Transfer-Encoding: xchunked\r\n\r\n"), 501},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n\r\n"), 400},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n-1\r\n"), 400},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n0x1\r\n"), 400},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n"), 400},
      {with_fields("Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n"), 413},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"), 400},
      {with_fields("Transfer-Encoding: chunked\r\n\r\n1;" + std::string(200, 'x')), 400},
  };
  for (const auto& test : cases) check(MessageKind::kRequest, test);
}

TEST_CASE("a message is bounded in its head, its trailers and its body") {
  const MessageLimits limits{64, 10};
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n";
  const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  REQUIRE(chunked.size() == 56);
  check(MessageKind::kRequest, {head + std::string(30, 'x') + ":\r\n\r\n"}, limits);
  check(MessageKind::kRequest, {head + std::string(34, 'x') + ":\r\n\r\n", 431}, limits);
  check(MessageKind::kRequest, {std::string(65, '\n'), 431}, limits);
  check(MessageKind::kRequest, {std::string(65, 'x'), 431}, limits);
  check(MessageKind::kRequest, {head + "Content-Length: 10\r\n\r\n0123456789", 0, "0123456789"}, limits);
  check(MessageKind::kRequest, {head + "Content-Length: 11\r\n\r\n", 413}, limits);
  check(MessageKind::kRequest, {chunked + "6\r\nabcdef\r\n4\r\nghij\r\n0\r\n\r\n", 0, "abcdefghij"}, limits);
  check(MessageKind::kRequest, {chunked + "6\r\nabcdef\r\n5\r\n", 413}, limits);
  check(MessageKind::kRequest, {chunked + "0\r\nTrailer: x\r\n", 431}, limits);
}

TEST_CASE("responses are read by length, by chunks, to the end of the connection, or without a body") {
  const Case cases[] = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0, "ok"},
      {"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 0, "ok"},
      {"HTTP/1.0 500 what ever\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 0, "ok"},
      {"HTTP/1.1 204 No Content\r\n\r\nx", 0, "", "x"},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 0,
       "ok"},
      {"HTTP/1.1 101 Switching\r\n\r\n", 400},
      {"HTTP/2 200\r\n", 400},
      {"HTTP/1.1 20\r\n", 400},
      {"HTTP/1.1 2000\r\n", 400},
      {"HTTP/1.1 099 x\r\n", 400},
      {"SSH-2.0-OpenSSH\r\n", 400},
      {"\r\n", 400},
  };
  for (const auto& test : cases) check(MessageKind::kResponse, test);

  MessageParser to_the_end(MessageKind::kResponse, {});
  to_the_end.feed("HTTP/1.1 200 OK\r\n\r\nall of");
  to_the_end.feed(" it");
  CHECK(to_the_end.state() == State::kBody);
  to_the_end.finish();
  CHECK(to_the_end.state() == State::kDone);
  CHECK(to_the_end.body() == "all of it");

  MessageParser head_only(MessageKind::kResponse, {});
  head_only.expect_no_body();
  head_only.feed("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
  CHECK(head_only.state() == State::kDone);
}

TEST_CASE("a message cut short never counts as whole") {
  const std::string messages[] = {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", with_fields("Content-Length: 5\r\n\r\nhello"),
                                  with_fields("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")};
  for (const auto& message : messages) {
    for (std::size_t size = 0; size < message.size(); ++size) {
      MessageParser parser(MessageKind::kRequest, {});
      parser.feed(std::string_view(message).substr(0, size));
      CHECK(parser.state() != State::kDone);
      parser.finish();
      CHECK(parser.failure_status() == 400);
    }
  }
}

TEST_CASE("fields are found without regard to letter case, tokens inside lists as well") {
  MessageParser parser(MessageKind::kRequest, {});
  parser.feed("GET / HTTP/1.1\r\nHost: h\r\nCONNECTION: keep-alive , Close\r\nConnection: te\r\n\r\n");
  REQUIRE(parser.state() == State::kDone);
  const auto& head = parser.head();
  REQUIRE(head.find("host"));
  CHECK(*head.find("host") == "h");
  CHECK(!head.find("accept"));
  CHECK(head.has_token("connection", "close"));
  CHECK(head.has_token("connection", "te"));
  CHECK(!head.has_token("connection", "clo"));
  CHECK(!head.has_token("upgrade", ""));
}
