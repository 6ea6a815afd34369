#include "lib/http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "lib/base/check.h"

namespace weft::http2 {
namespace {

// RFC 9113 §4.1.
constexpr std::size_t kFrameHeader = 9;
constexpr std::size_t kPrefaceSize = 24;  // §3.4: what a client says before its first frame
// RFC 9113 §6.5.2: what a header field costs besides its bytes.
constexpr std::size_t kFieldOverhead = 32;
// nghttp2's own count of resets knows nothing of useful streams: it stands behind ours (budget.h), for what ours overlooks.
constexpr std::uint64_t kNativeResetBurst = 100'000, kNativeResetsPerSecond = 10'000;
// One produce() stops starting DATA frames beyond this: a write of the transport stays bounded and control frames get ahead.
constexpr std::size_t kProduceMax = 256 * 1024;

Error from_native(int code, std::string_view what) {
  std::string text(what);
  text += ": ";
  text += nghttp2_strerror(code);
  return Error(code == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE ? ErrorCode::kLimit : ErrorCode::kProtocol, std::move(text));
}

// What nghttp2 refuses by limits of its own.
std::optional<Breach> breach_of(int code) {
  switch (code) {
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_SETTINGS: return Breach::kControlFrames;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: return Breach::kHeaderBlock;
    default: return std::nullopt;
  }
}

std::vector<nghttp2_nv> fields(const Headers& headers) {
  std::vector<nghttp2_nv> list;
  list.reserve(headers.size());
  for (const auto& [name, value] : headers) {
    list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                    reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                    NGHTTP2_NV_FLAG_NONE});
  }
  return list;
}

}  // namespace

const std::string* find(const Headers& headers, std::string_view name) {
  for (const auto& [key, value] : headers)
    if (key == name) return &value;
  return nullptr;
}

struct Session::Native {
  // What is known of an open stream.
  struct Stream {
    BufferChain out;
    bool out_ended = false;
    bool has_source = false;  // a data provider was attached
    Headers trailers;
    Headers incoming;
    std::size_t incoming_size = 0;
    bool message_begun = false;  // a final header block was seen
    bool end_sent = false;       // our END_STREAM left
    bool useful = false;         // bytes were taken or sent
    bool reset_by_us = false;    // by our own will, not by a rule that the peer broke
    bool close_after_end = false;
  };

  Settings settings;
  SessionEvents& events;
  nghttp2_session* session = nullptr;
  std::unordered_map<std::int32_t, Stream> streams;
  const Buffer* input = nullptr;  // being parsed
  // Filled by produce(): small frames are gathered in `writer`, DATA payloads go between.
  std::optional<BufferWriter> writer;
  BufferChain* out = nullptr;
  std::size_t out_before = 0;
  std::vector<std::int32_t> paused;  // streams whose data waits for the next produce()
  std::size_t unconsumed = 0;        // DATA bytes handed on, credit not given back
  std::optional<Error> broken;
  const Role role;
  FrameScanner scanner;
  Budget budget;
  MonotonicTime now{};  // of the receive() under way or before
  std::uint32_t frames = 0;

  Native(Role r, const Settings& s, SessionEvents& e)
      : settings(s), events(e), role(r), scanner(r == Role::kServer ? kPrefaceSize : 0), budget(s.max_header_list) {}

  void give_up() { nghttp2_session_terminate_session(session, static_cast<std::uint32_t>(ResetCode::kEnhanceYourCalm)); }
  // A stream ended by a reset that we did not want: free when it had carried something.
  bool pay_for_reset(std::int32_t id) {
    if (role == Role::kClient) return true;  // it is we who open streams
    const auto found = streams.find(id);
    if (found != streams.end() && (found->second.useful || found->second.reset_by_us)) return true;
    return budget.on_idle_reset(now);
  }

