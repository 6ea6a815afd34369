#include "lib/tls/stream.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdio>
#include <cstdlib>

#include "lib/async/manual_loop.h"
#include "lib/async/scope.h"
#include "lib/base/fd.h"
#include "lib/base/scope_exit.h"
#include "lib/io/pipe.h"
#include "lib/tls/test_authority.h"
#include "tests/support/temporary_folder.h"

using namespace weft;
using namespace weft::tls;

namespace {

const std::string kCart = "spiffe://cluster.local/ns/shop/sa/cart";
const std::string kUsers = "spiffe://cluster.local/ns/shop/sa/users";

std::shared_ptr<const Context> context(std::shared_ptr<const Credentials> credentials, ContextOptions options = {}) {
  auto made = Context::create(std::move(credentials), options);
  REQUIRE(made);
  return *made;
}

using Outcome = Result<std::unique_ptr<Stream>>;

Task<void> keep(Task<Outcome> task, std::optional<Outcome>& out) {
  auto outcome = co_await std::move(task);
  out.emplace(std::move(outcome));
}

struct Rig {
  ManualLoop loop;
  WallTime now = loop.clock().wall();
  TestAuthority authority{now};
  Scope scope{loop};
  StopSource stop;
  std::optional<Outcome> client, server;

  ~Rig() { loop.run(scope.join()); }

  Verification expects_users() { return {MeshServer{{*model::Identity::parse(kUsers)}}, now}; }
  Verification expects_mesh() { return {MeshClient{"cluster.local"}, now}; }

