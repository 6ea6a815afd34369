#include "lib/tls/records.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstring>

#include "lib/tls/detail/openssl.h"

namespace weft::tls {
namespace {

constexpr std::size_t kHeader = 5;
constexpr std::size_t kTag = 16;
constexpr std::size_t kPlainMax = 16 * 1024;
// RFC 8446 5.2: plain text, type, padding and tag together.
constexpr std::size_t kBodyMax = kPlainMax + 256;
// Post-handshake messages are key updates (5 bytes) and tickets (a few hundred).
constexpr std::size_t kHandshakeMax = 64 * 1024;
// Records without data in a row; more is a peer that wants to keep us busy.
constexpr std::uint32_t kEmptyRecordsMax = 32;
// A key update costs us as much as decrypting this many bytes, so that is what the peer must send between two of them, on
// average; a few may come at once. Honest peers exchange keys after gigabytes.
constexpr std::uint64_t kUpdateCost = 32 * 1024;
constexpr std::uint64_t kUpdateCreditMax = 32 * kUpdateCost;
constexpr std::size_t kRoomMin = 4 * 1024;
constexpr std::size_t kSmallResult = 2 * 1024;

constexpr std::uint8_t kCloseNotify = 0, kUnexpectedMessage = 10, kBadRecordMac = 20, kRecordOverflow = 22,
                       kDecodeError = 50, kUserCanceled = 90;
constexpr std::uint8_t kFatal = 2;
constexpr std::uint8_t kNewSessionTicket = 4, kKeyUpdate = 24;

std::size_t key_size(Suite suite) { return suite == Suite::kAes128GcmSha256 ? 16 : 32; }
const char* digest_name(Suite suite) { return suite == Suite::kAes128GcmSha256 ? "SHA2-256" : "SHA2-384"; }

// HKDF-Expand-Label(secret, label, "", out.size()), RFC 8446 7.1.
bool expand_label(Suite suite, std::span<const std::uint8_t> secret, std::string_view label, std::span<std::uint8_t> out) {
  std::string info{static_cast<char>(out.size() >> 8), static_cast<char>(out.size() & 0xff)};
  info += static_cast<char>(6 + label.size());
  info += "tls13 ";
  info += label;
  info += '\0';
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = kdf ? EVP_KDF_CTX_new(kdf) : nullptr;
  EVP_KDF_free(kdf);
  if (!context) return false;
  int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>(digest_name(suite)), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, const_cast<std::uint8_t*>(secret.data()), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info.data(), info.size()), OSSL_PARAM_construct_end()};
  const bool done = EVP_KDF_derive(context, out.data(), out.size(), parameters) == 1;
  EVP_KDF_CTX_free(context);
  return done;
}

// Fetched once: an implicit fetch takes a lock.
const EVP_CIPHER* cipher_of(Suite suite) {
  static const EVP_CIPHER* const aes128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static const EVP_CIPHER* const aes256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return suite == Suite::kAes128GcmSha256 ? aes128 : aes256;
}

// The rest of a record may be long in coming: what there is moves out of large blocks it would pin (receive rings), and
// many crumbs into one.
void keep_tail(BufferChain& wire) {
  if (wire.empty()) return;
  const bool crumbs = wire.slice_count() > 32;
  BufferChain kept;
  if (crumbs) {
    BufferWriter writer(wire.size());
    wire.peek({writer.tail(), wire.size()});
    writer.commit(wire.size());
    kept.append(writer.take());
  } else {
    for (std::size_t i = 0; i < wire.slice_count(); ++i) {
      const Buffer& slice = wire.slice(i);
      kept.append(slice.block_capacity() > 2 * slice.size() ? Buffer::copy_of(slice.span()) : slice);
    }
  }
  wire = std::move(kept);
}

unsigned char* bytes(std::byte* at) { return reinterpret_cast<unsigned char*>(at); }
const unsigned char* bytes(const std::byte* at) { return reinterpret_cast<const unsigned char*>(at); }

}  // namespace