  // nghttp2 tells of credit when it is half of the connection's window. Where stalled readers hold the other half that never
  // comes about, and nobody could send any more: half of what is free is enough.
  void announce_credit() {
    const std::size_t window = settings.connection_window;
    const auto used = static_cast<std::size_t>(nghttp2_session_get_effective_recv_data_length(session));
    const auto credit = used - std::min(unconsumed, used);
    if (credit == 0 || credit < (window - std::min(unconsumed, window)) / 2) return;
    nghttp2_submit_window_update(session, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(credit));
  }

  static Native& of(void* user) { return *static_cast<Native*>(user); }

  void write(const std::uint8_t* data, std::size_t size) {
    std::span<const std::byte> rest(reinterpret_cast<const std::byte*>(data), size);
    while (!rest.empty()) {
      if (writer && writer->room() == 0) flush_writer();
      if (!writer) writer.emplace(std::max<std::size_t>(rest.size(), 512));
      rest = rest.subspan(writer->append(rest));
    }
  }
  void flush_writer() {
    if (writer && writer->size() > 0) out->append(writer->take());
    if (writer && writer->room() < kFrameHeader) writer.reset();
  }

  static ssize_t read_source(nghttp2_session* session, std::int32_t id, std::uint8_t*, std::size_t length,
                             std::uint32_t* flags, nghttp2_data_source*, void* user) {
    auto& self = of(user);
    auto found = self.streams.find(id);
    if (found == self.streams.end()) return NGHTTP2_ERR_DEFERRED;
    Stream& stream = found->second;
    if (stream.out.empty() && !stream.out_ended) return NGHTTP2_ERR_DEFERRED;
    // Decided here, never in send_data(): a frame that was begun is always finished.
    if (!stream.out.empty() && self.out->size() - self.out_before >= kProduceMax) {
      self.paused.push_back(id);
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    const auto count = std::min(length, stream.out.size());
    if (count == stream.out.size() && stream.out_ended) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        auto list = fields(stream.trailers);
        nghttp2_submit_trailer(session, id, list.data(), list.size());
      }
    }
    return static_cast<ssize_t>(count);
  }

  // The scanner's findings, in front of nghttp2.
  bool begin_frame(const FrameHeader& frame) {
    ++frames;
    if (frame.type != kFrameReset) return budget.begin_frame(frame, now);
    // Of a stream that is gone: resets of both sides may cross, and nothing is behind it any more.
    return streams.contains(frame.stream) ? pay_for_reset(frame.stream) : budget.on_control(1, now);
  }

  static int send_data(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t length,
                       nghttp2_data_source*, void* user) {
    auto& self = of(user);
    self.write(header, kFrameHeader);  // we never pad
    auto& stream = self.streams.at(frame->hd.stream_id);
    if (length > 0) {
      self.flush_writer();
      self.out->append(stream.out.split(length));
      stream.useful = true;
      self.budget.on_data_sent();
    }
    self.events.on_sent(frame->hd.stream_id, stream.out.size());
    return 0;
  }

  static int begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto& self = of(user);
    self.budget.on_header_block();
    auto& stream = self.streams[frame->hd.stream_id];
    stream.incoming.clear();
    stream.incoming_size = 0;
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    auto& self = of(user);
    auto found = self.streams.find(frame->hd.stream_id);
    if (found == self.streams.end()) return 0;
    Stream& stream = found->second;
    stream.incoming_size += name_size + value_size + kFieldOverhead;
    if (stream.incoming_size > self.settings.max_header_list || stream.incoming.size() == kHeaderFieldsMax)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    stream.incoming.emplace_back(std::string(reinterpret_cast<const char*>(name), name_size),
                                 std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }

  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto& self = of(user);
    const auto id = frame->hd.stream_id;
    const bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: {
        auto found = self.streams.find(id);
        if (found == self.streams.end()) return 0;
        Stream& stream = found->second;
        Headers headers = std::move(stream.incoming);
        stream.incoming.clear();
        // Interim responses (RFC 9110 §15.2) say nothing we need, and may come without end.
        const auto* status = http2::find(headers, ":status");
        if (status && status->starts_with('1'))
          return self.budget.on_unwanted_headers(self.now) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
        const bool trailers = std::exchange(stream.message_begun, true);
        if (!trailers) self.budget.on_new_stream();
        self.events.on_headers(id, std::move(headers), ends, trailers);
        if (ends) self.events.on_end_stream(id);
        return 0;
      }
      case NGHTTP2_DATA:
        if (ends) self.events.on_end_stream(id);
        return 0;
      case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) self.events.on_ping_ack();
        return 0;
      case NGHTTP2_GOAWAY: self.events.on_goaway(); return 0;
      default: return 0;
    }
  }

  static int on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    auto& self = of(user);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code == NGHTTP2_ENHANCE_YOUR_CALM) {
      self.budget.break_with(
          Breach::kControlFrames);  // unless it is ours: by a limit of nghttp2's own (entries of SETTINGS)
    } else if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR) {
      self.broken =
          Error(ErrorCode::kProtocol, std::string("h2 failed: ") + nghttp2_http2_strerror(frame->goaway.error_code));
    }
    if (frame->hd.type == NGHTTP2_RST_STREAM)
      (void)self.pay_for_reset(frame->hd.stream_id);  // produce() looks for the breach
    const bool may_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (!may_end || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    auto found = self.streams.find(frame->hd.stream_id);
    if (found == self.streams.end()) return 0;
    found->second.end_sent = true;
    // An answer that is all there is to the exchange.
    const bool refused = self.role == Role::kServer && frame->hd.type == NGHTTP2_HEADERS && !found->second.useful;
    if (refused) (void)self.budget.on_refused(self.now);  // produce() looks here too
    if (found->second.close_after_end) {
      found->second.reset_by_us = true;
      nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                     void* user) {
    auto& self = of(user);
    if (!self.budget.on_payload(size)) return NGHTTP2_ERR_CALLBACK_FAILURE;
    self.unconsumed += size;
    self.events.on_data(id, self.input->slice_at(data, size));
    return 0;
  }

  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t code, void* user) {
    auto& self = of(user);
    self.events.on_closed(id, code);
    self.streams.erase(id);
    return 0;
  }

  static ssize_t payload_length(nghttp2_session*, std::uint8_t, std::int32_t, std::int32_t connection_window,
                                std::int32_t stream_window, std::uint32_t peer_frame_size, void* user) {
    const auto& self = of(user);
    return static_cast<ssize_t>(std::min<std::int64_t>(
        {static_cast<std::int64_t>(self.settings.data_payload), connection_window, stream_window, peer_frame_size}));
  }
};

