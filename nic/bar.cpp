// The registers, one line each.
// It leaves out what drivers read and set up before they start: rings' addresses, MSI-X tables.
// Test: tests/nic/nic_test.cpp.
#include "nic/bar.h"

#include <array>
#include <cstring>

#include "nic/nic.h"

namespace xnic::nic {
namespace {

constexpr uint64_t kRegisterBytes = 4;

constexpr std::array kRegisters = {
    Register{"ports", kPorts, 0, [](const Nic& n, uint32_t) { return n.ports(); }, nullptr},
    Register{"queues", kQueues, 0, [](const Nic& n, uint32_t) { return n.queues(); }, nullptr},
    Register{"rx_tail", kRxTail, kQueueStride,
             [](const Nic& n, uint32_t q) { return n.rx_tail(q); },
             [](Nic& n, uint32_t q, uint32_t tail) { n.set_rx_tail(q, tail); }},
    Register{"tx_tail", kTxTail, kQueueStride,
             [](const Nic& n, uint32_t q) { return n.tx_tail(q); },
             [](Nic& n, uint32_t q, uint32_t tail) { n.set_tx_tail(q, tail); }},
    Register{"interrupt_arm", kInterruptArm, kQueueStride, nullptr,
             [](Nic& n, uint32_t q, uint32_t) { n.arm(q); }},
};

// The register at an offset, and whose it is; null where there is none.
const Register* find(uint64_t offset, uint32_t queues, uint32_t& queue) {
  queue = 0;
  for (const Register& one : kRegisters) {
    const uint64_t distance = offset - one.offset;
    const uint64_t size = one.stride == 0 ? 1 : uint64_t{one.stride} * queues;
    if (offset < one.offset || distance >= size) continue;
    if (one.stride == 0) return &one;
    queue = static_cast<uint32_t>(distance / one.stride);
    return distance % one.stride == 0 ? &one : nullptr;
  }
  return nullptr;
}

}  // namespace

std::span<const Register> registers() { return kRegisters; }

Bar::Bar(const sc_core::sc_module_name& name, Nic& nic)
    : sc_module(name), socket("socket"), nic_(nic) {
  socket.register_b_transport(this, &Bar::b_transport);
}

void Bar::b_transport(tlm::tlm_generic_payload& access, sc_core::sc_time&) {
  uint32_t queue = 0;
  const Register* one = find(access.get_address(), nic_.queues(), queue);
  if (access.get_data_length() != kRegisterBytes || access.get_streaming_width() < kRegisterBytes ||
      access.get_byte_enable_ptr() != nullptr) {
    return access.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
  }
  if (one == nullptr) return access.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
  uint32_t value = 0;
  if (access.is_read()) {
    if (one->read != nullptr) value = one->read(nic_, queue);
    std::memcpy(access.get_data_ptr(), &value, sizeof value);
  } else if (access.is_write() && one->write != nullptr) {
    std::memcpy(&value, access.get_data_ptr(), sizeof value);
    one->write(nic_, queue, value);
  } else {
    return access.set_response_status(tlm::TLM_COMMAND_ERROR_RESPONSE);
  }
  access.set_response_status(tlm::TLM_OK_RESPONSE);
}

}  // namespace xnic::nic
