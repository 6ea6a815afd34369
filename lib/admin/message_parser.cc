#include "lib/admin/message_parser.h"

#include <algorithm>
#include <charconv>

namespace weft::admin {
namespace {

// Longest line that gives a chunk's size: 16 digits and an extension nobody needs. Not part of the head's bound, since
// a body may have many chunks.
constexpr std::size_t kChunkLineMax = 128;

char lower(char character) { return character >= 'A' && character <= 'Z' ? static_cast<char>(character + 32) : character; }
std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& character : out) character = lower(character);
  return out;
}
bool is_digit(char character) { return character >= '0' && character <= '9'; }
// RFC 9110 §5.6.2
bool is_token(std::string_view text) {
  const auto allowed = [](char c) {
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  };
  return !text.empty() && std::all_of(text.begin(), text.end(), allowed);
}
bool is_visible(char character) { return character > 0x20 && character < 0x7F; }
// Field values: visible characters, blanks and bytes beyond ASCII.
bool is_value_character(char character) { return character == '\t' || (character != 0x7F && (character & 0xE0) != 0); }

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// All of `text` as a number in `base`, digits only.
std::optional<std::uint64_t> parse_number(std::string_view text, int base) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

const std::string* MessageHead::find(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return &value;
  }
  return nullptr;
}

bool MessageHead::has_token(std::string_view name, std::string_view token) const {
  for (const auto& [key, value] : fields) {
    if (key != name) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const auto comma = std::min(rest.find(','), rest.size());
      if (lower(trim(rest.substr(0, comma))) == token) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

std::size_t MessageParser::feed(std::string_view bytes) {
  const std::size_t size = bytes.size();
  if (size > 0) started_ = true;
  while (!bytes.empty() && state_ != State::kDone && state_ != State::kFailed) {
    const bool in_lines = state_ == State::kHead || framing_ == Framing::kChunkSize || framing_ == Framing::kChunkEnd ||
                          framing_ == Framing::kTrailers;
    if (!in_lines) {
      take_body(bytes);
    } else if (read_line(bytes)) {
      on_line();
      line_.clear();
    }
  }
  return size - bytes.size();
}

void MessageParser::finish() {
  if (state_ == State::kDone || state_ == State::kFailed) return;
  if (state_ == State::kBody && framing_ == Framing::kUntilClose) {
    state_ = State::kDone;
  } else {
    fail(400, "the message ended early");
  }
}

// True when `line_` holds a whole line, without its end.
bool MessageParser::read_line(std::string_view& bytes) {
  const auto newline = bytes.find('\n');
  const std::string_view part = bytes.substr(0, newline == std::string_view::npos ? bytes.size() : newline + 1);
  if (framing_ == Framing::kChunkSize || framing_ == Framing::kChunkEnd) {
    if (line_.size() + part.size() > kChunkLineMax) return fail(400, "chunk line too long"), false;
  } else {
    lines_size_ += part.size();
    if (lines_size_ > limits_.head_max) return fail(431, "header too large"), false;
  }
  line_ += part;
  bytes.remove_prefix(part.size());
  if (newline == std::string_view::npos) return false;
  // A line may end in a bare LF (RFC 9112 §2.2); a CR anywhere else is an attempt at something.
  line_.pop_back();
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  return true;
}

void MessageParser::on_line() {
  if (state_ == State::kHead) {
    if (!start_line_seen_) return on_start_line();
    if (line_.empty()) return on_head_end();
    return on_field(line_);
  }
  switch (framing_) {
    case Framing::kChunkSize: return on_chunk_size();
    case Framing::kChunkEnd:
      if (!line_.empty()) return fail(400, "chunk longer than its size");
      framing_ = Framing::kChunkSize;
      return;
    default:  // trailers, which nobody here reads
      if (line_.empty()) state_ = State::kDone;
  }
}

void MessageParser::on_start_line() {
  // Empty lines before a request are passed over (RFC 9112 §2.2); the head's bound counts them.
  if (line_.empty() && kind_ == MessageKind::kRequest) return;
  start_line_seen_ = true;
  if (kind_ == MessageKind::kRequest) {
    on_request_line();
  } else {
    on_status_line();
  }
}

void MessageParser::on_request_line() {
  const std::string_view line = line_;
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) return fail(400, "malformed request line");
  head_.method = line.substr(0, first);
  head_.target = line.substr(first + 1, second - first - 1);
  const std::string_view version = line.substr(second + 1);
  if (!is_token(head_.method)) return fail(400, "malformed method");
  if (head_.target.empty() || !std::all_of(head_.target.begin(), head_.target.end(), is_visible)) {
    return fail(400, "malformed target");
  }
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    return fail(400, "malformed version");
  }
  if (version[5] != '1') return fail(505, "only HTTP/1.1 is spoken here");
  head_.minor_version = version[7] == '0' ? 0 : 1;
}

