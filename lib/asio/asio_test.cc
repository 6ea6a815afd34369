#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <filesystem>

#include "lib/asio/files.h"
#include "lib/asio/loop.h"
#include "lib/asio/packet_socket.h"
#include "lib/asio/unix_socket.h"
#include "lib/async/scope.h"
#include "tests/support/captured_log.h"
#include "tests/support/count.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace std::chrono_literals;

namespace {

Task<void> finish(asio::Loop& loop, Task<void> body) {
  co_await std::move(body);
  loop.stop();
}

void run(asio::Loop& loop, Task<void> body) {
  Scope scope(loop);
  scope.spawn(finish(loop, std::move(body)));
  loop.run();
}

Task<void> unix_echo(asio::Loop& loop, std::string path) {
  auto nobody = co_await asio::connect_unix(loop, path, {});
  REQUIRE(!nobody);
  CHECK(nobody.error().code() == ErrorCode::kNotFound);
  auto listener = asio::listen_unix(loop, path, 0600);
  REQUIRE(listener);
  struct stat status;
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  auto client = co_await asio::connect_unix(loop, path, {});
  REQUIRE(client);
  auto accepted = co_await (*listener)->accept({});
  REQUIRE(accepted);
  auto written = co_await (*client)->write(BufferChain(Buffer::copy_of("question")));
  CHECK(written);
  auto finished = co_await (*client)->shutdown_write();
  CHECK(finished);
  auto got = co_await accepted->stream->read(100);
  REQUIRE(got);
  CHECK(got->to_string() == "question");
  auto end = co_await accepted->stream->read(100);
  REQUIRE(end);
  CHECK(end->empty());
  // A second listener takes over a path that was left behind.
  auto other = asio::listen_unix(loop, path, 0600);
  CHECK(other);
}

Task<void> packets(asio::Loop& loop, std::string path) {
  asio::UnixPackets network(loop);
  auto nobody = co_await network.connect(path, {});
  REQUIRE(!nobody);
  CHECK(nobody.error().code() == ErrorCode::kNotFound);
  auto listener = network.listen(path, 0600);
  REQUIRE(listener);
  auto client = co_await network.connect(path, {});
  REQUIRE(client);
  auto server = co_await (*listener)->accept({});
  REQUIRE(server);

  const Fd file(::memfd_create("handed-over", MFD_CLOEXEC));
  auto sent = co_await (*client)->send("with a descriptor", file.get(), {});
  CHECK(sent);
  sent = co_await (*client)->send("without", {}, {});
  CHECK(sent);
  auto first = co_await (*server)->receive(1024, {});
  REQUIRE(first);
  CHECK(first->data == "with a descriptor");
  REQUIRE(first->descriptors.size() == 1);
  struct stat ours, theirs;
  ::fstat(file.get(), &ours);
  ::fstat(first->descriptors[0].get(), &theirs);
  CHECK(ours.st_ino == theirs.st_ino);
  auto second = co_await (*server)->receive(1024, {});
  REQUIRE(second);
  CHECK(second->data == "without");
  CHECK(second->descriptors.empty());

  Deadline deadline(loop, 5ms, {});
  auto nothing = co_await (*server)->receive(1024, deadline.token());
  REQUIRE(!nothing);
  CHECK(nothing.error().code() == ErrorCode::kCancelled);
  sent = co_await (*client)->send(std::string(2000, 'l'), file.get(), {});
  CHECK(sent);
  auto too_long = co_await (*server)->receive(1024, {});
  REQUIRE(!too_long);
  CHECK(too_long.error().code() == ErrorCode::kProtocol);
  client->reset();
  auto end = co_await (*server)->receive(1024, {});
  REQUIRE(!end);
  CHECK(end.error().code() == ErrorCode::kClosed);
  auto gone = co_await (*server)->send("x", {}, {});
  REQUIRE(!gone);
  CHECK(gone.error().code() == ErrorCode::kClosed);
  (*server)->close();
  auto closed = co_await (*server)->receive(1024, {});
  REQUIRE(!closed);
  CHECK(closed.error().code() == ErrorCode::kCancelled);
}

// Long enough for the watch to have told of everything before.
Task<void> start_over(testing::Count& changes, Duration settle) {
  co_await changes.quiet(4 * settle);
  changes.clear();
}

Task<void> watch_folder(asio::Loop& loop, std::string path) {
  asio::KernelFiles files(loop);
  testing::Count changes(loop);
  constexpr Duration kSettle = 5ms;
  auto watch = files.watch(path, kSettle, [&changes] { changes.add(); });
  REQUIRE(watch);
  CHECK(files.write(path + "/a.yaml", "one", 0600));
  co_await changes.reach(1);
  changes.clear();
  // A new sub-folder is watched too, with what was put into it at once.
  CHECK(files.make_directory(path + "/sub/deep", 0755));
  CHECK(files.write(path + "/sub/deep/b.yaml", "two", 0600));
  co_await changes.reach(1);
  co_await start_over(changes, kSettle);
  CHECK(files.write(path + "/sub/deep/b.yaml", "three", 0600));
  co_await changes.reach(1);
  changes.clear();
  // The way Kubernetes swaps a mounted folder: a link to a folder is replaced.
  CHECK(files.make_directory(path + "/..1", 0755));
  CHECK(files.make_directory(path + "/..2", 0755));
  std::filesystem::create_symlink("..1", path + "/..data");
  co_await changes.reach(1);
  co_await start_over(changes, kSettle);
  std::filesystem::create_symlink("..2", path + "/..tmp");
  std::filesystem::rename(path + "/..tmp", path + "/..data");
  co_await changes.reach(1);
  co_await start_over(changes, kSettle);
  CHECK(files.remove(path + "/a.yaml"));
  co_await changes.reach(1);
  // Nothing changes, and it is looked at again all the same.
  co_await start_over(changes, kSettle);
  (*watch)->look_again(1ms);
  co_await changes.reach(1);
  watch->reset();
  CHECK(files.list(path).value() == std::vector<std::string>{path + "/sub/deep/b.yaml"});
}

Task<void> lose_folder(asio::Loop& loop, std::string path) {
  asio::KernelFiles files(loop);
  testing::Count changes(loop);
  REQUIRE(files.make_directory(path, 0755));
  auto watch = files.watch(path, 5ms, [&changes] { changes.add(); });
  REQUIRE(watch);
  std::filesystem::remove_all(path);
  co_await changes.reach(1);
  CHECK(!files.list(path));
  CHECK(files.make_directory(path, 0755));
  changes.clear();
  co_await changes.reach(1);
  co_await start_over(changes, 5ms);
  CHECK(files.write(path + "/a.yaml", "one", 0600));
  co_await changes.reach(1);
}

// A link leads to what cannot be looked at, for a time; where that is, nothing is watched.
Task<void> hide_folder(asio::Loop& loop, std::string path) {
  namespace fs = std::filesystem;
  asio::KernelFiles files(loop);
  testing::Count changes(loop);
  const auto inside = path + "/in", outside = path + "/out";
  REQUIRE(files.make_directory(inside, 0755));
  fs::create_symlink(outside, outside);
  fs::create_symlink(outside, inside + "/link");
  testing::CapturedLog log;
  auto watch = files.watch(inside, 5ms, [&changes] { changes.add(); });
  co_await changes.reach(1);
  const auto lines = log.take();
  REQUIRE(watch);
  CHECK(std::ranges::count_if(lines, [](const auto& line) { return line.contains("folder cannot be watched"); }) == 1);
  fs::remove(outside);
  CHECK(files.make_directory(outside, 0755));
  CHECK(files.write(outside + "/a.yaml", "one", 0600));
  changes.clear();
  co_await changes.reach(1);
  CHECK(files.list(inside).value() == std::vector<std::string>{inside + "/link/a.yaml"});
  co_await start_over(changes, 5ms);
  CHECK(files.write(outside + "/a.yaml", "two", 0600));
  co_await changes.reach(1);
}

}  // namespace

