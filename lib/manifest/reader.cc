#include "lib/manifest/reader.h"

#include <charconv>

namespace weft::manifest {

std::string join_path(std::string_view path, std::string_view name) {
  std::string out(path);
  if (name.find_first_of("./ []") != name.npos || name.empty()) return out + "[" + std::string(name.substr(0, 200)) + "]";
  if (!out.empty()) out += '.';
  return out.append(name.substr(0, 200));
}

void Reader::problem(Level level, std::string reason, std::string message) const {
  problems_->add({level, std::move(reason), path_, std::move(message), line()});
}

void Reader::wrong_shape(std::string_view expected) const {
  static constexpr std::string_view kShapes[] = {"nothing", "a plain value", "a list", "a map"};
  problem(Level::kError, "InvalidValue",
          "expected " + std::string(expected) + ", found " + std::string(kShapes[static_cast<int>(value_->kind)]));
}

Reader Reader::child(std::string_view name) const {
  return Reader(value_ ? value_->find(name) : nullptr, join_path(path_, name), problems_);
}

Reader Reader::any(std::string_view name) const { return child(name); }

Reader Reader::map(std::string_view name) const {
  auto found = child(name);
  if (found && !found.value_->is_map()) {
    found.wrong_shape("a map");
    found.value_ = nullptr;
  }
  return found;
}

std::vector<Reader> Reader::list(std::string_view name) const {
  std::vector<Reader> out;
  auto found = child(name);
  if (!found) return out;
  if (!found.value_->is_list()) {
    found.wrong_shape("a list");
    return out;
  }
  out.reserve(found.value_->items.size());
  for (std::size_t i = 0; i < found.value_->items.size(); ++i)
    out.emplace_back(&found.value_->items[i], found.path_ + "[" + std::to_string(i) + "]", problems_);
  return out;
}

std::vector<std::pair<std::string, Reader>> Reader::entries(std::string_view name) const {
  std::vector<std::pair<std::string, Reader>> out;
  auto found = map(name);
  if (!found) return out;
  for (const auto& member : found.value_->members)
    out.emplace_back(member.key, Reader(&member.value, join_path(found.path_, member.key), problems_));
  return out;
}

std::optional<std::string> Reader::as_text() const {
  if (!*this) return std::nullopt;
  if (!value_->is_scalar()) {
    wrong_shape("a plain value");
    return std::nullopt;
  }
  return value_->text;
}

std::optional<std::int64_t> Reader::as_integer(std::int64_t min, std::int64_t max) const {
  auto text = as_text();
  if (!text) return std::nullopt;
  std::int64_t number = 0;
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error == std::errc() && end == text->data() + text->size() && number >= min && number <= max) return number;
  problem(Level::kError, "InvalidValue",
          "expected a whole number from " + std::to_string(min) + " to " + std::to_string(max) + ", found \"" +
              text->substr(0, 100) + "\"");
  return std::nullopt;
}

std::string Reader::text(std::string_view name, std::string_view fallback) const {
  auto found = child(name).as_text();
  return found ? std::move(*found) : std::string(fallback);
}

bool Reader::boolean(std::string_view name, bool fallback) const {
  auto found = child(name);
  auto text = found.as_text();
  if (!text) return fallback;
  if (*text == "true" || *text == "True" || *text == "TRUE") return true;
  if (*text == "false" || *text == "False" || *text == "FALSE") return false;
  found.problem(Level::kError, "InvalidValue", "expected true or false, found \"" + text->substr(0, 100) + "\"");
  return fallback;
}

std::optional<std::int64_t> Reader::integer(std::string_view name, std::int64_t min, std::int64_t max) const {
  return child(name).as_integer(min, max);
}

std::vector<std::string> Reader::texts(std::string_view name) const {
  std::vector<std::string> out;
  for (auto& item : list(name)) {
    if (!item) {
      item.problem(Level::kError, "InvalidValue", "expected a plain value, found nothing");
    } else if (auto text = item.as_text()) {
      out.push_back(std::move(*text));
    }
  }
  return out;
}

std::map<std::string, std::string> Reader::text_map(std::string_view name) const {
  std::map<std::string, std::string> out;
  for (auto& [key, entry] : entries(name)) {
    if (!entry) {
      out.emplace(key, "");
    } else if (auto text = entry.as_text()) {
      out.emplace(key, std::move(*text));
    }
  }
  return out;
}

}  // namespace weft::manifest