  void handshake(std::shared_ptr<const Credentials> client_credentials, std::size_t capacity = 256 * 1024) {
    auto pipe = io::make_pipe(loop, capacity);
    scope.spawn(
        keep(connect(std::move(pipe.first), context(std::move(client_credentials)), expects_users(), stop.token()), client));
    scope.spawn(
        keep(accept(std::move(pipe.second), context(authority.credentials(kUsers)), expects_mesh(), stop.token()), server));
    loop.run_until_idle();
  }
};

Task<void> send_random(Stream& stream, std::uint64_t seed, std::size_t total) {
  SeededRandom random(seed);
  while (total > 0) {
    std::string text(std::min<std::size_t>(total, 1 + random.below(600'000)), '\0');
    for (std::size_t i = 0; i < text.size(); i += 64) text[i] = static_cast<char>(random.next());
    total -= text.size();
    BufferChain data;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t count = std::min<std::size_t>(text.size() - at, 1 + random.below(50'000));
      data.append(Buffer::copy_of(text.substr(at, count)));
      at += count;
    }
    auto written = co_await stream.write(std::move(data));
    CHECK(written);
  }
  auto ended = co_await stream.shutdown_write();
  CHECK(ended);
}

Task<void> count_all(io::Stream& stream, std::size_t& total, std::uint64_t& sum) {
  for (;;) {
    auto data = co_await stream.read(64 * 1024);
    REQUIRE(data);
    if (data->empty()) co_return;
    stream.consumed(data->size());
    const std::string text = data->to_string();
    for (const char c : text) sum = sum * 31 + static_cast<unsigned char>(c);
    total += text.size();
  }
}

Task<void> keep_read(Stream& stream, std::optional<Result<BufferChain>>& out) {
  auto data = co_await stream.read(1000);
  out.emplace(std::move(data));
}

Task<void> keep_write(Stream& stream, std::string text, std::optional<Result<void>>& out) {
  auto done = co_await stream.write(BufferChain(Buffer::copy_of(text)));
  out.emplace(std::move(done));
}

// OpenSSL's own client of TLS 1.2, without I/O: it can ask for another handshake, as our engine never does.
class RawClient {
 public:
  RawClient() : context_(SSL_CTX_new(TLS_client_method())), ssl_(SSL_new(context_.get())) {
    SSL_set_max_proto_version(ssl_.get(), TLS1_2_VERSION);
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_connect_state(ssl_.get());
  }
  bool handshake() { return SSL_do_handshake(ssl_.get()) == 1; }
  void ask_for_another(std::string_view text) {
    REQUIRE(SSL_write(ssl_.get(), text.data(), static_cast<int>(text.size())) > 0);
    REQUIRE(SSL_renegotiate(ssl_.get()) == 1);
    CHECK_FALSE(handshake());
  }
  BufferChain output() {
    char* data = nullptr;
    const long size = BIO_get_mem_data(SSL_get_wbio(ssl_.get()), &data);
    BufferChain bytes(Buffer::copy_of(std::string_view(data, static_cast<std::size_t>(size))));
    (void)BIO_reset(SSL_get_wbio(ssl_.get()));
    return bytes;
  }
  void receive(const BufferChain& bytes) {
    const std::string text = bytes.to_string();
    REQUIRE(BIO_write(SSL_get_rbio(ssl_.get()), text.data(), static_cast<int>(text.size())) > 0);
  }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  std::unique_ptr<SSL_CTX, Free> context_;
  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace

TEST_CASE("a stream pair carries data both ways at once through a narrow pipe") {
  Rig rig;
  rig.handshake(rig.authority.credentials(kCart), 10'000);
  REQUIRE(rig.client.has_value());
  REQUIRE(rig.client->has_value());
  REQUIRE(rig.server.has_value());
  REQUIRE(rig.server->has_value());
  Stream& client = ***rig.client;
  Stream& server = ***rig.server;
  CHECK(server.peer_identity()->to_string() == kCart);
  CHECK(client.peer_identity()->to_string() == kUsers);

  constexpr std::size_t kTotal = 5'000'000;
  std::size_t up = 0, down = 0;
  std::uint64_t up_sum = 0, down_sum = 0;
  rig.scope.spawn(send_random(client, 1, kTotal));
  rig.scope.spawn(send_random(server, 1, kTotal));
  rig.scope.spawn(count_all(client, down, down_sum));
  rig.scope.spawn(count_all(server, up, up_sum));
  rig.loop.run_until_idle();
  CHECK(up == kTotal);
  CHECK(down == kTotal);
  CHECK(up_sum == down_sum);
}

TEST_CASE("a write waits for a slow peer also while a read is answering that peer") {
  for (const bool cut : {false, true}) {
    INFO(cut);
    Rig rig;
    auto [near, far] = io::make_pipe(rig.loop, 1);  // full with whatever is in it
    rig.scope.spawn(
        keep(accept(std::move(far), context(rig.authority.credentials(kUsers), {.tls12 = true}), {AnyClient{}, rig.now}, {}),
             rig.server));
    RawClient client;
    while (!client.handshake()) {
      REQUIRE(rig.loop.run(near->write(client.output())));
      auto answer = rig.loop.run(near->read(65'536));
      REQUIRE(answer);
      client.receive(*answer);
    }
    REQUIRE(rig.loop.run(near->write(client.output())));
    rig.loop.run_until_idle();
    REQUIRE(rig.server.has_value());
    REQUIRE(rig.server->has_value());
    Stream& server = ***rig.server;

    auto sent = rig.loop.run(server.write(BufferChain(Buffer::literal("one "))));
    REQUIRE(sent);
    client.ask_for_another("question");
    REQUIRE(rig.loop.run(near->write(client.output())));
    std::optional<Result<BufferChain>> question;
    std::optional<Result<void>> written;
    rig.scope.spawn(keep_read(server, question));
    rig.loop.run_until_idle();
    CHECK_FALSE(question.has_value());  // no, says an alert that waits for room
    rig.scope.spawn(keep_write(server, "two", written));
    rig.loop.run_until_idle();
    CHECK_FALSE(written.has_value());
    if (cut) {
      server.abort(io::AbortReason::kCancel);
    } else {
      // Types of the records: data, alert, data.
      for (const char type : {23, 21, 23}) {
        auto record = rig.loop.run(near->read(65'536));
        REQUIRE(record);
        CHECK(record->to_string()[0] == type);
      }
    }
    rig.loop.run_until_idle();
    REQUIRE(question.has_value());
    REQUIRE(*question);
    CHECK((*question)->to_string() == "question");
    REQUIRE(written.has_value());
    CHECK(written->has_value() == !cut);
  }
}

TEST_CASE("a stream cut without close_notify ends in an error") {
  Rig rig;
  auto near = io::make_pipe(rig.loop);
  rig.scope.spawn(
      keep(accept(std::move(near.second), context(rig.authority.credentials(kUsers)), rig.expects_mesh(), {}), rig.server));
  // The client's engine is driven by hand, so that it can end without a close_notify.
  auto engine = Engine::create(context(rig.authority.credentials(kCart)), Role::kClient, rig.expects_users());
  REQUIRE(engine);
  for (bool done = false; !done;) {
    auto step = (*engine)->handshake();
    REQUIRE(step);
    done = *step;
    auto sent = rig.loop.run(near.first->write((*engine)->take_output()));
    REQUIRE(sent);
    if (done) break;
    auto bytes = rig.loop.run(near.first->read(65536));
    REQUIRE(bytes);
    (*engine)->receive(std::move(*bytes));
  }
  REQUIRE((*engine)->encrypt(BufferChain(Buffer::literal("half of it"))));
  auto sent = rig.loop.run(near.first->write((*engine)->take_output()));
  REQUIRE(sent);
  auto ended = rig.loop.run(near.first->shutdown_write());
  REQUIRE(ended);
  rig.loop.run_until_idle();
  REQUIRE(rig.server.has_value());
  REQUIRE(rig.server->has_value());
  Stream& server = ***rig.server;
  auto first = rig.loop.run(server.read(1000));
  REQUIRE(first);
  CHECK(first->to_string() == "half of it");
  for (int again = 0; again < 2; ++again) {
    auto second = rig.loop.run(server.read(1000));
    REQUIRE_FALSE(second);
    CHECK(second.error().code() == ErrorCode::kClosed);
  }
}

TEST_CASE("a refused client reads an alert, the server an identity error") {
  Rig rig;
  rig.handshake(rig.authority.credentials("spiffe://other/ns/shop/sa/cart"));
  REQUIRE(rig.server.has_value());
  REQUIRE_FALSE(rig.server->has_value());
  CHECK(rig.server->error().code() == ErrorCode::kIdentity);
  REQUIRE(rig.client.has_value());
  REQUIRE(rig.client->has_value());
  auto read = rig.loop.run((**rig.client)->read(100));
  REQUIRE_FALSE(read);
  CHECK(read.error().message().starts_with("tls error: received fatal alert: "));
}

TEST_CASE("a handshake that is told to stop ends cancelled") {
  Rig rig;
  auto pipe = io::make_pipe(rig.loop);
  rig.scope.spawn(
      keep(accept(std::move(pipe.second), context(rig.authority.credentials(kUsers)), rig.expects_mesh(), rig.stop.token()),
           rig.server));
  rig.loop.run_until_idle();
  CHECK_FALSE(rig.server.has_value());
  rig.stop.request_stop();
  rig.loop.run_until_idle();
  REQUIRE(rig.server.has_value());
  CHECK(rig.server->error().code() == ErrorCode::kCancelled);
}

TEST_CASE("a peer that leaves or speaks plain text during the handshake is an error") {
  Rig rig;
  for (const char* text : {"", "GET / HTTP/1.1\r\n\r\n"}) {
    auto pipe = io::make_pipe(rig.loop);
    rig.server.reset();
    rig.scope.spawn(keep(accept(std::move(pipe.second), context(rig.authority.credentials(kUsers)), rig.expects_mesh(), {}),
                         rig.server));
    if (*text) CHECK(rig.loop.run(pipe.first->write(BufferChain(Buffer::literal(text)))));
    CHECK(rig.loop.run(pipe.first->shutdown_write()));
    rig.loop.run_until_idle();
    REQUIRE(rig.server.has_value());
    REQUIRE_FALSE(rig.server->has_value());
    CHECK(rig.server->error().code() == ErrorCode::kTls);
  }
}

// --- The openssl program as the other side, over a Unix socket ---

namespace {

struct Openssl {
  const testing::TemporaryFolder folder;
  pid_t child = -1;
  TestAuthority authority;
  explicit Openssl(WallTime now) : authority(now) {
    save("root.pem", authority.root().to_pem());
    auto credentials = authority.credentials(kCart);
    save("leaf.pem", credentials->leaf().to_pem());
    save("key.pem", credentials->key().to_pem());
  }
  ~Openssl() {
    if (child > 0) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
  }
  void save(const std::string& name, const std::string& text) { folder.file(name, text); }
  std::string path(const std::string& name) const { return folder.path(name); }

  sockaddr_un address() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path("socket").c_str());
    return address;
  }
  // Starts `openssl arguments...` with standard input and output on pipes of ours.
  std::pair<Fd, Fd> start(std::vector<std::string> arguments) {
    int in[2], out[2];
    REQUIRE(pipe(in) == 0);
    REQUIRE(pipe(out) == 0);
    child = fork();
    if (child == 0) {
      dup2(in[0], 0);
      dup2(out[1], 1);
      dup2(open("/dev/null", O_WRONLY), 2);
      for (int fd = 3; fd < 64; ++fd) close(fd);
      std::vector<char*> argv{const_cast<char*>("openssl")};
      for (auto& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execvp("openssl", argv.data());
      _exit(127);
    }
    close(in[0]);
    close(out[1]);
    return {Fd(in[1]), Fd(out[0])};
  }
};

// Drives an engine over a blocking socket.
Result<void> drive_handshake(Engine& engine, int socket) {
  char block[20'000];
  for (;;) {
    auto done = engine.handshake();
    const std::string output = engine.take_output().to_string();
    if (!output.empty()) (void)!send(socket, output.data(), output.size(), MSG_NOSIGNAL);
    if (!done) return fail(std::move(done).error());
    if (*done) return {};
    const ssize_t count = recv(socket, block, sizeof block, 0);
    if (count <= 0) {
      engine.receive_end();
    } else {
      engine.receive(BufferChain(Buffer::copy_of(std::string_view(block, static_cast<std::size_t>(count)))));
    }
  }
}

Result<std::string> read_some(Engine& engine, int socket) {
  char block[20'000];
  BufferChain plain;
  while (plain.empty() && !engine.ended()) {
    const ssize_t count = recv(socket, block, sizeof block, 0);
    if (count <= 0) {
      engine.receive_end();
    } else {
      engine.receive(BufferChain(Buffer::copy_of(std::string_view(block, static_cast<std::size_t>(count)))));
    }
    WEFT_TRY_VOID(engine.decrypt(plain));
  }
  return plain.to_string();
}

std::string read_until(int fd, const std::string& wanted) {
  std::string text;
  char c;
  while (text.find(wanted) == std::string::npos && read(fd, &c, 1) == 1) text += c;
  return text;
}

// One accepted connection from `openssl s_client arguments...`, up to the end of the handshake.
struct AcceptedClient {
  Openssl openssl;
  std::pair<Fd, Fd> program;
  Fd socket;
  std::unique_ptr<Engine> engine;
  Result<void> outcome;
  AcceptedClient(WallTime now, std::vector<std::string> extra) : openssl(now) {
    Fd listener(::socket(AF_UNIX, SOCK_STREAM, 0));
    auto address = openssl.address();
    REQUIRE(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(listen(listener.get(), 1) == 0);
    std::vector<std::string> arguments{"s_client", "-unix",   openssl.path("socket"),
                                       "-quiet",   "-CAfile", openssl.path("root.pem")};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    for (auto& argument : arguments) {
      if (argument.ends_with(".pem") && argument[0] != '/') argument = openssl.path(argument);
    }
    program = openssl.start(std::move(arguments));
    socket = Fd(::accept(listener.get(), nullptr, nullptr));
    auto made =
        Engine::create(context(openssl.authority.credentials(kUsers)), Role::kServer, {MeshClient{"cluster.local"}, now});
    REQUIRE(made);
    engine = std::move(*made);
    outcome = drive_handshake(*engine, socket.get());
  }
};

bool openssl_installed() { return std::system("openssl version >/dev/null 2>&1") == 0; }

}  // namespace

TEST_CASE("openssl s_client talks to us, and is refused when it should be") {
  if (!openssl_installed()) SKIP("no openssl program");
  const WallTime now = SystemClock().wall();
  const std::vector<std::string> certificate{"-cert", "leaf.pem", "-key", "key.pem"};
  {
    AcceptedClient good(now, {"-cert", "leaf.pem", "-key", "key.pem", "-alpn", "h2"});
    REQUIRE(good.outcome);
    CHECK(good.engine->peer_identity()->to_string() == kCart);
    CHECK(good.engine->alpn() == "h2");
    REQUIRE(write(good.program.first.get(), "hello\n", 6) == 6);
    auto heard = read_some(*good.engine, good.socket.get());
    REQUIRE(heard);
    CHECK(*heard == "hello\n");
    REQUIRE(good.engine->encrypt(BufferChain(Buffer::literal("welcome\n"))));
    const std::string wire = good.engine->take_output().to_string();
    REQUIRE(send(good.socket.get(), wire.data(), wire.size(), 0) == static_cast<ssize_t>(wire.size()));
    CHECK(read_until(good.program.second.get(), "welcome\n").ends_with("welcome\n"));
  }
  AcceptedClient nobody(now, {});
  REQUIRE_FALSE(nobody.outcome);
  CHECK(nobody.outcome.error().message() == "tls handshake error: peer sent no certificates");
  AcceptedClient old(now, {"-cert", "leaf.pem", "-key", "key.pem", "-tls1_2"});
  REQUIRE_FALSE(old.outcome);
  CHECK(old.outcome.error().code() == ErrorCode::kTls);
  AcceptedClient chacha(now, {"-cert", "leaf.pem", "-key", "key.pem", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"});
  CHECK_FALSE(chacha.outcome);
  AcceptedClient prefers256(
      now, {"-cert", "leaf.pem", "-key", "key.pem", "-ciphersuites", "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256"});
  REQUIRE(prefers256.outcome);
  CHECK(prefers256.engine->cipher() == "TLS_AES_128_GCM_SHA256");
  AcceptedClient wrong_alpn(now, {"-cert", "leaf.pem", "-key", "key.pem", "-alpn", "http/1.1"});
  CHECK_FALSE(wrong_alpn.outcome);
}

TEST_CASE("we talk to openssl s_server, which asks for our certificate") {
  if (!openssl_installed()) SKIP("no openssl program");
  const WallTime now = SystemClock().wall();
  Openssl openssl(now);
  auto program =
      openssl.start({"s_server", "-unix", openssl.path("socket"), "-cert", openssl.path("leaf.pem"), "-key",
                     openssl.path("key.pem"), "-CAfile", openssl.path("root.pem"), "-Verify", "3", "-alpn", "h2", "-rev"});
  CHECK(read_until(program.second.get(), "ACCEPT").ends_with("ACCEPT"));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  auto address = openssl.address();
  REQUIRE(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  auto engine = Engine::create(context(openssl.authority.credentials(kUsers)), Role::kClient,
                               {MeshServer{{*model::Identity::parse(kCart)}}, now});
  REQUIRE(engine);
  auto done = drive_handshake(**engine, socket.get());
  REQUIRE(done);
  CHECK((*engine)->alpn() == "h2");
  REQUIRE((*engine)->encrypt(BufferChain(Buffer::literal("desrever\n"))));
  const std::string wire = (*engine)->take_output().to_string();
  REQUIRE(send(socket.get(), wire.data(), wire.size(), 0) == static_cast<ssize_t>(wire.size()));
  auto answer = read_some(**engine, socket.get());
  REQUIRE(answer);
  CHECK(*answer == "reversed\n");
}
