#include "tools/weftctl/analyze.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "lib/sources/read.h"
#include "lib/translate/translate.h"

namespace weft::ctl {
namespace {

using manifest::Level;
using translate::Condition;

// One object, or one document or file that is none, with what is said about it.
struct Entry {
  std::string file;
  int line = 0;
  std::string kind, namespace_name, name;
  std::vector<Condition> conditions;
};

Entry entry_of(translate::ObjectStatus&& status) {
  const auto& object = *status.object;
  return {object.file, object.line, object.kind, object.meta.namespace_, object.meta.name, std::move(status.conditions)};
}

Entry entry_of(sources::FileProblem&& found) {
  auto& problem = found.problem;
  return {
      std::move(found.file),
      problem.line,
      "",
      "",
      "",
      {{translate::kAccepted, "False", std::move(problem.reason), std::move(problem.message), problem.level, problem.line}}};
}

// A remark leaves the object fully applied and asks nobody to act.
bool is_finding(const Condition& condition) {
  return condition.status == "False" ? condition.reason != "Replaced" : condition.level != Level::kInfo;
}

bool is_told(const Condition& condition) { return is_finding(condition) || condition.reason != "Accepted"; }

// Findings of one type, reason and level become one condition with all their messages, in the order of the first.
std::vector<Condition> by_reason(const std::vector<Condition>& conditions) {
  std::vector<Condition> out;
  for (const auto& condition : conditions) {
    auto same = std::find_if(out.begin(), out.end(), [&](const Condition& other) {
      return std::tie(other.type, other.status, other.reason, other.level) ==
             std::tie(condition.type, condition.status, condition.reason, condition.level);
    });
    if (same == out.end()) {
      out.push_back(condition);
    } else {
      same->message += "; " + condition.message;
    }
  }
  return out;
}

std::string to_json(const std::vector<Entry>& entries) {
  auto array = nlohmann::ordered_json::array();
  for (const auto& entry : entries) {
    auto conditions = nlohmann::ordered_json::array();
    for (const auto& condition : by_reason(entry.conditions)) {
      conditions.push_back({{"type", condition.type},
                            {"status", condition.status},
                            {"reason", condition.reason},
                            {"message", condition.message},
                            {"level", to_string(condition.level)}});
    }
    array.push_back({{"file", entry.file},
                     {"line", entry.line},
                     {"kind", entry.kind},
                     {"namespace", entry.namespace_name},
                     {"name", entry.name},
                     {"conditions", std::move(conditions)}});
  }
  // Text of manifests may hold bytes that are no UTF-8.
  return array.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

struct Counts {
  int errors = 0, warnings = 0, remarks = 0;
};

std::string counted(int count, const char* one) { return std::to_string(count) + " " + one + (count == 1 ? "" : "s"); }

class TextWriter {
 public:
  explicit TextWriter(Colour colour) : colour_(colour == Colour::kYes) {}

  void entry(const Entry& entry) {
    for (const auto& condition : entry.conditions) {
      // Findings say the same; this type is for status fields.
      if (condition.type == translate::kZtunnelAccepted || !is_told(condition)) continue;
      const int line = condition.line ? condition.line : entry.line;
      paint("1", one_line(entry.file) + (line ? ":" + std::to_string(line) : "") + ": ");
      level(condition.level);
      const auto where = entry.namespace_name.empty() ? "" : entry.namespace_name + "/";
      const auto object = entry.kind.empty() ? "" : entry.kind + " " + where + entry.name + ": ";
      out_ += one_line(object + condition.reason + ": " + condition.message) + "\n";
    }
  }

  std::string finish(std::size_t objects, std::size_t files) {
    out_ += counted(static_cast<int>(objects), "object") + " in " + counted(static_cast<int>(files), "file") + ": " +
            counted(counts_.errors, "error") + ", " + counted(counts_.warnings, "warning") + ", " +
            counted(counts_.remarks, "remark") + "\n";
    return std::move(out_);
  }

 private:
  void paint(const char* code, const std::string& text) {
    out_ += colour_ ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
  }
  void level(Level level) {
    if (level == Level::kError) {
      ++counts_.errors;
      paint("31", "error: ");
    } else if (level == Level::kWarning) {
      ++counts_.warnings;
      paint("33", "warning: ");
    } else {
      ++counts_.remarks;
      paint("36", "info: ");
    }
  }
  // Files may be hostile: nothing of theirs moves the cursor.
  static std::string one_line(std::string text) {
    std::replace_if(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    return text;
  }

  const bool colour_;
  std::string out_;
  Counts counts_;
};

}  // namespace

Analysis analyze(io::Files& files, const AnalyzeOptions& options) {
  auto read = sources::read_manifests(files, options.paths, {.default_namespace = options.default_namespace});
  auto output = translate::translate(read.objects, options.translate);
  std::vector<Entry> entries;
  for (auto& status : output.statuses) entries.push_back(entry_of(std::move(status)));
  for (auto& problem : read.problems) entries.push_back(entry_of(std::move(problem)));
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return std::tie(a.file, a.line) < std::tie(b.file, b.line); });

  Analysis analysis;
  for (const auto& entry : entries) {
    if (std::any_of(entry.conditions.begin(), entry.conditions.end(), is_finding)) analysis.exit_status = kFindings;
  }
  if (read.unreadable > 0) analysis.exit_status = kUnreadable;
  if (options.format == Format::kJson) {
    analysis.text = to_json(entries);
    return analysis;
  }
  TextWriter writer(options.colour);
  for (const auto& entry : entries) writer.entry(entry);
  analysis.text = writer.finish(read.objects.size(), read.files);
  return analysis;
}

}  // namespace weft::ctl
