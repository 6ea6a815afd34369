// The bytes that bulk transfers carry: one fixed block of random words, repeated. A byte's value follows from its position
// in the transfer alone, so each end checks what it receives without being told what was sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

namespace weft::load {

// The largest piece one read or write handles. Small enough for a core's cache together with the pattern.
inline constexpr std::size_t kPieceMax = 128 * 1024;

class Pattern {
 public:
  // The block is a prime number of words long, so a piece that is lost, doubled or moved by any size a proxy works in
  // (powers of two, record sizes) shows as different bytes.
  static constexpr std::size_t kPeriod = 32'749 * sizeof(std::uint64_t);

  Pattern() : bytes_(std::make_unique<char[]>(kPeriod + kPieceMax)) {
    std::uint64_t state = 0x9e3779b97f4a7c15;
    for (std::size_t at = 0; at < kPeriod; at += sizeof state) {
      const std::uint64_t word = mix(state += 0x9e3779b97f4a7c15);
      std::memcpy(bytes_.get() + at, &word, sizeof word);
    }
    std::memcpy(bytes_.get() + kPeriod, bytes_.get(), kPieceMax);
  }

  // kPieceMax bytes as they are from `position` on.
  const char* at(std::uint64_t position) const { return bytes_.get() + position % kPeriod; }

  // Compares every byte. `size` is at most kPieceMax.
  bool equal(std::uint64_t position, const char* data, std::size_t size) const {
    return std::memcmp(at(position), data, size) == 0;
  }

  // Compares the first and last eight bytes: what a measured transfer can afford, and enough to see a piece that is
  // lost, doubled or moved.
  bool edges_equal(std::uint64_t position, const char* data, std::size_t size) const {
    if (size <= 2 * sizeof(std::uint64_t)) return equal(position, data, size);
    const std::size_t last = size - sizeof(std::uint64_t);
    return equal(position, data, sizeof(std::uint64_t)) && equal(position + last, data + last, sizeof(std::uint64_t));
  }

 private:
  // The finalizer of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::unique_ptr<char[]> bytes_;
};

}  // namespace weft::load