void MessageParser::on_status_line() {
  const std::string_view line = line_;
  // "HTTP/1.1 200", then a reason phrase that means nothing
  const bool shaped = line.size() >= 12 && line.starts_with("HTTP/1.") && is_digit(line[7]) && line[8] == ' ' &&
                      (line.size() == 12 || line[12] == ' ');
  const auto status = shaped ? parse_number(line.substr(9, 3), 10) : std::nullopt;
  if (!status || *status < 100) return fail(400, "malformed status line");
  head_.status = static_cast<int>(*status);
  head_.minor_version = line[7] == '0' ? 0 : 1;
}

void MessageParser::on_field(std::string_view line) {
  const auto colon = line.find(':');
  // No blank before the colon and no folded line passes as a token.
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return fail(400, "malformed field name");
  const std::string_view value = trim(line.substr(colon + 1));
  if (!std::all_of(value.begin(), value.end(), is_value_character)) return fail(400, "malformed field value");
  head_.fields.emplace_back(lower(line.substr(0, colon)), value);
}

void MessageParser::on_head_end() {
  const bool response = kind_ == MessageKind::kResponse;
  if (response && head_.status < 200) {  // interim; the real one follows
    if (head_.status == 101) return fail(400, "unasked for upgrade");
    head_ = {};
    start_line_seen_ = false;
    return;
  }
  std::optional<std::uint64_t> length;
  std::size_t hosts = 0;
  std::size_t encodings = 0;
  for (const auto& [name, value] : head_.fields) {
    if (name == "host") ++hosts;
    if (name == "transfer-encoding") ++encodings;
    if (name != "content-length") continue;
    const auto number = parse_number(value, 10);
    if (!number || (length && *length != *number)) return fail(400, "malformed content-length");
    length = number;
  }
  if (!response && (hosts > 1 || (hosts == 0 && head_.minor_version > 0))) return fail(400, "one host field is required");
  state_ = State::kBody;
  if (response && (no_body_ || head_.status == 204 || head_.status == 304)) {
    state_ = State::kDone;
  } else if (encodings > 0) {
    if (length || head_.minor_version == 0) return fail(400, "ambiguous body length");
    if (encodings > 1 || lower(*head_.find("transfer-encoding")) != "chunked") return fail(501, "unknown transfer coding");
    framing_ = Framing::kChunkSize;
  } else if (length) {
    if (*length > limits_.body_max) return fail(413, "body too large");
    remaining_ = *length;
    if (remaining_ == 0) state_ = State::kDone;
  } else if (response) {
    framing_ = Framing::kUntilClose;
  } else {
    state_ = State::kDone;
  }
}

void MessageParser::on_chunk_size() {
  const std::string_view line = line_;
  const auto size = parse_number(trim(line.substr(0, line.find(';'))), 16);
  if (!size) return fail(400, "malformed chunk size");
  if (*size > limits_.body_max - body_.size()) return fail(413, "body too large");
  remaining_ = *size;
  framing_ = remaining_ == 0 ? Framing::kTrailers : Framing::kChunkData;
}

void MessageParser::take_body(std::string_view& bytes) {
  std::size_t count = bytes.size();
  if (framing_ == Framing::kUntilClose) {
    if (count > limits_.body_max - body_.size()) return fail(413, "body too large");
  } else {
    count = static_cast<std::size_t>(std::min<std::uint64_t>(count, remaining_));
    remaining_ -= count;
  }
  body_ += bytes.substr(0, count);
  bytes.remove_prefix(count);
  if (framing_ == Framing::kUntilClose || remaining_ > 0) return;
  if (framing_ == Framing::kChunkData) {
    framing_ = Framing::kChunkEnd;
  } else {
    state_ = State::kDone;
  }
}

void MessageParser::fail(int status, std::string_view reason) {
  state_ = State::kFailed;
  failure_status_ = status;
  failure_ = reason;
}

}  // namespace weft::admin
