// Unix socket files.
#pragma once

#include <sys/types.h>

#include <string>

#include "lib/base/fd.h"
#include "lib/base/result.h"

namespace weft::asio {

// The file of a listening socket, to be removed with it. Who listens at the path later replaces the file, and keeps his own:
// ours is known by its number, which no other file gets before the socket is closed.
class SocketFile {
 public:
  SocketFile(std::string path, dev_t device, ino_t inode) : path_(std::move(path)), device_(device), inode_(inode) {}
  const std::string& path() const { return path_; }
  // Once; then, and where the file is another one by now, nothing happens. The socket is still open.
  void remove();

 private:
  std::string path_;
  dev_t device_;
  ino_t inode_;
  bool removed_ = false;
};

struct ListeningSocket {
  Fd fd;
  SocketFile file;
};

// A non-blocking socket of `type` that listens at `path`, which is replaced when it is a socket and gets permissions `mode`.
Result<ListeningSocket> listen_at(const std::string& path, int type, unsigned mode);
// A non-blocking socket of `type` connected to `path`. Unix connections are made at once or not at all.
Result<Fd> connect_to(const std::string& path, int type);

}  // namespace weft::asio
