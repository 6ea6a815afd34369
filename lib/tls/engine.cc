#include "lib/tls/engine.h"

#include <algorithm>
#include <cstring>

#include "lib/tls/detail/openssl.h"
#include "lib/tls/detail/verify_callback.h"

namespace weft::tls {
namespace {

// Results up to this size leave the 16 KiB block they were decrypted into.
constexpr std::size_t kSmallResult = 2 * 1024;
// A block with less room than this is not offered to the next record, which would be cut in two.
constexpr std::size_t kRoomMin = 4 * 1024;
// Handshake flights fit one block of this size.
constexpr std::size_t kHandshakeBlock = 4 * 1024;

std::string without_prefix(std::string_view text) {
  for (const std::string_view prefix : {"sslv3 alert ", "tlsv1 alert ", "tlsv13 alert "}) {
    if (text.starts_with(prefix)) return std::string(text.substr(prefix.size()));
  }
  return std::string(text);
}

// OpenSSL's reason as a sentence for people.
std::string explain(unsigned long code) {
  const int reason = ERR_GET_REASON(code);
  const char* text = ERR_reason_error_string(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) {
    if (reason >= SSL_AD_REASON_OFFSET) return "received fatal alert: " + without_prefix(text ? text : "unknown");
    switch (reason) {
      case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE: return "peer sent no certificates";
      case SSL_R_HTTP_REQUEST:
      case SSL_R_HTTPS_PROXY_REQUEST: return "received corrupt message: plain-text HTTP request";
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_BAD_RECORD_TYPE:
      case SSL_R_RECORD_TOO_SMALL:
      case SSL_R_PACKET_LENGTH_TOO_LONG: return std::string("received corrupt message: ") + (text ? text : "");
      default: break;
    }
  }
  return text ? text : "error " + std::to_string(code);
}

}  // namespace

// The BIO is both ends of the wire: reading takes from the engine's input, writing appends to its output.
struct Engine::Native {
  detail::PeerCheck check;
  detail::SslHandle ssl;           // owns the BIO; null once our own record layer has taken over
  detail::CertificateHandle peer;  // kept from it

  static int read(BIO* bio, char* out, std::size_t size, std::size_t* done) {
    auto* engine = static_cast<Engine*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    *done = engine->bio_read(out, size);
    if (*done > 0) return 1;
    if (!engine->input_ended_) BIO_set_retry_read(bio);
    return engine->input_ended_ ? 0 : -1;
  }
  static int write(BIO* bio, const char* data, std::size_t size, std::size_t* done) {
    BIO_clear_retry_flags(bio);
    static_cast<Engine*>(BIO_get_data(bio))->bio_write(data, size);
    *done = size;
    return 1;
  }
  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return static_cast<Engine*>(BIO_get_data(bio))->input_ended_;
    return 0;
  }
  static BIO* make_bio(Engine* engine) {
    static const detail::MethodHandle method = [] {
      detail::MethodHandle made(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weft buffers"));
      BIO_meth_set_read_ex(made.get(), read);
      BIO_meth_set_write_ex(made.get(), write);
      BIO_meth_set_ctrl(made.get(), control);
      return made;
    }();
    BIO* bio = BIO_new(method.get());
    if (!bio) return nullptr;
    BIO_set_data(bio, engine);
    BIO_set_init(bio, 1);
    return bio;
  }
};

Engine::Engine(std::shared_ptr<const Context> context, Role role)
    : context_(std::move(context)), native_(std::make_unique<Native>()), output_expected_(kHandshakeBlock), role_(role) {}

Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::create(std::shared_ptr<const Context> context, Role role,
                                               Verification verification) {
  std::unique_ptr<Engine> engine(new Engine(std::move(context), role));
  Native& native = *engine->native_;
  native.ssl.reset(SSL_new(engine->context_->native()));
  BIO* bio = native.ssl ? Native::make_bio(engine.get()) : nullptr;
  if (!bio) return detail::fail_openssl("cannot start TLS");
  SSL* ssl = native.ssl.get();
  SSL_set_bio(ssl, bio, bio);
  native.check.verification = std::move(verification);
  SSL_set_app_data(ssl, &native.check);

  const Expectation& expectation = native.check.verification.expectation;
  const bool wants_certificate = !std::holds_alternative<AnyClient>(expectation);
  if (role == Role::kServer) {
    SSL_set_verify(ssl, wants_certificate ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE, nullptr);
    SSL_set_accept_state(ssl);
  } else {
    // A client always verifies; "any client" as its expectation would be a programming error and trusts nobody.
    if (!wants_certificate) native.check.verification.expectation = MeshServer{};
    SSL_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
    const auto* named = std::get_if<NamedServer>(&expectation);
    // RFC 6066 3: no addresses in SNI.
    if (named && !IpAddress::parse(named->host)) SSL_set_tlsext_host_name(ssl, named->host.c_str());
    SSL_set_connect_state(ssl);
  }
  return engine;
}

std::size_t Engine::bio_read(char* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size && !input_.empty()) {
    const Buffer& front = input_.front();
    const std::size_t count = std::min(size - done, front.size());
    std::memcpy(out + done, front.data(), count);
    input_.remove_prefix(count);
    done += count;
  }
  return done;
}

