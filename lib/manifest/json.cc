#include <iterator>
#include <nlohmann/json.hpp>

#include "lib/manifest/detail/builder.h"
#include "lib/manifest/documents.h"

namespace weft::manifest {
namespace {

// Walks the text and counts lines on the way, because nlohmann's events carry no position.
class LineCounting {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  LineCounting(const char* at, int* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  LineCounting& operator++() {
    if (*at_ == '\n') ++*line_;
    ++at_;
    return *this;
  }
  LineCounting operator++(int) {
    auto before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const LineCounting& a, const LineCounting& b) { return a.at_ == b.at_; }
  friend bool operator!=(const LineCounting& a, const LineCounting& b) { return a.at_ != b.at_; }

 private:
  const char* at_;
  int* line_;
};

class Handler {
 public:
  Handler(const Limits& limits, const int& line) : builder_(limits), line_(line) {}

  using Json = nlohmann::json;
  bool null() { return builder_.null(line_); }
  bool boolean(bool value) { return builder_.scalar(value ? "true" : "false", false, line_); }
  bool number_integer(Json::number_integer_t value) { return builder_.scalar(std::to_string(value), false, line_); }
  bool number_unsigned(Json::number_unsigned_t value) { return builder_.scalar(std::to_string(value), false, line_); }
  bool number_float(Json::number_float_t, const std::string& text) { return builder_.scalar(text, false, line_); }
  bool string(std::string& value) { return builder_.scalar(std::move(value), true, line_); }
  bool binary(Json::binary_t&) { return false; }
  bool key(std::string& value) { return builder_.scalar(std::move(value), true, line_); }
  bool start_object(std::size_t) { return builder_.begin(Value::Kind::kMap, line_); }
  bool end_object() { return builder_.end(); }
  bool start_array(std::size_t) { return builder_.begin(Value::Kind::kList, line_); }
  bool end_array() { return builder_.end(); }
  bool parse_error(std::size_t, const std::string&, const Json::exception& problem) {
    return builder_.fail(line_, std::string("not valid JSON: ") + problem.what());
  }

  detail::Builder& builder() { return builder_; }

 private:
  detail::Builder builder_;
  const int& line_;
};

}  // namespace

Documents read_json(std::string_view text, const Limits& limits) {
  Documents out;
  if (text.size() > limits.bytes) {
    out.error =
        Problem{Level::kError, "Unreadable", "", "the file is larger than " + std::to_string(limits.bytes) + " bytes", 0};
    return out;
  }
  if (text.find_first_not_of(" \t\r\n") == text.npos) return out;
  int line = 1;
  Handler handler(limits, line);
  try {
    nlohmann::json::sax_parse(LineCounting(text.data(), &line), LineCounting(text.data() + text.size(), &line), &handler);
  } catch (const std::exception& problem) {
    handler.builder().fail(line, std::string("not readable as JSON: ") + problem.what());
  }
  out.error = handler.builder().error();
  if (!out.error && handler.builder().complete()) {
    if (auto document = handler.builder().take(); document && !document->is_null())
      out.values.push_back(std::move(*document));
  }
  return out;
}

}  // namespace weft::manifest