Session::Session(Role role, const Settings& settings, SessionEvents& events)
    : native_(std::make_unique<Native>(role, settings, events)) {
  nghttp2_session_callbacks* callbacks = nullptr;
  WEFT_CHECK(nghttp2_session_callbacks_new(&callbacks) == 0);
  nghttp2_session_callbacks_set_send_data_callback(callbacks, Native::send_data);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, Native::begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, Native::on_header);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Native::on_frame);
  nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, Native::on_frame_sent);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Native::on_data);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, Native::on_close);
  nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, Native::payload_length);

  nghttp2_option* option = nullptr;
  WEFT_CHECK(nghttp2_option_new(&option) == 0);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_closed_streams(option, 1);
  nghttp2_option_set_max_outbound_ack(option, kQueuedAcksMax);
  nghttp2_option_set_max_continuations(option, kContinuationsMax);
  nghttp2_option_set_stream_reset_rate_limit(option, kNativeResetBurst, kNativeResetsPerSecond);
  nghttp2_option_set_max_deflate_dynamic_table_size(option, kHeaderTableSize);

  const int made = role == Role::kServer ? nghttp2_session_server_new2(&native_->session, callbacks, native_.get(), option)
                                         : nghttp2_session_client_new2(&native_->session, callbacks, native_.get(), option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  WEFT_CHECK(made == 0);

  std::vector<nghttp2_settings_entry> entries = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, settings.stream_window},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, settings.max_frame_size},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, settings.max_header_list},
      {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, kHeaderTableSize},
  };
  if (role == Role::kServer) {
    entries.push_back({NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, settings.max_concurrent_streams});
  } else {
    entries.push_back({NGHTTP2_SETTINGS_ENABLE_PUSH, 0});
  }
  WEFT_CHECK(nghttp2_submit_settings(native_->session, NGHTTP2_FLAG_NONE, entries.data(), entries.size()) == 0);
  WEFT_CHECK(nghttp2_session_set_local_window_size(native_->session, NGHTTP2_FLAG_NONE, 0,
                                                   static_cast<std::int32_t>(settings.connection_window)) == 0);
}

