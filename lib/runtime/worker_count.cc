#include "lib/runtime/worker_count.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace weft::runtime {
namespace {

constexpr double kCpusMax = 4096;

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T number{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return number;
}

unsigned round_up(double value) { return static_cast<unsigned>(std::ceil(value - 1e-9)); }

Result<unsigned> quantity(std::string_view setting, const std::string& text) {
  auto cpus = cpus_in_quantity(text);
  if (!cpus) return fail(std::move(cpus.error()).within(setting));
  return cpus;
}

Result<unsigned> from_worker_threads(const std::string& text, unsigned cpus) {
  const auto invalid = [&] {
    return fail(ErrorCode::kInvalidArgument, "ZTUNNEL_WORKER_THREADS: not a number or 1% to 100%: " + text);
  };
  if (text.ends_with('%')) {
    const auto percent = parse_number<double>(std::string_view(text).substr(0, text.size() - 1));
    if (!percent || !(*percent > 0 && *percent <= 100)) return invalid();
    return std::max(1u, round_up(cpus * *percent / 100));
  }
  const auto number = parse_number<unsigned>(text);
  if (!number || *number > kCpusMax) return invalid();
  return *number == 0 ? cpus : *number;
}

}  // namespace

Result<unsigned> cpus_in_quantity(std::string_view text) {
  const bool milli = text.ends_with('m');
  const auto number = parse_number<double>(milli ? text.substr(0, text.size() - 1) : text);
  const double cpus = number.value_or(0) / (milli ? 1000 : 1);
  if (!(cpus > 0 && cpus <= kCpusMax)) {
    return fail(ErrorCode::kInvalidArgument, "not a quantity of processors above zero: " + std::string(text));
  }
  return std::max(1u, round_up(cpus));
}

Result<unsigned> worker_count(const WorkerCountInputs& inputs) {
  std::optional<unsigned> limit;
  if (inputs.resource_cpu_limit) {
    WEFT_TRY(limit, quantity("ZTUNNEL_RESOURCE_CPU_LIMIT", *inputs.resource_cpu_limit));
  }
  unsigned request = 0;
  // Kubernetes writes 0 for a container that requests nothing.
  if (inputs.resource_cpu_request && *inputs.resource_cpu_request != "0") {
    WEFT_TRY(request, quantity("ZTUNNEL_RESOURCE_CPU_REQUEST", *inputs.resource_cpu_request));
  }
  unsigned cpus = std::max(1u, inputs.usable_cpus);
  if (limit) {
    cpus = *limit;
  } else if (inputs.cpu_limit) {
    const auto number = parse_number<unsigned>(*inputs.cpu_limit);
    if (!number || *number == 0 || *number > kCpusMax) {
      return fail(ErrorCode::kInvalidArgument, "ZTUNNEL_CPU_LIMIT: not a number above zero: " + *inputs.cpu_limit);
    }
    cpus = *number;
  }

  if (inputs.worker_threads) return from_worker_threads(*inputs.worker_threads, cpus);
  if (inputs.concurrency) {
    if (*inputs.concurrency < 0 || *inputs.concurrency > static_cast<std::int64_t>(kCpusMax)) {
      return fail(ErrorCode::kInvalidArgument, "concurrency: out of range: " + std::to_string(*inputs.concurrency));
    }
    return *inputs.concurrency == 0 ? cpus : static_cast<unsigned>(*inputs.concurrency);
  }
  if (limit) return std::max(*limit, request);
  return std::max({round_up(0.25 * cpus), request, 2u});
}

}  // namespace weft::runtime
