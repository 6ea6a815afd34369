// TLS 1.3 record protection of our own, taking over from OpenSSL when a handshake is complete (RFC 8446 5).
//
// Why: libssl copies every record twice in each direction and holds 23 KiB a connection. Here the cipher reads straight
// from the slices and writes straight into the pooled output block, one record a block, headers included. The handshake,
// its keys and all decisions about peers stay OpenSSL's; this file knows AES-GCM records, close_notify, alerts, key
// updates and the tickets that a peer's server may still send.
//
// Single-threaded, no I/O. A failure is final; its alert is in the output.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "lib/base/buffer.h"
#include "lib/base/result.h"

struct evp_cipher_ctx_st;  // OpenSSL's EVP_CIPHER_CTX

namespace weft::tls {

enum class RecordType : std::uint8_t { kAlert = 21, kHandshake = 22, kData = 23 };
enum class Suite { kAes128GcmSha256, kAes256GcmSha384 };

// One direction: the traffic secret, the key made from it, and the number of the next record.
class RecordKeys {
 public:
  static Result<RecordKeys> create(Suite suite, std::span<const std::uint8_t> secret, bool sealing);
  RecordKeys(RecordKeys&&) noexcept;
  RecordKeys& operator=(RecordKeys&&) noexcept;
  ~RecordKeys();

  // The next generation of the same direction (RFC 8446 7.2). After a failure nothing is sealed or opened any more: the
  // record numbers begin anew, and under the old key each would be used twice.
  Result<void> update();
  std::uint64_t records() const { return sequence_; }

  // Appends one record to `out` with the first `count` bytes of `plain`, which are removed; count <= 16,384.
  Result<void> seal(RecordType type, BufferChain& plain, std::size_t count, BufferChain& out);
  // Decrypts one whole record (header and `size` bytes of body at the front of `wire`, which are removed) into `out`, which
  // has room for `size` bytes. Returns the plain text's length and type, padding removed; type 0: it is all padding.
  struct Opened {
    std::size_t size;
    std::uint8_t type;
  };
  Result<Opened> open(BufferChain& wire, std::size_t size, std::byte* out);

 private:
  struct FreeContext {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  RecordKeys() = default;
  Result<void> derive();
  std::array<std::uint8_t, 12> next_nonce();

  Suite suite_ = Suite::kAes128GcmSha256;
  bool sealing_ = false;
  std::array<std::uint8_t, 48> secret_{};
  std::size_t secret_size_ = 0;
  std::array<std::uint8_t, 12> iv_{};
  std::uint64_t sequence_ = 0;
  std::unique_ptr<evp_cipher_ctx_st, FreeContext> context_;
};

// Both directions of a connection after its handshake.
class RecordLayer {
 public:
  RecordLayer(RecordKeys receive, RecordKeys send);

  // Appends what can be decrypted to `out`; whole records are taken from `wire`, the rest stays. After close_notify
  // whatever comes is dropped.
  Result<void> decrypt(BufferChain& wire, BufferChain& out);
  // The peer sent close_notify.
  bool ended() const { return ended_; }
  Result<void> encrypt(BufferChain plain);
  void close_notify() { send_alert(1, 0); }
  // Records to be sent, alerts and key updates included.
  BufferChain& output() { return output_; }
  void set_records_per_key(std::uint64_t records) { records_per_key_ = records; }

 private:
  Result<void> on_record(std::uint8_t type, std::span<const std::byte> content);
  Result<void> on_handshake_bytes(std::span<const std::byte> bytes);
  Result<void> on_key_update(bool answer_wanted);
  Result<void> on_alert(std::span<const std::byte> content);
  Result<void> send_key_update();
  void send_alert(std::uint8_t level, std::uint8_t description);
  std::unexpected<Error> refuse(std::uint8_t alert, std::string text);

  RecordKeys receive_;
  RecordKeys send_;
  BufferChain output_;
  std::string handshake_;  // of an unfinished message
  std::uint64_t records_per_key_ = std::uint64_t{1} << 23;
  std::uint32_t empty_records_ = 0;
  std::uint64_t update_credit_;
  // The peer asked for our next key: due before our next data, once however often it asked (RFC 8446 4.6.3). So its
  // requests fill no output while it does not read.
  bool update_owed_ = false;
  bool ended_ = false;
  bool closed_ = false;
};

}  // namespace weft::tls
