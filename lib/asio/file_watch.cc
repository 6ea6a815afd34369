// KernelFiles::watch: one inotify descriptor per watch, one mark per folder.
//
// Every event restarts a settle timer, within bounds (io::Files::settled_at); when it fires the set of marked folders is
// brought up to date and the callback runs. Folders are marked before the callback runs, and a folder that was new causes
// one more round: what was written into it before it was marked is then seen by the callback's own listing, or by the event
// that follows. An overflowed queue is just another event. A folder that cannot be marked or looked through, for whatever
// reason but being gone, is tried again every second, and so is the root even when it is gone: without a mark nothing would
// ever tell of it. A symbolic link to a folder is marked by its target's content, and the link itself by its parent.
#include <sys/inotify.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>

#include "lib/asio/detail/descriptor.h"
#include "lib/asio/files.h"
#include "lib/async/scope.h"
#include "lib/base/log.h"

namespace weft::asio {
namespace {

constexpr int kDepthMax = 4;
constexpr Duration kMarkAgain = std::chrono::seconds(1);
constexpr std::uint32_t kEvents = IN_CREATE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO |
                                  IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// Outlives the handle until its wait has come home.
struct WatchState : std::enable_shared_from_this<WatchState> {
  WatchState(Loop& owner, Fd inotify, std::string path, Duration delay, std::function<void()> callback)
      : loop(owner),
        descriptor(owner, std::move(inotify)),
        directory(std::move(path)),
        settle(delay),
        on_change(std::move(callback)),
        timer([this] { settled(); }),
        again([this] { settled(); }) {}

  void wait() {
    descriptor.when_ready(Descriptor::kRead, [self = shared_from_this()] {
      if (self->closed) return;
      self->drain();
      self->wait();
    });
  }

  void drain() {
    alignas(inotify_event) char events[4096];
    bool any = false;
    while (::read(descriptor.fd(), events, sizeof events) > 0) any = true;
    if (any) changed();
  }

  void changed() {
    const auto now = loop.now();
    if (!timer.armed()) first_change = now;
    loop.arm(timer, io::Files::settled_at(first_change, now, settle));
  }

  void settled() {
    if (closed) return;
    if (mark_all()) changed();
    auto keep_alive = shared_from_this();  // the callback may destroy the handle
    on_change();
  }

  void look_again(Duration after) {
    if (!again.armed()) loop.arm(again, loop.now() + after);
  }

  // True when a folder was not marked before.
  bool mark_all() {
    missed.clear();
    const bool fresh = mark(directory, 0);
    if (!missed.empty()) look_again(kMarkAgain);
    if (missed != missed_before) {
      if (missed.empty()) {
        WEFT_LOG(kInfo, "files", "folder is watched again", {"folder", directory});
      } else {
        WEFT_LOG(kWarn, "files", "folder cannot be watched, it is looked at every second", {"folder", directory},
                 {"error", missed});
      }
      missed_before = missed;
    }
    return fresh;
  }

  // Notes what cannot be watched. What is gone needs no mark: its parent, which has one, tells when it is back. A link to
  // nothing counts as gone.
  void miss(const std::error_code& error, const std::filesystem::path& path, int depth) {
    const bool gone = error == std::errc::no_such_file_or_directory;
    if (!error || (gone && depth > 0) || !missed.empty()) return;
    const char* hint = error == std::errc::no_space_on_device ? " (raise fs.inotify.max_user_watches?)" : "";
    missed = Error::from_errno(error.value(), "watch " + path.string() + hint).message();
  }

  // A folder and those below it.
  bool mark(const std::filesystem::path& folder, int depth) {
    const int id = ::inotify_add_watch(descriptor.fd(), folder.c_str(), kEvents);
    if (id < 0) {
      miss(std::error_code(errno, std::generic_category()), folder, depth);
      return false;
    }
    bool fresh = marks.insert(id).second;  // the kernel gives one folder one number, and no number twice
    std::error_code error;
    if (depth == kDepthMax) return fresh;
    for (std::filesystem::directory_iterator entries(folder, error), end; !error && entries != end;
         entries.increment(error)) {
      std::error_code unseen;
      if (entries->is_directory(unseen) && mark(entries->path(), depth + 1)) fresh = true;
      miss(unseen, entries->path(), depth + 1);
    }
    miss(error, folder, depth);  // increment() ends the loop with it
    return fresh;
  }

  Loop& loop;
  Descriptor descriptor;
  std::string directory;
  Duration settle;
  std::function<void()> on_change;
  Timer timer, again;
  std::set<int> marks;
  MonotonicTime first_change{};       // of those that the armed timer waits to settle
  std::string missed, missed_before;  // the first error of the last mark_all() and of the one before; empty without
  bool closed = false;
};

class FileWatch final : public io::Files::Watch {
 public:
  explicit FileWatch(std::shared_ptr<WatchState> state) : state_(std::move(state)) {}
  ~FileWatch() override {
    state_->closed = true;
    state_->timer.cancel();
    state_->again.cancel();
    state_->descriptor.close();
  }
  void look_again(Duration after) override { state_->look_again(after); }

 private:
  std::shared_ptr<WatchState> state_;
};

}  // namespace

Result<std::unique_ptr<io::Files::Watch>> KernelFiles::watch(const std::string& directory, Duration settle,
                                                             std::function<void()> on_change) {
  Fd fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!fd) return fail_errno(errno, "inotify_init (raise fs.inotify.max_user_instances?)");
  const int raw = fd.get();
  if (::inotify_add_watch(raw, directory.c_str(), kEvents) < 0) return fail_errno(errno, "watch " + directory);
  auto state = std::make_shared<WatchState>(loop_, std::move(fd), directory, settle, std::move(on_change));
  state->mark_all();
  state->wait();
  return std::make_unique<FileWatch>(std::move(state));
}

}  // namespace weft::asio
