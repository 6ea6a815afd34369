// TLS as a machine without I/O: cipher bytes and plain bytes in, plain bytes and cipher bytes out.
//
// OpenSSL reads records straight out of the received slices and writes them straight into pooled output blocks, by a BIO
// of our own. Decrypted records land whole in pooled 16 KiB blocks, so that HTTP/2 can slice them without copying; small
// results are moved to small blocks, so that a slow consumer pins what it was sent and not 16 KiB a record. Encryption
// gathers slices into full records (RFC 8446 5.1: 16,384 bytes); slices adjacent in memory are not copied first, so a
// writer that puts a frame header in front of its payload pays for one copy only. Between calls an idle engine holds no
// I/O block: input is always drained, output is taken, OpenSSL releases its own (SSL_MODE_RELEASE_BUFFERS).
//
// Single-threaded; after an error only take_output() (an alert for the peer) makes sense.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lib/base/buffer.h"
#include "lib/base/result.h"
#include "lib/tls/context.h"
#include "lib/tls/records.h"
#include "lib/tls/verify.h"

namespace weft::tls {

enum class Role { kClient, kServer };

// Largest plain text of one record.
inline constexpr std::size_t kRecordSizeMax = 16 * 1024;
// What a record costs besides its plain text: header 5, inner type 1, tag 16.
inline constexpr std::size_t kRecordOverhead = 22;
// AES-GCM keys are exchanged after this many records; RFC 8446 5.5 allows 2^24.5.
inline constexpr std::uint64_t kRecordsPerKeyMax = std::uint64_t{1} << 23;

class Engine {
 public:
  // `context` of the right kind: with credentials for a server. A NamedServer expectation also sets SNI to its host.
  static Result<std::unique_ptr<Engine>> create(std::shared_ptr<const Context> context, Role role,
                                                Verification verification);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Bytes from the peer, in order; and that no more will come.
  void receive(BufferChain bytes) { input_.append(std::move(bytes)); }
  void receive_end() { input_ended_ = true; }

  // Advances the handshake with what was received; true when it is complete. Errors: kTls "tls handshake error: ...",
  // kIdentity "identity verification error: ...". Output must be sent in every case, also after an error.
  Result<bool> handshake();

  // Appends everything that can be decrypted to `out`. Then ended() tells whether the peer closed its direction properly.
  // An end without close_notify is kClosed: the data may have been cut short by somebody else.
  Result<void> decrypt(BufferChain& out);
  bool ended() const { return ended_; }

  // Encrypts `plain` into the output.
  Result<void> encrypt(BufferChain plain);
  // Ends our direction: close_notify into the output. Receiving goes on.
  void close_notify();

  bool has_output() const {
    return !output_.empty() || (writer_ && writer_->size() > 0) || (records_ && !records_->output().empty());
  }
  BufferChain take_output();

  // After the handshake.
  const std::optional<model::Identity>& peer_identity() const;
  Result<Certificate> peer_certificate() const;                  // kNotFound when the peer showed none
  const std::string& alpn() const { return facts_.alpn; }        // "" when none was agreed
  const std::string& version() const { return facts_.version; }  // "TLSv1.3"
  const std::string& cipher() const { return facts_.cipher; }    // "TLS_AES_128_GCM_SHA256"
  const std::string& group() const { return facts_.group; }      // "X25519"; "" when OpenSSL cannot name it

  const Context& context() const { return *context_; }
  // For tests: exchange keys after this many records.
  void set_records_per_key(std::uint64_t records) {
    records_per_key_ = records;
    if (records_) records_->set_records_per_key(records);
  }
  bool uses_own_records() const { return records_ != nullptr; }

 private:
  struct Native;  // OpenSSL's objects
  Engine(std::shared_ptr<const Context> context, Role role);

  struct Facts {
    std::string alpn, version, cipher, group;
  };
  Facts read_facts() const;
  // Hands the records to our own layer and lets OpenSSL's connection go, when the context asks for it and it is possible.
  void take_over_records();
  Result<void> decrypt_own(BufferChain& out);
  Error failure(int result, bool handshaking);
  Result<void> write_record_bytes(const std::byte* data, std::size_t size);
  std::size_t bio_read(char* out, std::size_t size);
  void bio_write(const char* data, std::size_t size);

  std::shared_ptr<const Context> context_;
  std::unique_ptr<Native> native_;
  BufferChain input_;
  bool input_ended_ = false;
  bool ended_ = false;
  bool failed_ = false;
  BufferChain output_;
  std::optional<BufferWriter> writer_;  // the block output is being written to
  std::size_t output_expected_ = 0;     // sizes the next block
  std::uint64_t records_since_key_ = 0;
  std::uint64_t records_per_key_ = kRecordsPerKeyMax;
  Role role_;
  Facts facts_;                           // what accessors answer, once the handshake is complete
  std::unique_ptr<RecordLayer> records_;  // null: OpenSSL protects records
};

}  // namespace weft::tls