void RecordKeys::FreeContext::operator()(evp_cipher_ctx_st* context) const { EVP_CIPHER_CTX_free(context); }
RecordKeys::RecordKeys(RecordKeys&&) noexcept = default;
RecordKeys& RecordKeys::operator=(RecordKeys&&) noexcept = default;
RecordKeys::~RecordKeys() { OPENSSL_cleanse(secret_.data(), secret_.size()); }

Result<RecordKeys> RecordKeys::create(Suite suite, std::span<const std::uint8_t> secret, bool sealing) {
  RecordKeys keys;
  if (secret.size() > keys.secret_.size()) return fail(ErrorCode::kInternal, "traffic secret of unexpected size");
  keys.suite_ = suite;
  keys.sealing_ = sealing;
  keys.secret_size_ = secret.size();
  std::copy(secret.begin(), secret.end(), keys.secret_.begin());
  keys.context_.reset(EVP_CIPHER_CTX_new());
  WEFT_TRY_VOID(keys.derive());
  return keys;
}

Result<void> RecordKeys::derive() {
  std::array<std::uint8_t, 32> key{};
  const std::span<const std::uint8_t> secret(secret_.data(), secret_size_);
  bool ok = context_ && expand_label(suite_, secret, "key", {key.data(), key_size(suite_)}) &&
            expand_label(suite_, secret, "iv", iv_);
  ok = ok && EVP_CipherInit_ex(context_.get(), cipher_of(suite_), nullptr, key.data(), iv_.data(), sealing_ ? 1 : 0) == 1;
  OPENSSL_cleanse(key.data(), key.size());
  sequence_ = 0;
  if (ok) return {};
  context_.reset();
  return detail::fail_openssl("tls error: cannot derive record keys");
}

Result<void> RecordKeys::update() {
  std::array<std::uint8_t, 48> next{};
  if (!expand_label(suite_, {secret_.data(), secret_size_}, "traffic upd", {next.data(), secret_size_})) {
    context_.reset();
    return detail::fail_openssl("tls error: cannot derive record keys");
  }
  secret_ = next;
  OPENSSL_cleanse(next.data(), next.size());
  return derive();
}

// RFC 8446 5.3: the record number, padded to the left, over the static value.
std::array<std::uint8_t, 12> RecordKeys::next_nonce() {
  std::array<std::uint8_t, 12> nonce = iv_;
  for (std::size_t i = 0; i < 8; ++i) nonce[11 - i] ^= static_cast<std::uint8_t>(sequence_ >> (8 * i));
  ++sequence_;
  return nonce;
}

Result<void> RecordKeys::seal(RecordType type, BufferChain& plain, std::size_t count, BufferChain& out) {
  const std::size_t body = count + 1 + kTag;
  // One record a block, the pooled size for full ones.
  BufferWriter writer(count > 2 * 1024 ? kPooledBlockSize : kHeader + body);
  unsigned char* const record = bytes(writer.tail());
  record[0] = static_cast<unsigned char>(RecordType::kData);
  record[1] = 3;
  record[2] = 3;
  record[3] = static_cast<unsigned char>(body >> 8);
  record[4] = static_cast<unsigned char>(body & 0xff);
  const auto nonce = next_nonce();
  EVP_CIPHER_CTX* context = context_.get();
  int done = 0;
  bool ok = context && EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, nonce.data(), -1) == 1 &&
            EVP_EncryptUpdate(context, nullptr, &done, record, kHeader) == 1;
  unsigned char* at = record + kHeader;
  std::size_t left = count;
  while (ok && left > 0) {
    const Buffer& front = plain.front();
    const std::size_t part = std::min(left, front.size());
    ok = EVP_EncryptUpdate(context, at, &done, bytes(front.data()), static_cast<int>(part)) == 1;
    plain.remove_prefix(part);
    at += part;
    left -= part;
  }
  const unsigned char inner = static_cast<unsigned char>(type);
  ok = ok && EVP_EncryptUpdate(context, at, &done, &inner, 1) == 1 && EVP_EncryptFinal_ex(context, at + 1, &done) == 1 &&
       EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTag, at + 1) == 1;
  if (!ok) return detail::fail_openssl("tls error: cannot encrypt");
  writer.commit(kHeader + body);
  out.append(writer.take());
  return {};
}

