#include "cni-plugin/agent/netns.h"

#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <map>

#include "cni-plugin/redirect/inside.h"
#include "lib/base/scope_exit.h"

namespace weft::cni::agent {
namespace {

// A line a controller; real ones are below 4 KiB.
constexpr std::size_t kCgroupTextMax = 16 * 1024;

NetnsId id_of(const struct stat& info) { return {info.st_dev, info.st_ino}; }

std::optional<NetnsId> id_at(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return id_of(info);
}

// Namespaces that belong to the node or to us.
std::set<NetnsId> own_namespaces(const NetnsPlaces& places) {
  std::set<NetnsId> own;
  for (const auto& path : {places.proc + "/1/ns/net", std::string("/proc/self/ns/net")}) {
    if (auto id = id_at(path)) own.insert(*id);
  }
  return own;
}

// Opens a file only if it is a network namespace (ioctl_ns(2)).
Result<NetnsPtr> open_any(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(errno, "open " + path);
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(errno, "stat " + path);
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    return fail(ErrorCode::kInvalidArgument, path + " is no network namespace");
  }
  return std::make_shared<const Netns>(std::move(fd), id_of(info), path);
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* open = ::opendir(directory.c_str());
  if (!open) return names;
  const ScopeExit close([open] { ::closedir(open); });
  while (const dirent* entry = ::readdir(open)) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

std::string read_text(const std::string& path) {
  std::string text(kCgroupTextMax, '\0');
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  const auto got = ::read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

bool is_link_local(const IpAddress& ip) {
  const auto bytes = ip.bytes();
  return ip.is_v4() ? bytes[0] == 169 && bytes[1] == 254 : bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80;
}

// Of the namespace the thread is in.
std::vector<IpAddress> list_addresses() {
  std::vector<IpAddress> result;
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return result;
  const ScopeExit free([first] { ::freeifaddrs(first); });
  for (const ifaddrs* item = first; item; item = item->ifa_next) {
    if (!item->ifa_addr) continue;
    const auto family = item->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    auto address =
        SocketAddress::from_sockaddr(item->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
    if (address && !address->ip().is_loopback() && !is_link_local(address->ip())) result.push_back(address->ip());
  }
  return result;
}

// Enters each namespace; the thread stays where it got to.
void fill_addresses(std::vector<NetnsCandidate>& candidates) {
  std::erase_if(candidates, [](NetnsCandidate& candidate) {
    auto netns = open_any(candidate.path);
    // Gone, or the process that led to it has moved on.
    if (!netns || (*netns)->id != candidate.id) return true;
    if (::setns((*netns)->fd.get(), CLONE_NEWNET) != 0) return true;
    candidate.addresses = list_addresses();
    return false;
  });
}

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }
bool is_punctuation(char c) { return std::ispunct(static_cast<unsigned char>(c)) != 0; }

// A UID at the beginning of `text`, its groups parted by any one punctuation character or by nothing.
std::optional<std::string> leading_uid(std::string_view text) {
  std::string uid;
  bool first = true;
  for (const std::size_t length : {8, 4, 4, 4, 12}) {
    if (!first) {
      if (!text.empty() && is_punctuation(text.front())) text.remove_prefix(1);
      uid += '-';
    }
    first = false;
    if (text.size() < length || !std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(length), is_hex)) {
      return std::nullopt;
    }
    uid += text.substr(0, length);
    text.remove_prefix(length);
  }
  if (!text.empty() && !is_punctuation(text.front())) return std::nullopt;
  return uid;
}

bool contains_any(const std::set<std::string>& known, const std::set<std::string>& uids) {
  return std::any_of(uids.begin(), uids.end(), [&](const std::string& uid) { return known.contains(uid); });
}

bool is_inhabited(const NetnsScan& scan, const NetnsId& id) {
  return std::ranges::find(scan.processes, id, &NetnsProcess::netns) != scan.processes.end();
}

}  // namespace

Result<NetnsPtr> open_netns(const std::string& path, const NetnsPlaces& places) {
  WEFT_TRY(auto netns, open_any(path));
  if (own_namespaces(places).contains(netns->id)) {
    return fail(ErrorCode::kInvalidArgument, path + " is the node's own network namespace");
  }
  return netns;
}

const NetnsCandidate* NetnsScan::find(const NetnsId& id) const {
  const auto at = std::ranges::find(found, id, &NetnsCandidate::id);
  return at == found.end() ? nullptr : &*at;
}

Result<NetnsScan> scan_netns(const NetnsPlaces& places) {
  if (::access((places.proc + "/1").c_str(), F_OK) != 0) return fail_errno(errno, "read " + places.proc);
  std::map<NetnsId, NetnsCandidate> by_id;
  const auto own = own_namespaces(places);
  const auto note = [&](const std::string& path) -> NetnsCandidate* {
    const auto id = id_at(path);
    if (!id || own.contains(*id)) return nullptr;
    auto& candidate = by_id[*id];
    if (candidate.path.empty()) candidate = {*id, path, {}, {}};
    return &candidate;
  };
  // Mounted ones first: their path stays, that of a process goes with it.
  for (const auto& directory : places.directories) {
    for (const auto& name : names_in(directory)) note(directory + "/" + name);
  }
  NetnsScan scan;
  // nft and iptables run for us in pods' namespaces, which are not ours for that.
  const auto our_uid = pod_uid_of_cgroup(read_text("/proc/self/cgroup"));
  for (const auto& name : names_in(places.proc)) {
    if (!std::isdigit(static_cast<unsigned char>(name.front()))) continue;
    auto* candidate = note(places.proc + "/" + name + "/ns/net");
    auto uid = pod_uid_of_cgroup(read_text(places.proc + "/" + name + "/cgroup"));
    if (uid) scan.pod_uids.insert(*uid);
    if (!candidate) continue;
    if (uid == our_uid) uid.reset();
    if (uid) candidate->pod_uids.insert(*uid);
    auto& process = scan.processes.emplace_back(0, candidate->id, uid.value_or(""));
    std::from_chars(name.data(), name.data() + name.size(), process.pid);
  }
  for (auto& [id, candidate] : by_id) scan.found.push_back(std::move(candidate));
  const auto stay = []() -> Result<void> { return {}; };
  const auto fill = [&scan]() -> Result<void> {
    fill_addresses(scan.found);
    return {};
  };
  WEFT_TRY_VOID(redirect::on_own_thread<void>(stay, fill));
  return scan;
}

bool holds_address(const NetnsCandidate& candidate, const PodInfo& pod) {
  return std::any_of(pod.ips.begin(), pod.ips.end(), [&](const IpAddress& ip) {
    return std::find(candidate.addresses.begin(), candidate.addresses.end(), ip) != candidate.addresses.end();
  });
}

bool has_process_of(const NetnsCandidate& candidate, const PodInfo& pod) {
  const auto& uids = candidate.pod_uids;
  return std::any_of(uids.begin(), uids.end(), [&](const std::string& uid) { return pod.has_uid(uid); });
}

bool is_anothers(const NetnsCandidate& candidate, const PodInfo& pod, const std::set<std::string>& known) {
  return !has_process_of(candidate, pod) && contains_any(known, candidate.pod_uids);
}

Sign sign_of(const NetnsScan& scan, const NetnsCandidate& candidate, const PodInfo& pod,
             const std::optional<NetnsId>& remembered, const std::set<std::string>& known) {
  if (has_process_of(candidate, pod)) return Sign::kOwn;
  if (is_anothers(candidate, pod, known)) return Sign::kAnothers;
  if (!pod.netns_hint.empty() && candidate.path == pod.netns_hint) return Sign::kNamed;
  if (is_inhabited(scan, candidate.id) && !contains_any(known, scan.pod_uids)) return Sign::kInhabited;
  return remembered == candidate.id ? Sign::kRemembered : Sign::kNone;
}

Result<const NetnsCandidate*> match_netns(const NetnsScan& scan, const PodInfo& pod,
                                          const std::optional<NetnsId>& remembered, const std::set<std::string>& known) {
  std::vector<const NetnsCandidate*> holders;
  bool others = false, unproven = false;
  for (const auto& candidate : scan.found) {
    if (!holds_address(candidate, pod)) continue;
    switch (sign_of(scan, candidate, pod, remembered, known)) {
      case Sign::kAnothers: others = true; break;
      case Sign::kNone: unproven = true; break;
      case Sign::kOwn:
      case Sign::kNamed:
      case Sign::kInhabited:
      case Sign::kRemembered: holders.push_back(&candidate); break;
    }
  }
  if (holders.empty() && unproven) {
    return fail(ErrorCode::kDenied,
                "no process of pod " + pod.full_name() + " runs in the network namespace that holds an address of it");
  }
  if (holders.empty() && others) {
    return fail(ErrorCode::kDenied,
                "only a network namespace with processes of another pod holds an address of pod " + pod.full_name());
  }
  if (holders.empty()) return fail(ErrorCode::kNotFound, "no network namespace holds an address of pod " + pod.full_name());
  if (holders.size() == 1) return holders.front();
  const auto only = [&](auto&& fits) -> const NetnsCandidate* {
    const NetnsCandidate* found = nullptr;
    for (const auto* holder : holders) {
      if (!fits(*holder)) continue;
      if (found) return nullptr;
      found = holder;
    }
    return found;
  };
  if (remembered) {
    if (const auto* it = only([&](const NetnsCandidate& c) { return c.id == *remembered; })) return it;
  }
  if (const auto* it = only([&](const NetnsCandidate& c) { return has_process_of(c, pod); })) return it;
  if (const auto* it = only([&](const NetnsCandidate& c) { return !pod.netns_hint.empty() && c.path == pod.netns_hint; }))
    return it;
  return fail(ErrorCode::kDenied, std::to_string(holders.size()) + " network namespaces hold an address of pod " +
                                      pod.full_name() + ", and nothing tells which is its own");
}

std::optional<std::string> pod_uid_of_cgroup(std::string_view text) {
  for (auto at = text.find("pod"); at != text.npos; at = text.find("pod", at + 1)) {
    if (at == 0 || !is_punctuation(text[at - 1])) continue;
    auto rest = text.substr(at + 3);
    rest = rest.substr(0, rest.find('\n'));
    if (auto uid = leading_uid(rest)) return uid;
  }
  return std::nullopt;
}

}  // namespace weft::cni::agent
