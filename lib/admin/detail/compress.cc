#include "lib/admin/detail/compress.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>

#include "lib/base/check.h"

namespace weft::admin {
namespace {

// Fastest: a level more costs twice the time for a tenth of the size.
constexpr int kLevel = 1;
constexpr int kWindowBits = 15, kGzipFormat = 16, kMemoryLevel = 8;  // zlib.h
constexpr std::size_t kOutput = 16 * 1024;

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
  while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
  return text;
}

bool equals(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
}

// "q=0.5" as thousandths; what is none counts as refused.
int weight_of(std::string_view parameter) {
  if (parameter.empty()) return 1000;
  const auto equal = parameter.find('=');
  if (equal == parameter.npos || !equals(trim(parameter.substr(0, equal)), "q")) return 0;
  const auto text = trim(parameter.substr(equal + 1));
  double weight = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), weight);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || !(weight > 0) || weight > 1) return 0;
  return std::max(1, static_cast<int>(weight * 1000));
}

class Deflater {
 public:
  explicit Deflater(Coding coding) {
    const int format = coding == Coding::kGzip ? kWindowBits + kGzipFormat : kWindowBits;
    ready_ = ::deflateInit2(&stream_, kLevel, Z_DEFLATED, format, kMemoryLevel, Z_DEFAULT_STRATEGY) == Z_OK;
  }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  ~Deflater() {
    if (ready_) ::deflateEnd(&stream_);
  }
  bool ready() const { return ready_; }

  void feed(std::string_view input, bool last, std::string& out) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));  // zlib only reads it
    stream_.avail_in = static_cast<uInt>(input.size());
    do {
      char part[kOutput];
      stream_.next_out = reinterpret_cast<Bytef*>(part);
      stream_.avail_out = sizeof part;
      const int result = ::deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      WEFT_CHECK(result != Z_STREAM_ERROR);
      out.append(part, sizeof part - stream_.avail_out);
    } while (stream_.avail_out == 0);
  }

 private:
  z_stream stream_{};
  bool ready_ = false;
};

}  // namespace

std::string_view to_string(Coding coding) {
  switch (coding) {
    case Coding::kIdentity: return "identity";
    case Coding::kGzip: return "gzip";
    case Coding::kDeflate: return "deflate";
  }
  return "identity";
}

Coding choose_coding(std::string_view accept_encoding) {
  // -1: not named, so that "*" decides.
  int gzip = -1, deflate = -1, any = 0;
  while (!accept_encoding.empty()) {
    const auto item = accept_encoding.substr(0, accept_encoding.find(','));
    accept_encoding.remove_prefix(std::min(accept_encoding.size(), item.size() + 1));
    const auto semicolon = std::min(item.find(';'), item.size());
    const auto name = trim(item.substr(0, semicolon));
    const int weight = weight_of(trim(item.substr(std::min(semicolon + 1, item.size()))));
    if (equals(name, "gzip") || equals(name, "x-gzip")) gzip = weight;
    if (equals(name, "deflate")) deflate = weight;
    if (name == "*") any = weight;
  }
  if (gzip < 0) gzip = any;
  if (deflate < 0) deflate = any;
  if (gzip > 0 && gzip >= deflate) return Coding::kGzip;
  return deflate > 0 ? Coding::kDeflate : Coding::kIdentity;
}

Task<bool> compress(Loop& loop, Coding coding, std::string& body) {
  Deflater deflater(coding);
  if (!deflater.ready()) co_return false;
  std::string out;
  for (std::size_t at = 0;;) {
    const auto slice = std::string_view(body).substr(at, kCompressSlice);
    at += slice.size();
    const bool last = at == body.size();
    deflater.feed(slice, last, out);
    if (last) break;
    co_await yield_to(loop);
  }
  body = std::move(out);
  co_return true;
}

}  // namespace weft::admin