void Engine::bio_write(const char* data, std::size_t size) {
  std::span<const std::byte> rest(reinterpret_cast<const std::byte*>(data), size);
  while (!rest.empty()) {
    if (writer_ && writer_->room() == 0) {
      output_.append(writer_->take());
      writer_.reset();
    }
    if (!writer_) writer_.emplace(std::min(std::max(output_expected_, rest.size()), kPooledBlockSize));
    rest = rest.subspan(writer_->append(rest));
  }
}

BufferChain Engine::take_output() {
  if (writer_) {
    if (writer_->size() > 0) output_.append(writer_->take());
    writer_.reset();
  }
  BufferChain output = std::exchange(output_, BufferChain());
  if (records_) output.append(std::exchange(records_->output(), BufferChain()));
  return output;
}

Error Engine::failure(int result, bool handshaking) {
  failed_ = true;
  const int kind = SSL_get_error(native_->ssl.get(), result);
  const unsigned long code = ERR_peek_error();
  ERR_clear_error();
  const std::string prefix = handshaking ? "tls handshake error: " : "tls error: ";
  if (native_->check.error) {
    Error error = std::move(*native_->check.error);
    native_->check.error.reset();
    return error.code() == ErrorCode::kIdentity ? error : Error(error.code(), prefix + error.message());
  }
  const bool cut = kind == SSL_ERROR_SYSCALL || (kind == SSL_ERROR_SSL && ERR_GET_LIB(code) == ERR_LIB_SSL &&
                                                 ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
  if (cut && handshaking) return Error(ErrorCode::kTls, prefix + "peer closed the connection");
  if (cut) return Error(ErrorCode::kClosed, prefix + "peer closed the connection without sending close_notify");
  return Error(ErrorCode::kTls, prefix + explain(code));
}

Result<bool> Engine::handshake() {
  if (records_) return true;
  ERR_clear_error();
  const int result = SSL_do_handshake(native_->ssl.get());
  if (result == 1) {
    facts_ = read_facts();
    take_over_records();
    native_->check.secrets.clear();
    return true;
  }
  if (SSL_get_error(native_->ssl.get(), result) == SSL_ERROR_WANT_READ) return false;
  return fail(failure(result, true));
}

void Engine::take_over_records() {
  SSL* ssl = native_->ssl.get();
  const detail::TrafficSecrets& secrets = native_->check.secrets;
  // Bytes that OpenSSL has already taken in stay its business.
  if (!context_->own_records() || SSL_version(ssl) != TLS1_3_VERSION || SSL_has_pending(ssl)) return;
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  const auto id = cipher ? SSL_CIPHER_get_protocol_id(cipher) : 0;
  if ((id != 0x1301 && id != 0x1302) || secrets.client_size == 0 || secrets.server_size == 0) return;
  const Suite suite = id == 0x1301 ? Suite::kAes128GcmSha256 : Suite::kAes256GcmSha384;
  const std::span client(secrets.client.data(), secrets.client_size);
  const std::span server(secrets.server.data(), secrets.server_size);
  auto receive = RecordKeys::create(suite, role_ == Role::kClient ? server : client, false);
  auto send = RecordKeys::create(suite, role_ == Role::kClient ? client : server, true);
  if (!receive || !send) return;
  records_ = std::make_unique<RecordLayer>(std::move(*receive), std::move(*send));
  records_->set_records_per_key(records_per_key_);
  native_->peer.reset(SSL_get1_peer_certificate(ssl));
  // The last flight must leave before the BIO goes.
  BufferChain flight = take_output();
  output_ = std::move(flight);
  SSL_set_quiet_shutdown(ssl, 1);
  native_->ssl.reset();
}

Result<void> Engine::decrypt_own(BufferChain& out) {
  auto outcome = records_->decrypt(input_, out);
  if (outcome && records_->ended()) ended_ = true;
  if (outcome && !ended_ && input_ended_) {
    outcome = fail(ErrorCode::kClosed, "tls error: peer closed the connection without sending close_notify");
  }
  if (!outcome) failed_ = true;
  return outcome;
}

Result<void> Engine::decrypt(BufferChain& out) {
  if (records_ && !failed_) return decrypt_own(out);
  if (failed_) return fail(ErrorCode::kTls, "tls error: connection already failed");
  SSL* ssl = native_->ssl.get();
  std::optional<BufferWriter> writer;
  Result<void> outcome;
  ERR_clear_error();
  // Until OpenSSL has neither input nor decrypted bytes left.
  while (!ended_) {
    if (input_.empty() && !input_ended_ && SSL_pending(ssl) == 0) break;
    if (writer && writer->room() < kRoomMin) {
      out.append(writer->take());
      writer.reset();
    }
    if (!writer) writer.emplace();
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl, writer->tail(), std::min(writer->room(), kRecordSizeMax), &count);
    if (result == 1) {
      writer->commit(count);
      continue;
    }
    const int kind = SSL_get_error(ssl, result);
    if (kind == SSL_ERROR_WANT_READ) break;
    if (kind == SSL_ERROR_ZERO_RETURN) {
      ended_ = true;
      input_.clear();  // whatever follows a close_notify is ignored, RFC 8446 6.1
    } else {
      outcome = fail(failure(result, false));
      break;
    }
  }
  if (writer && writer->size() > 0) {
    Buffer last = writer->take();
    out.append(last.size() <= kSmallResult ? Buffer::copy_of(last.span()) : std::move(last));
  }
  return outcome;
}

