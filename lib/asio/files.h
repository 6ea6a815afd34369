// io::Files on the kernel's file system, watching with inotify(7).
#pragma once

#include "lib/asio/loop.h"
#include "lib/io/files.h"

namespace weft::asio {

class KernelFiles final : public io::Files {
 public:
  explicit KernelFiles(Loop& loop) : loop_(loop) {}
  Result<std::string> read(const std::string& path, std::size_t size_max) override;
  Result<std::vector<std::string>> list(const std::string& directory) override;
  Result<void> write(const std::string& path, std::string_view content, unsigned mode) override;
  Result<void> make_directory(const std::string& path, unsigned mode) override;
  Result<void> remove(const std::string& path) override;
  Result<std::unique_ptr<Watch>> watch(const std::string& directory, Duration settle,
                                       std::function<void()> on_change) override;

 private:
  Loop& loop_;
};

}  // namespace weft::asio