Session::~Session() { nghttp2_session_del(native_->session); }

Result<void> Session::receive(const Buffer& input, MonotonicTime now) {
  // What follows on a rule that was broken is passed over, and is no second offence.
  if (native_->broken) return {};
  native_->input = &input;
  native_->now = now;
  ssize_t taken = 0;
  for (auto rest = input.span(); taken >= 0 && !rest.empty();) {
    const auto step = native_->scanner.step(rest);
    const FrameHeader& frame = native_->scanner.frame();
    if (step.begins && !native_->begin_frame(frame)) break;
    taken = nghttp2_session_mem_recv(native_->session, reinterpret_cast<const std::uint8_t*>(rest.data()), step.size);
    if (step.ends && !native_->budget.end_frame(frame, now)) break;
    rest = rest.subspan(step.size);
  }
  native_->input = nullptr;
  if (taken < 0 && !native_->budget.breach()) {
    const auto breach = breach_of(static_cast<int>(taken));
    if (!breach) return fail(from_native(static_cast<int>(taken), "h2 failed"));
    native_->budget.break_with(*breach);
  }
  // Refusals and answers that the peer does not take; nghttp2 bounds some of them, not all.
  if (nghttp2_session_get_outbound_queue_size(native_->session) > kQueuedFramesMax)
    native_->budget.break_with(Breach::kControlFrames);
  if (!native_->budget.breach()) return {};
  native_->give_up();
  return fail(ErrorCode::kLimit, "h2 failed: the peer sent too many or too costly frames: " +
                                     std::string(to_string(*native_->budget.breach())));
}

const std::optional<Breach>& Session::breach() const { return native_->budget.breach(); }

void Session::give_up(Breach why) {
  native_->budget.break_with(why);
  native_->give_up();
}

bool Session::header_block_open() const { return native_->budget.header_block_open(); }

std::uint32_t Session::take_frame_count() { return std::exchange(native_->frames, 0); }

std::uint32_t Session::tiny_unread() const { return native_->budget.tiny_unread(); }

Session::HeaderTables Session::header_tables() const {
  return {nghttp2_session_get_hd_inflate_dynamic_table_size(native_->session),
          nghttp2_session_get_hd_deflate_dynamic_table_size(native_->session)};
}

bool Session::produce(BufferChain& out) {
  const auto before = out.size();
  native_->out = &out;
  native_->out_before = before;
  for (const auto id : std::exchange(native_->paused, {})) nghttp2_session_resume_data(native_->session, id);
  const bool broken_before = native_->budget.breach().has_value();
  for (;;) {
    const std::uint8_t* data = nullptr;
    // DATA frames leave inside this call by send_data(); what it returns is everything else.
    const auto size = nghttp2_session_mem_send(native_->session, &data);
    if (size <= 0) break;  // nothing left; or out of memory, and the connection ends as nothing more is written
    if (!broken_before && native_->budget.breach()) native_->give_up();  // again in vain is harmless
    native_->write(data, static_cast<std::size_t>(size));
  }
  if (native_->writer) {
    if (native_->writer->size() > 0) out.append(native_->writer->take());
    native_->writer.reset();
  }
  native_->out = nullptr;
  return out.size() > before;
}

bool Session::wants_write() const { return nghttp2_session_want_write(native_->session) != 0; }

const std::optional<Error>& Session::broken() const { return native_->broken; }

