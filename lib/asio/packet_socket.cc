#include "lib/asio/packet_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "lib/asio/detail/descriptor.h"
#include "lib/asio/detail/unix_path.h"

namespace weft::asio {
namespace {

// Takes the descriptors out of a received message's control data.
std::vector<Fd> take_descriptors(msghdr& message) {
  std::vector<Fd> descriptors;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const auto count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

// One recvmsg(2). kUnavailable when nothing is there.
Result<io::Packet> receive_now(int fd, std::size_t size_max) {
  io::Packet packet;
  packet.data.resize(size_max);
  iovec part{packet.data.data(), packet.data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(io::kPacketDescriptorsMax * sizeof(int))> control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const auto got = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return fail_errno(errno, "receive a packet");
  packet.descriptors = take_descriptors(message);
  if (message.msg_flags & MSG_TRUNC)
    return fail(ErrorCode::kProtocol, "packet longer than " + std::to_string(size_max) + " bytes");
  if (message.msg_flags & MSG_CTRUNC)
    return fail(ErrorCode::kProtocol, "packet with too many descriptors, or this process has none free for them");
  if (got == 0) return fail(ErrorCode::kClosed, "connection closed by peer");
  packet.data.resize(static_cast<std::size_t>(got));
  return packet;
}

Result<void> send_now(int fd, std::string& data, std::optional<int> descriptor) {
  iovec part{data.data(), data.size()};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (descriptor) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &*descriptor, sizeof(int));
  }
  if (::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return fail_errno(errno, "send a packet");
  return {};
}

class UnixPacketSocket final : public io::PacketSocket {
 public:
  UnixPacketSocket(Loop& loop, Fd fd) : descriptor_(loop, std::move(fd)) {}

  Task<Result<io::Packet>> receive(std::size_t size_max, StopToken stop) override {
    StopCallback on_stop(stop, [this] { descriptor_.cancel(); });
    for (;;) {
      if (closed_ || stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connection closed by us");
      auto packet = receive_now(descriptor_.fd(), size_max);
      if (packet || packet.error().os_error() != EAGAIN) co_return packet;
      co_await descriptor_.ready(Descriptor::kRead);
    }
  }

  Task<Result<void>> send(std::string data, std::optional<int> descriptor, StopToken stop) override {
    StopCallback on_stop(stop, [this] { descriptor_.cancel(); });
    for (;;) {
      if (closed_ || stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connection closed by us");
      auto sent = send_now(descriptor_.fd(), data, descriptor);
      if (sent || sent.error().os_error() != EAGAIN) co_return sent;
      co_await descriptor_.ready(Descriptor::kWrite);
    }
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    ::shutdown(descriptor_.fd(), SHUT_RDWR);
    descriptor_.cancel();
  }

 private:
  Descriptor descriptor_;
  bool closed_ = false;
};

class UnixPacketListener final : public io::PacketListener {
 public:
  UnixPacketListener(Loop& loop, ListeningSocket socket)
      : loop_(loop), descriptor_(loop, std::move(socket.fd)), file_(std::move(socket.file)) {}
  ~UnixPacketListener() override { close(); }

  Task<Result<io::PacketSocketPtr>> accept(StopToken stop) override {
    StopCallback on_stop(stop, [this] { descriptor_.cancel(); });
    for (;;) {
      if (closed_ || stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "listener closed");
      Fd fd(::accept4(descriptor_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd) co_return std::make_unique<UnixPacketSocket>(loop_, std::move(fd));
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) co_return fail_errno(errno, "accept " + file_.path());
      co_await descriptor_.ready(Descriptor::kRead);
    }
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    file_.remove();
    ::shutdown(descriptor_.fd(), SHUT_RDWR);
    descriptor_.cancel();
    descriptor_.close();
  }

 private:
  Loop& loop_;
  Descriptor descriptor_;
  SocketFile file_;
  bool closed_ = false;
};

}  // namespace

Task<Result<io::PacketSocketPtr>> UnixPackets::connect(std::string path, StopToken stop) {
  if (stop.stop_requested()) co_return fail(ErrorCode::kCancelled, "connect " + path + ": cancelled");
  auto fd = connect_to(path, SOCK_SEQPACKET);
  if (!fd) co_return fail(std::move(fd).error());
  co_return std::make_unique<UnixPacketSocket>(loop_, std::move(*fd));
}

Result<io::PacketListenerPtr> UnixPackets::listen(const std::string& path, unsigned mode) {
  WEFT_TRY(auto socket, listen_at(path, SOCK_SEQPACKET, mode));
  return std::make_unique<UnixPacketListener>(loop_, std::move(socket));
}

}  // namespace weft::asio
