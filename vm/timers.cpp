#include "vm/timers.h"

#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "vm/interpreter.h"
#include "vm/map.h"
#include "vm/program.h"
#include "vm/uapi.h"

namespace xnic::vm {
namespace {

constexpr uint64_t kSoonestAgainNs = 1000;

uint64_t number_in(const uint8_t* timer) {
  uint64_t number = 0;
  std::memcpy(&number, timer, sizeof(number));
  return number;
}

}  // namespace

Timers::Timer* Timers::at(const uint8_t* timer) {
  const auto found = timers_.find(number_in(timer));
  return found != timers_.end() && found->second.place == timer ? &found->second : nullptr;
}

void Timers::stop(uint64_t number, Timer& timer) {
  if (timer.expires != kNever) due_.erase({timer.expires, number});
  timer.expires = kNever;
}

int Timers::init(uint8_t* timer, Map& map, uint8_t* value, uint64_t flags) {
  constexpr uint64_t kMaxClocks = 16;
  const bool known = flags == CLOCK_MONOTONIC || flags == CLOCK_REALTIME || flags == CLOCK_BOOTTIME;
  if (flags >= kMaxClocks || !known) return -EINVAL;
  if (at(timer) != nullptr) return -EBUSY;
  const uint64_t number = ++last_number_;
  Timer fresh{.map = &map, .value = value, .place = timer};
  fresh.key.resize(map.spec().key_size);
  if (!map.key_of(value, fresh.key.data())) return -EINVAL;
  timers_.emplace(number, std::move(fresh));
  std::memcpy(timer, &number, sizeof(number));
  return 0;
}

int Timers::set_callback(const uint8_t* timer, std::shared_ptr<const Program> program,
                         uint64_t function) {
  Timer* known = at(timer);
  if (known == nullptr) return -EINVAL;
  known->program = std::move(program);
  known->function = function;
  return 0;
}

int Timers::start(const uint8_t* timer, uint64_t nanoseconds, uint64_t flags,
                  const Environment& environment) {
  if ((flags & ~uint64_t{uapi::kTimerAbsolute | uapi::kTimerPinned}) != 0) return -EINVAL;
  Timer* known = at(timer);
  if (known == nullptr || known->program == nullptr) return -EINVAL;
  const uint64_t number = number_in(timer);
  stop(number, *known);
  const bool absolute = (flags & uapi::kTimerAbsolute) != 0;
  // Times beyond 292 years never come.
  const uint64_t from = absolute ? 0 : environment.now_ns;
  known->expires = nanoseconds < kNever - 1 - from ? from + nanoseconds : kNever - 1;
  // A callback that starts its own timer would otherwise never let time pass.
  if (running_ == number) {
    known->expires = std::max(known->expires, environment.now_ns + kSoonestAgainNs);
  }
  known->cpu = environment.cpu;
  due_.insert({known->expires, number});
  return 0;
}

int Timers::cancel(const uint8_t* timer) {
  Timer* known = at(timer);
  if (known == nullptr) return -EINVAL;
  const uint64_t number = number_in(timer);
  if (running_ == number) return -EDEADLK;
  const bool was_started = known->expires != kNever;
  stop(number, *known);
  known->program.reset();
  return was_started ? 1 : 0;
}

uint64_t Timers::run_until(uint64_t now_ns, Environment& environment) {
  uint64_t instructions = 0;
  for (auto next = due_.begin(); next != due_.end() && next->first <= now_ns;) {
    const auto [expires, number] = *next;
    Timer& timer = timers_.at(number);
    if (timer.cpu != environment.cpu) {
      ++next;
      continue;
    }
    stop(number, timer);
    if (number_in(timer.place) != number) {
      timers_.erase(number);
    } else {
      environment.now_ns = std::max(environment.now_ns, expires);
      fire(number, timer, environment, instructions);
    }
    next = due_.begin();
  }
  environment.now_ns = std::max(environment.now_ns, now_ns);
  return instructions;
}

void Timers::fire(uint64_t number, Timer& timer, Environment& environment, uint64_t& instructions) {
  if (no_packet_ == nullptr) no_packet_ = std::make_unique<Packet>();
  // The callback may delete the entry, or replace the program.
  const std::shared_ptr<const Program> program = timer.program;
  const std::vector<uint8_t> key = timer.key;
  Invocation invocation(*no_packet_, environment);
  running_ = number;
  run_callback(*program, invocation, timer.function, *timer.map, key, timer.value);
  running_ = 0;
  instructions += invocation.instructions;
  if (invocation.fault && environment.fault) environment.fault(*invocation.fault);
}

}  // namespace xnic::vm
