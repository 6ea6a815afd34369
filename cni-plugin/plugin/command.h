// What a container runtime asks of a CNI plugin, and how errors are told: the part of the CNI specification that every
// plugin shares. Pure.
//
// The checks, their order and their codes are those of the reference library (containernetworking/cni, pkg/skel), because
// runtimes rely on them.
#pragma once

#include <expected>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace weft::cni::plugin {

inline constexpr std::string_view kVersions[] = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

// Network configurations are some KiB; with the result of a chain and every selector a person would write, below 100 KiB.
inline constexpr std::size_t kInputMax = 4 * 1024 * 1024;

struct CniError {
  static constexpr int kIncompatibleVersion = 1, kInvalidEnvironment = 4, kIo = 5, kNotJson = 6, kInvalidNetwork = 7,
                       kOwnNamespace = 8, kInternal = 999;
  int code = kInternal;
  std::string message;
  std::string details;
};
// As printed on standard output, with a line end.
std::string to_json(const CniError& error);

inline std::unexpected<CniError> refuse(int code, std::string message, std::string details = "") {
  return std::unexpected(CniError{code, std::move(message), std::move(details)});
}

// The variables a runtime sets.
struct Environment {
  std::string command, container_id, netns, netns_override, interface, args, path;
};
// `get` returns null for a variable that is not set, as getenv does.
Environment read_environment(const std::function<const char*(const char*)>& get);

enum class Command { kAdd, kDel, kCheck, kGc, kStatus, kVersion };

struct Call {
  Command command = Command::kVersion;
  std::string version;  // of the network configuration; one of kVersions
  std::string network;  // its name
};

// The command and the variables it needs. VERSION needs nothing; the configuration is not read for it.
std::expected<Command, CniError> read_command(const Environment& environment);
// The whole call, for every command but VERSION. `config` is the text from standard input.
std::expected<Call, CniError> read_call(Command command, const Environment& environment, std::string_view config);

// The answer to VERSION.
std::string versions_json();

// CNI_ARGS, as far as this plugin reads them.
struct Arguments {
  std::string pod_name, pod_namespace, container_id, pod_uid;
};
// An unknown key is an error unless IgnoreUnknown says otherwise; so is a pair without "=".
std::expected<Arguments, CniError> read_arguments(std::string_view text);

}  // namespace weft::cni::plugin
