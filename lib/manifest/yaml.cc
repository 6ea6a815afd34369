// The only file that names yaml-cpp. Its event interface is used, not its node tree: aliases then expand under our own
// count, and a document costs one pass.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <istream>
#include <map>
#include <streambuf>

#include "lib/manifest/detail/builder.h"
#include "lib/manifest/documents.h"

namespace weft::manifest {
namespace {

// Leaves the parser from within an event; caught below.
struct StopParsing {};

// Reads text in place.
class ViewBuffer final : public std::streambuf {
 public:
  explicit ViewBuffer(std::string_view text) {
    char* begin = const_cast<char*>(text.data());  // never written: the buffer has no put area
    setg(begin, begin, begin + text.size());
  }
};

int line_of(const YAML::Mark& mark) { return mark.line + 1; }

class Handler final : public YAML::EventHandler {
 public:
  explicit Handler(const Limits& limits) : builder_(limits) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    anchors_.clear();
    start_ = mark;
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { done(builder_.null(line_of(mark)), anchor); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) {
      builder_.fail(line_of(mark), "an alias inside the value it names");
      throw StopParsing{};
    }
    done(builder_.copy(found->second, line_of(mark)), 0);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& text) override {
    const bool is_text = tag == "!" || tag == "tag:yaml.org,2002:str";
    if (!is_text && (text == "~" || text == "null" || text == "Null" || text == "NULL" || text.empty())) {
      done(builder_.null(line_of(mark)), anchor);
    } else {
      done(builder_.scalar(text, is_text, line_of(mark)), anchor);
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    begin(Value::Kind::kList, mark, anchor);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(Value::Kind::kMap, mark, anchor);
  }
  void OnMapEnd() override { end(); }

  // Where the document read last begins.
  const YAML::Mark& document_start() const { return start_; }
  detail::Builder& builder() { return builder_; }

 private:
  void begin(Value::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    if (!builder_.begin(kind, line_of(mark))) throw StopParsing{};
    open_anchors_.push_back(anchor);
  }
  void end() {
    const auto anchor = open_anchors_.back();
    open_anchors_.pop_back();
    done(builder_.end(), anchor);
  }
  void done(bool placed, YAML::anchor_t anchor) {
    if (!placed) throw StopParsing{};
    if (anchor == 0 || !builder_.latest()) return;
    if (!builder_.charge(*builder_.latest())) throw StopParsing{};
    anchors_[anchor] = *builder_.latest();
  }

  detail::Builder builder_;
  YAML::Mark start_ = YAML::Mark::null_mark();
  std::vector<YAML::anchor_t> open_anchors_;
  std::map<YAML::anchor_t, Value> anchors_;
};

}  // namespace

Documents read_yaml(std::string_view text, const Limits& limits) {
  Documents out;
  if (text.size() > limits.bytes) {
    out.error =
        Problem{Level::kError, "Unreadable", "", "the file is larger than " + std::to_string(limits.bytes) + " bytes", 0};
    return out;
  }
  // yaml-cpp takes a stray zero byte for the end of its input, which would hide what follows.
  if (auto zero = text.find('\0'); zero != text.npos && !text.starts_with("\xff\xfe") && !text.starts_with("\xfe\xff")) {
    const auto line = 1 + static_cast<int>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(zero), '\n'));
    out.error = Problem{Level::kError, "Unreadable", "", "a zero byte in the text", line};
    return out;
  }
  ViewBuffer buffer(text);
  std::istream stream(&buffer);
  Handler handler(limits);
  try {
    YAML::Parser parser(stream);
    int last_start = -1;
    for (std::size_t documents = 0; parser.HandleNextDocument(handler); ++documents) {
      auto document = handler.builder().take();
      const YAML::Mark start = handler.document_start();
      // yaml-cpp reads an empty document, again and again, before text that no document can begin with.
      if (start.pos == last_start) {
        handler.builder().fail(line_of(start), "not valid YAML: text that no document can begin with");
        break;
      }
      last_start = start.pos;
      if (documents >= limits.documents) {
        handler.builder().fail(line_of(start), "more documents than a file may have");
        break;
      }
      if (document && !document->is_null()) out.values.push_back(std::move(*document));
    }
  } catch (const StopParsing&) {
  } catch (const YAML::Exception& problem) {
    handler.builder().fail(problem.mark.is_null() ? 0 : line_of(problem.mark), "not valid YAML: " + problem.msg);
  } catch (const std::exception& problem) {
    handler.builder().fail(0, std::string("not readable as YAML: ") + problem.what());
  }
  out.error = handler.builder().error();
  return out;
}

}  // namespace weft::manifest
