#include "lib/grpc/message.h"

#include <array>

namespace weft::grpc {

BufferChain frame_message(std::string_view message) {
  const auto size = static_cast<std::uint32_t>(message.size());
  BufferWriter writer(kMessagePrefix + message.size());
  const std::array<std::byte, kMessagePrefix> prefix = {std::byte{0}, static_cast<std::byte>(size >> 24),
                                                        static_cast<std::byte>(size >> 16),
                                                        static_cast<std::byte>(size >> 8), static_cast<std::byte>(size)};
  writer.append(prefix);
  writer.append(std::as_bytes(std::span(message)));
  return BufferChain(writer.take());
}

Result<std::optional<std::string>> MessageReader::next() {
  std::array<std::byte, kMessagePrefix> prefix;
  if (data_.peek(prefix) < prefix.size()) return std::nullopt;
  std::size_t size = 0;
  for (std::size_t i = 1; i < prefix.size(); ++i) size = size << 8 | std::to_integer<std::size_t>(prefix[i]);
  if (prefix[0] != std::byte{0}) return fail(ErrorCode::kUnsupported, "compressed gRPC message, though none was offered");
  if (size > message_max_)
    return fail(ErrorCode::kLimit,
                "gRPC message of " + std::to_string(size) + " bytes, at most " + std::to_string(message_max_));
  if (data_.size() - prefix.size() < size) return std::nullopt;
  data_.remove_prefix(prefix.size());
  return data_.split(size).to_string();
}

}  // namespace weft::grpc
