#include "ztunnel/dump/writer.h"

#include <algorithm>

namespace weft::ztunnel::dump {
namespace {

constexpr std::size_t kIndent = 2;

}  // namespace

void Writer::new_line() {
  text_ += '\n';
  text_.append(kIndent * open_.size(), ' ');
}

void Writer::separate() {
  if (open_.empty()) return;
  if (!open_.back().empty) text_ += ',';
  open_.back().empty = false;
  new_line();
}

void Writer::put_key(std::string_view key) {
  separate();
  text_ += to_text(Json(key));
  text_ += ": ";
}

// Line ends inside texts are escaped, so each one here is followed by an indent.
void Writer::put(const Json& value) {
  const std::string alone = to_text(value);
  for (std::size_t at = 0; at < alone.size();) {
    const auto end = std::min(alone.find('\n', at), alone.size());
    text_.append(alone, at, end - at);
    if (end < alone.size()) new_line();
    at = end + 1;
  }
}

void Writer::begin(char bracket) {
  separate();
  text_ += bracket;
  open_.push_back({bracket == '{' ? '}' : ']'});
}

void Writer::begin(std::string_view key, char bracket) {
  put_key(key);
  text_ += bracket;
  open_.push_back({bracket == '{' ? '}' : ']'});
}

void Writer::end() {
  const Level level = open_.back();
  open_.pop_back();
  if (!level.empty) new_line();
  text_ += level.closing;
}

void Writer::element(const Json& value) {
  separate();
  put(value);
}

void Writer::member(std::string_view key, const Json& value) {
  put_key(key);
  put(value);
}

Task<void> Writer::pause() {
  co_await yield_to(loop_);
  next_pause_ = text_.size() + kSliceBytes;
}

}  // namespace weft::ztunnel::dump