bool Session::finished() const {
  return nghttp2_session_want_write(native_->session) == 0 && nghttp2_session_want_read(native_->session) == 0;
}

Result<std::int32_t> Session::request(const Headers& headers, bool has_body) {
  nghttp2_data_provider provider{};
  provider.read_callback = Native::read_source;
  auto list = fields(headers);
  const auto id =
      nghttp2_submit_request(native_->session, nullptr, list.data(), list.size(), has_body ? &provider : nullptr, nullptr);
  if (id < 0) return fail(from_native(id, "cannot open an HTTP/2 stream"));
  auto& stream = native_->streams[id];
  stream.has_source = has_body;
  stream.out_ended = !has_body;
  return id;
}

Result<void> Session::respond(std::int32_t id, const Headers& headers, bool has_body) {
  auto found = native_->streams.find(id);
  if (found == native_->streams.end()) return fail(ErrorCode::kReset, "the stream was reset");
  nghttp2_data_provider provider{};
  provider.read_callback = Native::read_source;
  auto list = fields(headers);
  const int code = nghttp2_submit_response(native_->session, id, list.data(), list.size(), has_body ? &provider : nullptr);
  if (code != 0) return fail(from_native(code, "cannot answer an HTTP/2 request"));
  found->second.has_source = has_body;
  found->second.out_ended = !has_body;
  return {};
}

void Session::send(std::int32_t id, BufferChain data, bool end, Headers trailers) {
  auto found = native_->streams.find(id);
  if (found == native_->streams.end() || !found->second.has_source || found->second.out_ended) return;
  auto& stream = found->second;
  stream.out.append(std::move(data));
  stream.out_ended = end;
  stream.trailers = std::move(trailers);
  nghttp2_session_resume_data(native_->session, id);
}

std::size_t Session::queued(std::int32_t id) const {
  const auto found = native_->streams.find(id);
  return found == native_->streams.end() ? 0 : found->second.out.size();
}

void Session::reset(std::int32_t id, ResetCode code) {
  auto found = native_->streams.find(id);
  if (found == native_->streams.end()) return;
  // Refused for there being too many: its peer pays. Anything else is our side's business.
  found->second.reset_by_us = code != ResetCode::kRefusedStream;
  nghttp2_submit_rst_stream(native_->session, NGHTTP2_FLAG_NONE, id, static_cast<std::uint32_t>(code));
}

void Session::close_after_end(std::int32_t id) {
  auto found = native_->streams.find(id);
  if (found == native_->streams.end()) return;
  found->second.close_after_end = true;
  if (!found->second.end_sent) return;
  found->second.reset_by_us = true;
  nghttp2_submit_rst_stream(native_->session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

void Session::consume(std::int32_t id, std::size_t count) {
  if (count == 0) return;
  if (auto found = native_->streams.find(id); found != native_->streams.end()) found->second.useful = true;
  native_->unconsumed -= std::min(count, native_->unconsumed);
  native_->budget.on_taken(count);
  nghttp2_session_consume(native_->session, id, count);
  native_->announce_credit();
}

bool Session::window_used_up() const {
  const auto frame = static_cast<std::int32_t>(native_->settings.data_payload);
  return nghttp2_session_get_remote_window_size(native_->session) < frame ||
         nghttp2_session_get_local_window_size(native_->session) < frame;
}

void Session::ping() { nghttp2_submit_ping(native_->session, NGHTTP2_FLAG_NONE, nullptr); }

void Session::announce_goaway() { nghttp2_submit_shutdown_notice(native_->session); }

void Session::goaway(ResetCode code) {
  nghttp2_submit_goaway(native_->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(native_->session),
                        static_cast<std::uint32_t>(code), nullptr, 0);
}

std::uint32_t Session::peer_max_streams(std::uint32_t assumed) const {
  const auto limit = nghttp2_session_get_remote_settings(native_->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return std::min(limit, assumed);
}

std::size_t Session::unconsumed() const { return native_->unconsumed; }

}  // namespace weft::http2
