#include "lib/uring/ring.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "lib/base/check.h"
#include "lib/uring/buffer_ring.h"

namespace weft::uring {
namespace {

Error explain(int os_error) {
  Error error = Error::from_errno(os_error, "io_uring_setup");
  if (os_error == ENOMEM) return std::move(error).within("raise the locked-memory limit");
  return std::move(error).within("this host or container does not allow io_uring");
}

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create(const RingOptions& options) {
  std::unique_ptr<Ring> ring(new Ring);
  const unsigned modes[] = {IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN, IORING_SETUP_COOP_TASKRUN, 0};
  int result = -EINVAL;
  for (const unsigned mode : modes) {
    if ((mode & IORING_SETUP_DEFER_TASKRUN) && !options.defer_taskrun) continue;
    io_uring_params params{};
    params.flags = mode | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    params.cq_entries = options.completion_entries;
    result = io_uring_queue_init_params(options.entries, &ring->ring_, &params);
    if (result == 0) ring->defer_taskrun_ = (mode & IORING_SETUP_DEFER_TASKRUN) != 0;
    if (result != -EINVAL) break;
  }
  if (result < 0) {
    ring->ring_.ring_fd = -1;
    return fail(explain(-result));
  }
  if (!(ring->ring_.features & IORING_FEAT_EXT_ARG)) return fail(ErrorCode::kUnsupported, "io_uring without timed waits");
  io_uring_register_ring_fd(&ring->ring_);  // saves a look-up per system call; older kernels do without
  ring->limited_multishot_ = options.limited_multishot && ring->probe_limited_multishot();
  return ring;
}

Ring::~Ring() {
  if (ring_.ring_fd >= 0) io_uring_queue_exit(&ring_);
}

io_uring_sqe* Ring::prepare(Operation* operation) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (!sqe) {
    io_uring_submit(&ring_);
    sqe = io_uring_get_sqe(&ring_);
    WEFT_CHECK(sqe != nullptr);
  }
  io_uring_sqe_set_data(sqe, operation);
  return sqe;
}

void Ring::prepare_receive(Operation& operation, int fd, unsigned group, std::size_t limit) {
  io_uring_sqe* sqe = prepare(&operation);
  io_uring_prep_recv(sqe, fd, nullptr, 0, 0);
  sqe->flags |= IOSQE_BUFFER_SELECT;
  sqe->buf_group = static_cast<std::uint16_t>(group);
  if (!limited_multishot_) return;
  sqe->ioprio |= IORING_RECV_MULTISHOT;
  sqe->file_index = static_cast<std::uint32_t>(limit);  // the kernel's `optlen`; older ones refuse it with EINVAL
}

bool Ring::probe_limited_multishot() {
  auto buffers = BufferRing::create(*this, 1, {.count = 8, .size = 64});
  if (!buffers) return false;
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return false;
  // Four bytes are waiting and the limit is two: a kernel with the feature delivers them and ends, since it counts after
  // each receive; one without refuses, and one that ignored it would go on waiting.
  bool limited = false;
  if (::send(pair[1], "1234", 4, MSG_NOSIGNAL) == 4) {
    struct : Operation {
      void complete(int, unsigned) override {}
    } operation;
    limited_multishot_ = true;
    prepare_receive(operation, pair[0], 1, 2);
    io_uring_cqe* cqe = nullptr;
    __kernel_timespec second{.tv_sec = 1, .tv_nsec = 0};
    bool ended = false;
    std::size_t received = 0;
    while (!ended) {
      if (io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &second, nullptr) < 0 || !cqe) break;
      ended = !(cqe->flags & IORING_CQE_F_MORE);
      limited = cqe->res >= 0;
      if (cqe->res > 0) received += static_cast<std::size_t>(cqe->res);
      io_uring_cqe_seen(&ring_, cqe);
    }
    limited = limited && ended && received == 4;
  }
  ::close(pair[0]);
  ::close(pair[1]);
  return limited;
}

std::string Ring::describe() const {
  std::string text = defer_taskrun_ ? "deferred completions" : "immediate completions";
  return text + (limited_multishot_ ? ", limited multishot receive" : ", single receives");
}

}  // namespace weft::uring
