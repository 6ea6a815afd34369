// Cutting text into lines and words.
#pragma once

#include <algorithm>
#include <string_view>

namespace weft::cni::redirect {

// Takes the next line, without its end, from `text`.
inline std::string_view next_line(std::string_view& text) {
  const auto line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

// Takes the next word from `line`; empty at its end. In double quotes, as iptables-save writes comments, spaces and \" are
// part of a word.
inline std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  std::size_t end = 0;
  for (bool quoted = false; end < line.size() && (quoted || line[end] != ' '); ++end) {
    if (line[end] == '"') quoted = !quoted;
    if (line[end] == '\\' && quoted && end + 1 < line.size()) ++end;
  }
  const auto word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

}  // namespace weft::cni::redirect