TEST_CASE("a Unix socket carries bytes and has the mode asked for") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  run(loop, unix_echo(loop, folder.path("door.sock")));
  CHECK(!std::filesystem::exists(folder.path("door.sock")));
  CHECK(!asio::listen_unix(loop, std::string(200, 'x'), 0600));
}

TEST_CASE("a listener that ends leaves the socket file of the one that replaced it") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  asio::UnixPackets network(loop);
  const auto door = folder.path("door.sock"), zds = folder.path("zds.sock");
  auto old_door = asio::listen_unix(loop, door, 0600);
  auto old_zds = network.listen(zds, 0600);
  REQUIRE((old_door && old_zds));
  auto new_door = asio::listen_unix(loop, door, 0600);
  auto new_zds = network.listen(zds, 0600);
  REQUIRE((new_door && new_zds));
  SECTION("closed") {
    (*old_door)->close();
    (*old_zds)->close();
  }
  SECTION("finished") { (*old_door)->finish(); }
  old_door->reset();
  old_zds->reset();
  CHECK(std::filesystem::exists(door));
  CHECK(std::filesystem::exists(zds));
  new_door->reset();
  new_zds->reset();
  CHECK(!std::filesystem::exists(door));
  CHECK(!std::filesystem::exists(zds));
}

TEST_CASE("packets keep their boundaries and carry descriptors") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  run(loop, packets(loop, folder.path("zds.sock")));
}