Result<RecordKeys::Opened> RecordKeys::open(BufferChain& wire, std::size_t size, std::byte* out) {
  unsigned char header[kHeader];
  wire.peek({reinterpret_cast<std::byte*>(header), kHeader});
  wire.remove_prefix(kHeader);
  const auto nonce = next_nonce();
  EVP_CIPHER_CTX* context = context_.get();
  int done = 0;
  bool ok = context && EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, nonce.data(), -1) == 1 &&
            EVP_DecryptUpdate(context, nullptr, &done, header, kHeader) == 1;
  std::size_t left = size - kTag;
  unsigned char* at = bytes(out);
  while (ok && left > 0) {
    const Buffer& front = wire.front();
    const std::size_t part = std::min(left, front.size());
    ok = EVP_DecryptUpdate(context, at, &done, bytes(front.data()), static_cast<int>(part)) == 1;
    wire.remove_prefix(part);
    at += part;
    left -= part;
  }
  unsigned char tag[kTag];
  wire.peek({reinterpret_cast<std::byte*>(tag), kTag});
  wire.remove_prefix(kTag);
  unsigned char nothing[kTag];
  ok = ok && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTag, tag) == 1 &&
       EVP_DecryptFinal_ex(context, nothing, &done) == 1;
  ERR_clear_error();
  if (!ok) return fail(ErrorCode::kTls, "decryption failed or bad record mac");
  std::size_t end = size - kTag;
  while (end > 0 && out[end - 1] == std::byte{0}) --end;  // padding, RFC 8446 5.4
  if (end == 0) return Opened{0, 0};
  return Opened{end - 1, static_cast<std::uint8_t>(out[end - 1])};
}

RecordLayer::RecordLayer(RecordKeys receive, RecordKeys send)
    : receive_(std::move(receive)), send_(std::move(send)), update_credit_(kUpdateCreditMax) {}

std::unexpected<Error> RecordLayer::refuse(std::uint8_t alert, std::string text) {
  send_alert(kFatal, alert);
  return fail(ErrorCode::kTls, "tls error: " + text);
}

void RecordLayer::send_alert(std::uint8_t level, std::uint8_t description) {
  if (closed_) return;
  closed_ = true;
  const char alert[2] = {static_cast<char>(level), static_cast<char>(description)};
  BufferChain plain(Buffer::copy_of(std::string_view(alert, 2)));
  auto sealed = send_.seal(RecordType::kAlert, plain, 2, output_);
  (void)sealed;  // without keys there is nothing left to say
}

Result<void> RecordLayer::encrypt(BufferChain plain) {
  if (closed_) return fail(ErrorCode::kTls, "tls error: connection already closed");
  while (!plain.empty()) {
    if (update_owed_ || send_.records() >= records_per_key_) WEFT_TRY_VOID(send_key_update());
    WEFT_TRY_VOID(send_.seal(RecordType::kData, plain, std::min(plain.size(), kPlainMax), output_));
  }
  return {};
}

Result<void> RecordLayer::send_key_update() {
  const char message[5] = {static_cast<char>(kKeyUpdate), 0, 0, 1, 0};  // update_not_requested
  BufferChain plain(Buffer::copy_of(std::string_view(message, 5)));
  update_owed_ = false;
  WEFT_TRY_VOID(send_.seal(RecordType::kHandshake, plain, 5, output_));
  return send_.update();
}

Result<void> RecordLayer::on_record(std::uint8_t type, std::span<const std::byte> content) {
  const bool is_data = type == static_cast<std::uint8_t>(RecordType::kData);
  const bool is_handshake = type == static_cast<std::uint8_t>(RecordType::kHandshake);
  if (!handshake_.empty() && !is_handshake) return refuse(kUnexpectedMessage, "record inside a handshake message");
  empty_records_ = is_data && !content.empty() ? 0 : empty_records_ + 1;
  if (empty_records_ > kEmptyRecordsMax) return refuse(kUnexpectedMessage, "too many records without data");
  if (is_data) {
    update_credit_ = std::min(update_credit_ + content.size(), kUpdateCreditMax);
    return {};
  }
  if (is_handshake) return on_handshake_bytes(content);
  if (type == static_cast<std::uint8_t>(RecordType::kAlert) && content.size() == 2) return on_alert(content);
  return refuse(kUnexpectedMessage, "unexpected record type " + std::to_string(type));
}

