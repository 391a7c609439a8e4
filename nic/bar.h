#pragma once

#include <tlm.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <systemc>

#include "nic/time.h"

namespace xnic::nic {

class Nic;

// A register of the card, or one for each queue. All have 32 bits.
struct Register {
  std::string_view name;
  uint32_t offset;                                   // in the BAR, of queue 0's
  uint32_t stride;                                   // to the next queue's; 0: there is only one
  uint32_t (*read)(const Nic& nic, uint32_t queue);  // null: reads as 0
  void (*write)(Nic& nic, uint32_t queue, uint32_t value);  // null: read-only
};
// In the order of their offsets.
std::span<const Register> registers();

// Offsets, of queue 0's registers.
inline constexpr uint32_t kPorts = 0x00;
inline constexpr uint32_t kQueues = 0x04;
inline constexpr uint32_t kRxTail = 0x1000;  // descriptors posted so far, modulo 2^32
inline constexpr uint32_t kTxTail = 0x2000;  // packets in the transmit ring so far, modulo 2^32
inline constexpr uint32_t kInterruptArm = 0x3000;
inline constexpr uint32_t kQueueStride = 0x04;

// The card's first BAR as a TLM-2.0 target (IEEE 1666): accesses of 4 aligned bytes. What a write
// takes on its way over PCIe is the register's to account for.
class Bar : public sc_core::sc_module {
 public:
  Bar(const sc_core::sc_module_name& name, Nic& nic);

  tlm_utils::simple_target_socket<Bar> socket;

 private:
  void b_transport(tlm::tlm_generic_payload& access, sc_core::sc_time& delay);

  Nic& nic_;
};

}  // namespace xnic::nic