TEST_CASE("changes below a watched folder are noticed, whatever made them") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  run(loop, watch_folder(loop, folder.path()));
}

TEST_CASE("a watched folder that is gone is watched again when it is back") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  run(loop, lose_folder(loop, folder.path("state")));
}

TEST_CASE("what cannot be watched is looked at again until it can, and logged once") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  run(loop, hide_folder(loop, folder.path()));
}

TEST_CASE("what cannot be looked at does not look removed") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  asio::KernelFiles files(loop);
  REQUIRE(files.write(folder.path("a.yaml"), "one", 0600));
  std::filesystem::create_symlink("gone.yaml", folder.path("dangling.yaml"));
  std::filesystem::create_symlink("gone", folder.path("dangling"));
  CHECK(files.list(folder.path()).value() == std::vector<std::string>{folder.path("a.yaml")});
  // Links that lead to themselves stand for all that stat(2) fails at.
  for (const char* name : {"x.yaml", "y.yml", "z.json"}) {
    std::filesystem::create_symlink(name, folder.path(name));
    CHECK(files.list(folder.path()).value().back() == folder.path(name));
    const auto text = files.read(folder.path(name), 10);
    REQUIRE(!text);
    CHECK(text.error().code() != ErrorCode::kNotFound);
  }
  std::filesystem::create_symlink("folder", folder.path("folder"));
  const auto listed = files.list(folder.path());
  REQUIRE(!listed);
  CHECK(listed.error().os_error() == ELOOP);
}

TEST_CASE("a folder below that cannot be listed is an error: its files do not look removed") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  asio::KernelFiles files(loop);
  REQUIRE(files.make_directory(folder.path("sub"), 0755));
  REQUIRE(files.write(folder.path("sub/a.yaml"), "one", 0600));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int next = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)).get();
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(next) + 1;  // one more, which the folder itself takes
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  auto listed = files.list(folder.path());
  ::setrlimit(RLIMIT_NOFILE, &before);
  REQUIRE(!listed);
  CHECK(out_of_resources(listed.error().os_error()));
  CHECK(files.list(folder.path()).value() == std::vector<std::string>{folder.path("sub/a.yaml")});
}

TEST_CASE("files are written whole with their mode, and read with a bound") {
  const testing::TemporaryFolder folder;
  asio::Loop loop;
  asio::KernelFiles files(loop);
  const auto path = folder.path("key.pem");
  REQUIRE(files.write(path, "secret", 0600));
  struct stat status;
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0600);
  CHECK(files.read(path, 6).value() == "secret");
  CHECK(files.read(path, 5).error().code() == ErrorCode::kLimit);
  CHECK(files.read(folder.path("none"), 5).error().code() == ErrorCode::kNotFound);
  CHECK(files.read(folder.path(), 5).error().code() == ErrorCode::kInvalidArgument);
  CHECK(!files.write(folder.path("no/such/folder"), "x", 0600));
  CHECK(!files.list(folder.path("none")));
  CHECK(files.list(folder.path()).value().size() == 1);
  CHECK(!files.make_directory(path, 0755));
}
