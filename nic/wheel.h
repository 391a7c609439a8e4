#pragma once

#include <cstdint>
#include <functional>
#include <systemc>
#include <vector>

#include "nic/time.h"

namespace xnic::nic {

// Readies the SystemC kernel for a run: no banner, reports become exceptions instead of output.
// False if this process has simulated already: SystemC elaborates once.
bool prepare_systemc();

// The model's one event wheel: a heap of deadlines behind a single sc_event, because a stock
// event queue costs ten times as much a deadline. Tasks of the same time run in the order in
// which they were asked for, so a run is repeatable. The model is the wheel's alone, so it may run
// ahead of SystemC's clock (temporal decoupling, IEEE 1666 TLM-2.0): now() is its time.
class Wheel : public sc_core::sc_module {
 public:
  using Task = uint32_t;

  // `quantum`: how far now() runs ahead of SystemC's clock; with 0 each deadline is a SystemC
  // event.
  explicit Wheel(const sc_core::sc_module_name& name, Picoseconds quantum = 0);

  // Names an action, once, before the simulation starts.
  Task add(std::function<void()> action);
  // Runs the task at `time`, or now if that has passed. A time past kEndOfTime ends the run.
  void at(Picoseconds time, Task task);
  // Forgets every deadline: the simulation ends with the running task.
  void stop();

  Picoseconds now() const { return now_; }
  // Nothing happens before then, unless it is asked for.
  Picoseconds next() const { return heap_.empty() ? kEndOfTime : heap_.front().time; }
  // Something was to happen later than the clock can say; the run stopped there.
  bool out_of_time() const { return out_of_time_; }

 private:
  struct Deadline {
    Picoseconds time;
    uint64_t order;
    Task task;
    bool operator>(const Deadline& other) const {
      return time != other.time ? time > other.time : order > other.order;
    }
  };

  void turn();

  std::vector<std::function<void()>> actions_;
  std::vector<Deadline> heap_;  // std::push_heap order, earliest in front
  sc_core::sc_event due_;
  Picoseconds quantum_;
  Picoseconds now_ = 0;
  uint64_t order_ = 0;
  bool out_of_time_ = false;
};

}  // namespace xnic::nic