Result<void> Engine::write_record_bytes(const std::byte* data, std::size_t size) {
  SSL* ssl = native_->ssl.get();
  records_since_key_ += (size + kRecordSizeMax - 1) / kRecordSizeMax;
  if (records_since_key_ > records_per_key_ && SSL_version(ssl) == TLS1_3_VERSION) {
    SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
    records_since_key_ = 0;
  }
  std::size_t written = 0;
  const int result = SSL_write_ex(ssl, data, size, &written);
  if (result == 1 && written == size) return {};
  return fail(failure(result, false));
}

Result<void> Engine::encrypt(BufferChain plain) {
  if (failed_) return fail(ErrorCode::kTls, "tls error: connection already failed");
  if (records_) return records_->encrypt(std::move(plain));
  ERR_clear_error();
  output_expected_ = plain.size() + (plain.size() / kRecordSizeMax + 1) * kRecordOverhead;
  std::optional<BufferWriter> gathered;
  while (!plain.empty()) {
    // The longest run at the front that is contiguous in memory, over adjacent slices.
    const std::byte* start = plain.front().data();
    std::size_t run = plain.front().size();
    for (std::size_t i = 1; run < kRecordSizeMax && i < plain.slice_count(); ++i) {
      if (plain.slice(i).data() != start + run) break;
      run += plain.slice(i).size();
    }
    if (run >= kRecordSizeMax || run == plain.size()) {
      const std::size_t count = run == plain.size() ? run : run - run % kRecordSizeMax;
      WEFT_TRY_VOID(write_record_bytes(start, count));
      plain.remove_prefix(count);
      continue;
    }
    if (!gathered) gathered.emplace();
    const std::size_t count = std::min(plain.size(), kRecordSizeMax);
    plain.peek({gathered->tail(), count});
    WEFT_TRY_VOID(write_record_bytes(gathered->tail(), count));
    plain.remove_prefix(count);
  }
  return {};
}

void Engine::close_notify() {
  if (failed_) return;
  if (records_) return records_->close_notify();
  ERR_clear_error();
  output_expected_ = kRecordOverhead + 8;
  SSL_shutdown(native_->ssl.get());
  ERR_clear_error();
}

const std::optional<model::Identity>& Engine::peer_identity() const { return native_->check.identity; }

Result<Certificate> Engine::peer_certificate() const {
  X509* native = native_->ssl ? SSL_get0_peer_certificate(native_->ssl.get()) : native_->peer.get();
  if (!native) return fail(ErrorCode::kNotFound, "peer showed no certificate");
  return Certificate::from_native(native);
}

Engine::Facts Engine::read_facts() const {
  SSL* ssl = native_->ssl.get();
  Facts facts;
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  if (name) facts.alpn.assign(reinterpret_cast<const char*>(name), size);
  facts.version = SSL_get_version(ssl);
  facts.cipher = SSL_get_cipher_name(ssl);
  // OpenSSL answers with the NID of groups it has one for, else with the TLS group id under TLSEXT_nid_unknown.
  const long group = SSL_get_negotiated_group(ssl);
  const char* group_name = OBJ_nid2sn(static_cast<int>(group));
  if (group == (TLSEXT_nid_unknown | 0x11ec)) {
    facts.group = "X25519MLKEM768";
  } else if (group_name && group != NID_undef) {
    facts.group = group_name;
  }
  ERR_clear_error();
  return facts;
}

}  // namespace weft::tls
