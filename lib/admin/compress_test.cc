#include "lib/admin/detail/compress.h"

#include <zlib.h>

#include <catch2/catch_test_macros.hpp>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"

using namespace weft;
using namespace weft::admin;

namespace {

// By zlib in one go; only the format asked for is understood.
std::string uncompressed(const std::string& text, Coding coding) {
  z_stream stream{};
  REQUIRE(::inflateInit2(&stream, coding == Coding::kGzip ? 15 + 16 : 15) == Z_OK);
  std::string out(32 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  CHECK(::inflate(&stream, Z_FINISH) == Z_STREAM_END);
  CHECK(stream.avail_in == 0);
  out.resize(stream.total_out);
  ::inflateEnd(&stream);
  return out;
}

Task<void> make(Loop& loop, Coding coding, std::string& body, bool& done) { done = co_await compress(loop, coding, body); }

void count_turns(Loop& loop, const bool& done, std::size_t& turns) {
  if (done) return;
  ++turns;
  loop.post([&loop, &done, &turns] { count_turns(loop, done, turns); });
}

std::string numbers(std::size_t lines) {
  std::string text;
  for (std::size_t i = 0; i < lines; ++i)
    text += "istio_tcp_connections_opened_total{source_workload=\"web-" + std::to_string(i * 7919) + "\"} 1\n";
  return text;
}

}  // namespace

TEST_CASE("the best coding that a client allows is chosen, and none that it refuses or does not name") {
  struct Row {
    const char* field;
    Coding coding;
  };
  for (const auto& row : {
           Row{"", Coding::kIdentity},
           Row{"gzip", Coding::kGzip},
           Row{"GZip", Coding::kGzip},
           Row{"x-gzip", Coding::kGzip},
           Row{"deflate", Coding::kDeflate},
           Row{"deflate, gzip, br, zstd", Coding::kGzip},
           Row{"br;q=1.0, gzip;q=0.8, *;q=0.1", Coding::kGzip},
           Row{"gzip;q=0.2,deflate;q=0.9", Coding::kDeflate},
           Row{"gzip;q=0", Coding::kIdentity},
           Row{"gzip; q=0.0, deflate", Coding::kDeflate},
           Row{"*", Coding::kGzip},
           Row{"*;q=0", Coding::kIdentity},
           Row{"gzip;q=0, *", Coding::kDeflate},
           Row{"br, zstd", Coding::kIdentity},
           Row{"identity", Coding::kIdentity},
           Row{"gzip;q=2", Coding::kIdentity},
           Row{"gzip;q=", Coding::kIdentity},
           Row{"gzip;q=nan", Coding::kIdentity},
           Row{"gzip;level=9", Coding::kIdentity},
           Row{"gzipped", Coding::kIdentity},
           Row{",;,;;q=1,", Coding::kIdentity},
       }) {
    INFO(row.field);
    CHECK(to_string(choose_coding(row.field)) == to_string(row.coding));
  }
}

TEST_CASE("what was compressed is what comes out again, in both formats and at every size around a slice") {
  for (const auto coding : {Coding::kGzip, Coding::kDeflate}) {
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, kCompressSlice - 1, kCompressSlice, kCompressSlice + 1, 3 * kCompressSlice}) {
      const std::string text = numbers(5000).substr(0, size);
      INFO(to_string(coding) << " of " << size);
      REQUIRE(text.size() == size);
      std::string body = text;
      ManualLoop loop;
      REQUIRE(loop.run(compress(loop, coding, body)));
      CHECK(uncompressed(body, coding) == text);
      if (size >= kCompressMin) CHECK(body.size() < size / 4);
    }
  }
}

TEST_CASE("compressing a large page lets other work of its thread go on") {
  std::string body = numbers(150'000);
  const auto size = body.size();
  REQUIRE(size > 8'000'000);
  ManualLoop loop;
  Scope scope(loop);
  bool done = false;
  std::size_t turns = 0;
  scope.spawn(make(loop, Coding::kGzip, body, done));
  CHECK(!done);
  count_turns(loop, done, turns);
  loop.run_until_idle();
  loop.run(scope.join());
  CHECK(done);
  CHECK(turns >= size / kCompressSlice);
  CHECK(uncompressed(body, Coding::kGzip) == numbers(150'000));
}
