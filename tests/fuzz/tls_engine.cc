// libFuzzer target: our engine with its own record layer against OpenSSL itself, as client and as server. The input is a
// script: settings, then operations; bytes may be changed, lost or cut on the way, during the handshake too. Checks that
// each side reads what the other wrote, in order, and that untouched connections never fail.
#include <cstdint>
#include <string>

#include "lib/base/check.h"
#include "lib/tls/detail/openssl.h"
#include "lib/tls/engine.h"
#include "lib/tls/test_authority.h"

namespace {

using namespace weft;
using namespace weft::tls;

const WallTime kNow{std::chrono::seconds(1'800'000'000)};

// Made once: keys and certificates are no part of what is tried.
struct Fixture {
  TestAuthority authority{kNow, "root", KeyKind::kEd25519};
  std::shared_ptr<const Context> ours[2];
  detail::ContextHandle theirs;

  Fixture() {
    auto credentials = authority.credentials("spiffe://cluster.local/ns/shop/sa/users");
    for (const bool tls12 : {false, true}) {
      auto made = Context::create(credentials, {.tls12 = tls12, .own_records = true});
      WEFT_CHECK(made.has_value());
      ours[tls12] = std::move(*made);
    }
    auto peer = authority.credentials("spiffe://cluster.local/ns/shop/sa/cart");
    theirs.reset(SSL_CTX_new(TLS_method()));
    WEFT_CHECK(SSL_CTX_use_certificate(theirs.get(), peer->leaf().native()) == 1);
    WEFT_CHECK(SSL_CTX_use_PrivateKey(theirs.get(), peer->key().native()) == 1);
  }
};

class Connection {
 public:
  Connection(Fixture& fixture, const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {
    const auto settings = byte();
    step_ = byte() * 16 + 1;
    const bool server = settings & 1;
    Expectation expectation = MeshClient{"cluster.local"};
    if (!server) expectation = MeshServer{{*model::Identity::parse("spiffe://cluster.local/ns/shop/sa/cart")}};
    auto made = Engine::create(fixture.ours[settings >> 1 & 1], server ? Role::kServer : Role::kClient,
                               {std::move(expectation), kNow});
    WEFT_CHECK(made.has_value());
    engine_ = std::move(*made);
    engine_->set_records_per_key(4);
    peer_.reset(SSL_new(fixture.theirs.get()));
    SSL_set_bio(peer_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    if (settings & 4) SSL_set_ciphersuites(peer_.get(), "TLS_AES_256_GCM_SHA384");
    // A suite our own layer leaves to OpenSSL is one we do not offer; 1.2 is.
    if ((settings & 8) && (settings & 2)) SSL_set_max_proto_version(peer_.get(), TLS1_2_VERSION);
    server ? SSL_set_connect_state(peer_.get()) : SSL_set_accept_state(peer_.get());
  }

  void run() {
    for (int flight = 0; flight < 12 && !ready(); ++flight) {
      SSL_do_handshake(peer_.get());
      move();
    }
    WEFT_CHECK(touched_ || ready());
    while (!rest_.empty()) {
      const auto code = byte();
      switch (code % 8) {
        case 0: we_write(byte() * 300); break;
        case 1: they_write(byte() * 150 + 1); break;
        case 2:
          // More would be refused as a flood.
          if (ready() && ++updates_ < 30) {
            SSL_key_update(peer_.get(), byte() & 1 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
          }
          break;
        case 3:
          engine_->close_notify();
          we_closed_ = true;
          break;
        case 4:
          if (ready() && !they_closed_) they_closed_ = SSL_shutdown(peer_.get()) >= 0;
          break;
        case 5: lose(byte()); break;
        case 6: touch(byte()); break;
        default:
          engine_->receive_end();
          cut_ = true;
          break;
      }
      move();
    }
    move();
    if (touched_ || cut_) return;
    WEFT_CHECK(!failed_);
    WEFT_CHECK(received_ == sent_by_them_);
    WEFT_CHECK(engine_->ended() == they_closed_);
  }

 private:
  std::size_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  bool ready() const { return done_ && SSL_is_init_finished(peer_.get()); }

  void we_write(std::size_t size) {
    if (!done_ || failed_ || we_closed_) return;
    const std::string content(size, 'w');
    if (engine_->encrypt(BufferChain(Buffer::copy_of(content)))) sent_by_us_ += content;
  }
  void they_write(std::size_t size) {
    if (!ready() || they_closed_) return;
    const std::string content(size, 't');
    if (SSL_write(peer_.get(), content.data(), static_cast<int>(size)) > 0) sent_by_them_ += content;
  }
  // The next transfer towards us has a byte flipped, or lacks its end.
  void touch(std::size_t at) { flip_ = static_cast<int>(at); }
  void lose(std::size_t count) { lose_ = count; }

  // Everything under way reaches its end.
  void move() {
    for (int round = 0; round < 4; ++round) {
      char buffer[4096];
      std::string wire;
      for (int count; (count = BIO_read(SSL_get_wbio(peer_.get()), buffer, sizeof buffer)) > 0;) {
        wire.append(buffer, static_cast<std::size_t>(count));
      }
      if (!wire.empty() && flip_ >= 0) {
        auto& victim = wire[static_cast<std::size_t>(flip_) * 7 % wire.size()];
        victim = static_cast<char>(victim ^ (1 << (flip_ & 7)));
        flip_ = -1;
        touched_ = true;
      }
      if (!wire.empty() && lose_ > 0) {
        wire.resize(wire.size() - std::min(wire.size(), lose_));
        lose_ = 0;
        touched_ = true;
      }
      for (std::size_t at = 0; at < wire.size(); at += step_) {
        engine_->receive(BufferChain(Buffer::copy_of(std::string_view(wire).substr(at, step_))));
        we_read();
      }
      we_read();
      const std::string output = engine_->take_output().to_string();
      if (!output.empty()) BIO_write(SSL_get_rbio(peer_.get()), output.data(), static_cast<int>(output.size()));
      they_read();
    }
  }
  void we_read() {
    if (failed_) return;
    if (!done_) {
      auto result = engine_->handshake();
      failed_ = !result;
      done_ = result && *result;
      if (!done_) return;
      WEFT_CHECK(engine_->uses_own_records() == (engine_->version() == "TLSv1.3"));
      WEFT_CHECK(engine_->peer_identity() && engine_->peer_identity()->service_account == "cart");
      WEFT_CHECK(engine_->peer_certificate().has_value());
    }
    BufferChain out;
    failed_ = !engine_->decrypt(out).has_value();
    received_ += out.to_string();
    WEFT_CHECK(std::string_view(sent_by_them_).starts_with(received_));
  }
  void they_read() {
    char buffer[4096];
    if (!SSL_is_init_finished(peer_.get())) SSL_do_handshake(peer_.get());
    for (int count; SSL_is_init_finished(peer_.get()) && (count = SSL_read(peer_.get(), buffer, sizeof buffer)) > 0;) {
      read_by_them_.append(buffer, static_cast<std::size_t>(count));
    }
    ERR_clear_error();
    // Nothing is lost on the way to them.
    WEFT_CHECK(std::string_view(sent_by_us_).starts_with(read_by_them_));
    if (ready() && !touched_ && !cut_ && !they_closed_) WEFT_CHECK(read_by_them_ == sent_by_us_);
  }

  std::string_view rest_;
  std::size_t step_ = 1;
  std::unique_ptr<Engine> engine_;
  detail::SslHandle peer_;
  std::string sent_by_us_, sent_by_them_, received_, read_by_them_;
  bool done_ = false, failed_ = false, we_closed_ = false, they_closed_ = false, touched_ = false, cut_ = false;
  int flip_ = -1, updates_ = 0;
  std::size_t lose_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Fixture fixture;
  if (size > 400) return 0;  // an operation may move 76 kB
  Connection(fixture, data, size).run();
  return 0;
}
