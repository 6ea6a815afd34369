// Compression of answers for clients that ask for it (RFC 9110 §12.5.3, RFC 1950 to 1952). Pages of numbers are mostly
// labels said again and again and shrink to a twentieth.
//
// gzip and deflate only, by zlib: everybody who scrapes or downloads speaks gzip, and br and zstd would add two libraries
// for a few percent.
#pragma once

#include <string>
#include <string_view>

#include "lib/async/loop.h"

namespace weft::admin {

enum class Coding { kIdentity, kGzip, kDeflate };
std::string_view to_string(Coding coding);

// What an Accept-Encoding field allows, gzip before deflate; kIdentity when it is absent or allows neither.
Coding choose_coding(std::string_view accept_encoding);

// Shorter answers are sent as they are: they fit one packet either way.
inline constexpr std::size_t kCompressMin = 1400;
// Compressed between two turns of the loop, about a millisecond's work.
inline constexpr std::size_t kCompressSlice = 64 * 1024;

// Replaces `body` by its compressed form. False, and nothing changed, when zlib cannot be had (no memory). `body` outlives
// the task.
Task<bool> compress(Loop& loop, Coding coding, std::string& body);

}  // namespace weft::admin
