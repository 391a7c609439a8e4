#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "vm/helper.h"

// What the files of vm/helpers share: each gives the rows of its helpers, vm/helpers.cpp puts them
// together.
namespace xnic::vm {

// One row: XNIC_HELPER(name without bpf_, program types, returns, {arguments}, function
// [, kGplOnly or kAnyLicense [, kChangesPacket]]).
#define XNIC_HELPER(NAME, ...) \
  Helper { BPF_FUNC_##NAME, "bpf_" #NAME, __VA_ARGS__ }
inline constexpr bool kGplOnly = true;
inline constexpr bool kAnyLicense = false;
inline constexpr bool kChangesPacket = true;

std::span<const Helper> callback_helpers();
std::span<const Helper> dynptr_helpers();
std::span<const Helper> event_helpers();
std::span<const Helper> machine_helpers();
std::span<const Helper> map_helpers();
std::span<const Helper> network_helpers();
std::span<const Helper> redirect_helpers();
std::span<const Helper> skb_byte_helpers();
std::span<const Helper> skb_checksum_helpers();
std::span<const Helper> skb_field_helpers();
std::span<const Helper> skb_room_helpers();
std::span<const Helper> skb_size_helpers();
std::span<const Helper> socket_helpers();
std::span<const Helper> syncookie_helpers();
std::span<const Helper> xdp_byte_helpers();
std::span<const Helper> text_helpers();
std::span<const Helper> tunnel_helpers();
std::span<const Helper> unrun_helpers();
std::span<const Helper> value_field_helpers();
std::span<const Helper> xdp_helpers();

// Arguments and answers as registers hold them; addresses are checked by the caller.
inline Map& map_at(uint64_t address) { return *std::bit_cast<Map*>(address); }
inline uint8_t* memory_at(uint64_t address) { return std::bit_cast<uint8_t*>(address); }
inline const uint8_t* bytes_at(uint64_t address) { return std::bit_cast<const uint8_t*>(address); }
inline std::span<const uint8_t> bytes_at(uint64_t address, uint64_t size) {
  return {bytes_at(address), size};
}
inline uint64_t result(int64_t value) { return static_cast<uint64_t>(value); }

}  // namespace xnic::vm
