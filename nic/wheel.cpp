// The event wheel: what SystemC sees of the model's time.
// It carries decisions only (interrupts, polls, back-pressure); all other times in the model are
// arithmetic. It leaves out cancelling: a task that has nothing to do returns.
// Test: tests/nic/wheel_test.cpp.
#include "nic/wheel.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <utility>

// libsystemc refers to this symbol from the main() that it brings along for programs without one.
int sc_main(int, char*[]) { return 0; }

namespace xnic::nic {

bool prepare_systemc() {
  setenv("SYSTEMC_DISABLE_COPYRIGHT_MESSAGE", "1", 1);
  sc_core::sc_report_handler::set_actions(sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
  sc_core::sc_report_handler::set_actions(sc_core::SC_WARNING, sc_core::SC_DO_NOTHING);
  sc_core::sc_report_handler::set_actions(sc_core::SC_ERROR, sc_core::SC_THROW);
  return sc_core::sc_get_status() == sc_core::SC_ELABORATION;
}

Wheel::Wheel(const sc_core::sc_module_name& name, Picoseconds quantum)
    : sc_module(name), due_("due"), quantum_(quantum) {
  SC_HAS_PROCESS(Wheel);
  SC_METHOD(turn);
  sensitive << due_;
}

Wheel::Task Wheel::add(std::function<void()> action) {
  actions_.push_back(std::move(action));
  return static_cast<Task>(actions_.size() - 1);
}

void Wheel::at(Picoseconds time, Task task) {
  assert(task < actions_.size());
  if (time > kEndOfTime) {
    out_of_time_ = true;
    stop();
    return;
  }
  if (out_of_time_) return;
  heap_.push_back({std::max(time, now_), order_++, task});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

void Wheel::stop() { heap_.clear(); }

void Wheel::turn() {
  const Picoseconds start = sc_core::sc_time_stamp().value();
  now_ = std::max(now_, start);
  while (!heap_.empty() && heap_.front().time <= start + quantum_) {
    const Task task = heap_.front().task;
    now_ = std::max(now_, heap_.front().time);
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    actions_[task]();
  }
  if (!heap_.empty()) due_.notify(sc_core::sc_time::from_value(heap_.front().time - start));
}

}  // namespace xnic::nic
