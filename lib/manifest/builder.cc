#include "lib/manifest/detail/builder.h"

#include <algorithm>

namespace weft::manifest::detail {

namespace {
// Up to here a map is searched from its start; longer ones get an index.
constexpr std::size_t kShortMap = 16;
}  // namespace

bool Builder::fail(int line, std::string message) {
  if (!error_) error_ = Problem{Level::kError, "Unreadable", "", std::move(message), line};
  return false;
}

bool Builder::charge_one(std::size_t text, int line) {
  if (++values_ > limits_.values) return fail(line, "more values than a file may have; are aliases multiplying?");
  text_bytes_ += text;
  if (text_bytes_ > limits_.text_bytes) return fail(line, "more text than a file may have; are aliases multiplying?");
  return true;
}

bool Builder::charge(const Value& value) {
  if (!charge_one(value.text.size(), value.line)) return false;
  for (const auto& item : value.items) {
    if (!charge(item)) return false;
  }
  for (const auto& member : value.members) {
    if (!charge_one(member.key.size(), member.line) || !charge(member.value)) return false;
  }
  return true;
}

bool Builder::begin(Value::Kind kind, int line) {
  if (error_) return false;
  if (static_cast<int>(open_.size()) >= limits_.depth) return fail(line, "nested too deeply");
  if (!open_.empty() && open_.back().value.is_map() && !open_.back().key) return fail(line, "a key must be plain text");
  if (!charge_one(0, line)) return false;
  open_.push_back({});
  open_.back().value.kind = kind;
  open_.back().value.line = line;
  return true;
}

bool Builder::end() {
  if (error_) return false;
  Value done = std::move(open_.back().value);
  open_.pop_back();
  if (done.is_map()) merge(done);
  return place(std::move(done));
}

bool Builder::scalar(std::string text, bool quoted, int line) {
  if (error_ || !charge_one(text.size(), line)) return false;
  Value value;
  value.kind = Value::Kind::kScalar;
  value.quoted = quoted;
  value.line = line;
  value.text = std::move(text);
  return place(std::move(value));
}

bool Builder::null(int line) {
  if (error_ || !charge_one(0, line)) return false;
  Value value;
  value.line = line;
  return place(std::move(value));
}

namespace {
int depth_of(const Value& value) {
  int deepest = 0;
  for (const auto& item : value.items) deepest = std::max(deepest, depth_of(item));
  for (const auto& member : value.members) deepest = std::max(deepest, depth_of(member.value));
  return value.is_list() || value.is_map() ? deepest + 1 : 0;
}
}  // namespace

bool Builder::copy(const Value& value, int line) {
  if (error_ || !charge(value)) return false;
  if (static_cast<int>(open_.size()) + depth_of(value) > limits_.depth) return fail(line, "nested too deeply");
  return place(value);
}

bool Builder::place(Value value) {
  latest_ = nullptr;
  if (open_.empty()) {
    root_ = std::move(value);
    latest_ = &*root_;
    return true;
  }
  auto& parent = open_.back();
  if (parent.value.is_list()) {
    parent.value.items.push_back(std::move(value));
    latest_ = &parent.value.items.back();
    return true;
  }
  if (!parent.key) return take_key(std::move(value));
  auto [key, line] = std::move(*parent.key);
  parent.key.reset();
  return add_member(parent, std::move(key), line, std::move(value));
}

bool Builder::take_key(Value value) {
  if (value.is_null()) value.text = "null";
  if (value.is_list() || value.is_map()) return fail(value.line, "a key must be plain text");
  open_.back().key.emplace(std::move(value.text), value.line);
  return true;
}

bool Builder::add_member(Open& map, std::string key, int line, Value value) {
  auto& members = map.value.members;
  if (members.size() == kShortMap) {
    for (const auto& member : members) map.keys.insert(member.key);
  }
  const bool twice = members.size() < kShortMap ? map.value.find(key) != nullptr : !map.keys.insert(key).second;
  if (twice) return fail(line, "the key \"" + key.substr(0, 100) + "\" is written twice");
  map.value.members.push_back({std::move(key), line, std::move(value)});
  latest_ = &map.value.members.back().value;
  return true;
}

// YAML's merge key: members of the merged maps that are not written here count as written here.
void Builder::merge(Value& map) {
  auto found = std::find_if(map.members.begin(), map.members.end(), [](const Member& m) { return m.key == "<<"; });
  if (found == map.members.end()) return;
  Value source = std::move(found->value);
  map.members.erase(found);
  std::set<std::string> keys;
  for (const auto& member : map.members) keys.insert(member.key);
  auto take_over = [&](Value& from) {
    for (auto& member : from.members) {
      if (keys.insert(member.key).second) map.members.push_back(std::move(member));
    }
  };
  if (source.is_map()) take_over(source);
  for (auto& item : source.items) take_over(item);
}

std::optional<Value> Builder::take() {
  latest_ = nullptr;
  return std::exchange(root_, std::nullopt);
}

}  // namespace weft::manifest::detail
