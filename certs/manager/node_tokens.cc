#include "certs/manager/node_tokens.h"

#include <algorithm>

#include "lib/base/log.h"
#include "lib/tls/key.h"

namespace weft::certs::manager {
namespace {

constexpr std::size_t kTokenBytes = 32;
constexpr std::size_t kTokenFileMax = 4096;
// Shorter content is not a token anybody should rely on.
constexpr std::size_t kTokenSizeMin = 16;

bool same(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(i < b.size() ? b[i] : 0);
  }
  return difference == 0;
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

Result<std::string> NodeTokens::token_in(const std::string& path) {
  WEFT_TRY(auto content, files_.read(path, kTokenFileMax));
  std::string token = trimmed(std::move(content));
  if (token.size() < kTokenSizeMin) {
    return fail(ErrorCode::kInvalidArgument, path + ": too short to be a token; write " + std::to_string(kTokenSizeMin) +
                                                 " or more random characters into it");
  }
  return token;
}

bool is_node_name(std::string_view name) {
  const auto allowed = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  return !name.empty() && name.size() <= 253 && std::all_of(name.begin(), name.end(), allowed) &&
         name.find("..") == std::string_view::npos && name.front() != '.' && name.front() != '-' && name.back() != '.' &&
         name.back() != '-';
}

Result<void> NodeTokens::ensure(const std::string& node) {
  if (!is_node_name(node)) return fail(ErrorCode::kInvalidArgument, "not a node name: " + node);
  if (tokens_.contains(node)) return {};
  const std::string path = directory_ + "/" + node;
  auto token = token_in(path);
  if (!token) {
    if (token.error().code() != ErrorCode::kNotFound) return fail(std::move(token).error());
    WEFT_TRY_VOID(files_.make_directory(directory_, 0700));
    WEFT_TRY(token, tls::random_token(kTokenBytes));
    // No line end: clients send the file as it is.
    WEFT_TRY_VOID(files_.write(path, *token, 0600));
    WEFT_LOG(kInfo, "ca", "made a token for a new node", {"node", node}, {"file", path});
  }
  tokens_[node] = std::move(*token);
  return {};
}

Result<void> NodeTokens::reload() {
  WEFT_TRY_VOID(files_.make_directory(directory_, 0700));
  WEFT_TRY(auto paths, files_.list(directory_));
  std::map<std::string, std::string> tokens;
  for (const auto& path : paths) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (!is_node_name(name)) continue;
    auto token = token_in(path);
    if (!token) {
      WEFT_LOG(kWarn, "ca", "cannot read a node's token", {"file", path}, {"error", token.error().message()});
      continue;
    }
    tokens[name] = std::move(*token);
  }
  tokens_ = std::move(tokens);
  return {};
}

std::optional<std::string> NodeTokens::node_of(std::string_view token) const {
  std::optional<std::string> owner;
  for (const auto& [node, expected] : tokens_) {
    if (same(expected, token)) owner = node;
  }
  return owner;
}

}  // namespace weft::certs::manager
