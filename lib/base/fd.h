// Owning file descriptor: closed on destruction, move-only.
#pragma once

#include <utility>

namespace weft {

class Fd {
 public:
  Fd() = default;
  // Takes ownership; a negative number means "none".
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset();
  // A second descriptor for the same file, close-on-exec; none when the process is out of descriptors.
  Fd duplicate() const;

 private:
  int fd_ = -1;
};

}  // namespace weft