Result<void> RecordLayer::on_handshake_bytes(std::span<const std::byte> received) {
  if (received.empty()) return refuse(kUnexpectedMessage, "empty handshake record");
  handshake_.append(reinterpret_cast<const char*>(received.data()), received.size());
  if (handshake_.size() > kHandshakeMax) return refuse(kUnexpectedMessage, "handshake message too large");
  std::size_t at = 0;
  while (handshake_.size() - at >= 4) {
    const auto byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(handshake_[at + i])}; };
    const std::size_t size = byte(1) << 16 | byte(2) << 8 | byte(3);
    if (handshake_.size() - at < 4 + size) break;
    if (byte(0) == kKeyUpdate) {
      if (size != 1 || byte(4) > 1) return refuse(kDecodeError, "malformed key update");
      // Its message must end its record: what follows is under the new key.
      if (handshake_.size() - at != 5) return refuse(kUnexpectedMessage, "data after a key update");
      WEFT_TRY_VOID(on_key_update(byte(4) == 1));
    } else if (byte(0) != kNewSessionTicket) {
      return refuse(kUnexpectedMessage, "unexpected handshake message " + std::to_string(byte(0)));
    }
    at += 4 + size;
  }
  handshake_.erase(0, at);
  return {};
}

Result<void> RecordLayer::on_key_update(bool answer_wanted) {
  if (update_credit_ < kUpdateCost) return refuse(kUnexpectedMessage, "too many key updates");
  update_credit_ -= kUpdateCost;
  update_owed_ = update_owed_ || answer_wanted;
  return receive_.update();
}

Result<void> RecordLayer::on_alert(std::span<const std::byte> content) {
  const int description = static_cast<int>(content[1]);
  if (description == kUserCanceled) return {};  // says why a close_notify is about to come, RFC 8446 6.1
  if (description == kCloseNotify) {
    ended_ = true;
    return {};
  }
  closed_ = true;
  return fail(ErrorCode::kTls, std::string("tls error: received fatal alert: ") + SSL_alert_desc_string_long(description));
}

Result<void> RecordLayer::decrypt(BufferChain& wire, BufferChain& out) {
  std::optional<BufferWriter> writer;
  Result<void> outcome;
  while (!ended_ && wire.size() >= kHeader) {
    unsigned char header[kHeader];
    wire.peek({reinterpret_cast<std::byte*>(header), kHeader});
    const std::size_t size = static_cast<std::size_t>(header[3]) << 8 | header[4];
    if (header[0] != static_cast<unsigned char>(RecordType::kData) || header[1] != 3) {
      outcome = refuse(kUnexpectedMessage, "received corrupt message: unprotected record");
      break;
    }
    if (size > kBodyMax || size < kTag + 1) {
      outcome = refuse(kRecordOverflow, "received corrupt message: record size " + std::to_string(size));
      break;
    }
    if (wire.size() < kHeader + size) break;
    if (writer && writer->room() < std::max(size, kRoomMin)) {
      if (writer->size() > 0) out.append(writer->take());
      writer.reset();
    }
    if (!writer) writer.emplace();
    auto opened = receive_.open(wire, size, writer->tail());
    if (!opened) {
      outcome = refuse(kBadRecordMac, opened.error().message());
      break;
    }
    if (opened->size > kPlainMax) {
      outcome = refuse(kRecordOverflow, "record too large");
      break;
    }
    outcome = on_record(opened->type, {writer->tail(), opened->size});
    if (!outcome) break;
    if (opened->type == static_cast<std::uint8_t>(RecordType::kData)) writer->commit(opened->size);
  }
  if (ended_) wire.clear();  // whatever follows a close_notify is ignored, RFC 8446 6.1
  keep_tail(wire);
  if (writer && writer->size() > 0) {
    Buffer last = writer->take();
    out.append(last.size() <= kSmallResult ? Buffer::copy_of(last.span()) : std::move(last));
  }
  return outcome;
}

}  // namespace weft::tls
