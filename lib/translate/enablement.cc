// The settings by which the node agent, the CNI plugin and the node proxies are told who is in the mesh.
#include <algorithm>
#include <set>

#include "lib/manifest/documents.h"
#include "lib/translate/enrolment.h"

namespace weft::translate {
namespace {

using manifest::Value;

Result<manifest::LabelSelector> selector(const Value* value) {
  manifest::LabelSelector result;
  if (!value || value->is_null()) return result;
  const auto wrong = [](const char* what) {
    return fail(ErrorCode::kInvalidArgument, std::string("selector with ") + what);
  };
  if (!value->is_map()) return wrong("a value that is no map");
  for (const auto& member : value->members) {
    if (member.key == "matchLabels" && member.value.is_map()) {
      for (const auto& label : member.value.members) {
        if (!label.value.is_scalar()) return wrong("a label that is no text");
        result.labels[label.key] = label.value.text;
      }
    } else if (member.key == "matchExpressions" && member.value.is_list()) {
      for (const auto& item : member.value.items) {
        const auto* key = item.find("key");
        const auto* op = item.find("operator");
        const auto* values = item.find("values");
        if (!key || !key->is_scalar() || !op || !op->is_scalar()) return wrong("an expression without key or operator");
        manifest::LabelSelector::Expression expression{key->text, op->text, {}};
        static const std::set<std::string_view> kOperators{"In", "NotIn", "Exists", "DoesNotExist"};
        if (!kOperators.contains(expression.op)) return wrong("an operator that is none");
        for (const auto& one : values ? values->items : std::vector<Value>()) expression.values.push_back(one.text);
        result.expressions.push_back(std::move(expression));
      }
    } else {
      return wrong("a field that is none");
    }
  }
  return result;
}

}  // namespace

Result<std::vector<EnablementSelector>> parse_enablement(std::string_view yaml) {
  const auto documents = manifest::read_yaml(yaml, {});
  if (documents.error) return fail(ErrorCode::kInvalidArgument, documents.error->message);
  if (documents.values.size() != 1 || !documents.values.front().is_list())
    return fail(ErrorCode::kInvalidArgument, "is no list");
  std::vector<EnablementSelector> result;
  for (const auto& item : documents.values.front().items) {
    if (!item.is_map()) return fail(ErrorCode::kInvalidArgument, "has an item that is no map");
    EnablementSelector one;
    for (const auto& member : item.members) {
      if (member.key != "podSelector" && member.key != "namespaceSelector") {
        return fail(ErrorCode::kInvalidArgument, "has an unknown field " + member.key);
      }
    }
    WEFT_TRY(one.pod, selector(item.find("podSelector")));
    WEFT_TRY(one.namespace_, selector(item.find("namespaceSelector")));
    result.push_back(std::move(one));
  }
  return result;
}

std::set<std::string> parse_namespaces(std::string_view text) {
  std::set<std::string> names;
  while (!text.empty()) {
    auto name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    while (!name.empty() && name.front() == ' ') name.remove_prefix(1);
    while (!name.empty() && name.back() == ' ') name.remove_suffix(1);
    if (!name.empty()) names.emplace(name);
  }
  return names;
}

}  // namespace weft::translate
