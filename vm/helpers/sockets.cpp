// Sockets, of which the emulated machine has none: lookups find nothing, packets have none. What
// takes a socket is here for programs that ask for one first; no run gets there.
// Test: tests/vm/helper_test.cpp, and the comparison of verdicts in tests/verdicts.
#include <array>
#include <cerrno>

#include "vm/helpers/rows.h"

namespace xnic::vm {
namespace {

constexpr uint32_t kOverflowUid = 65534;  // the user of what has none

uint64_t none(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) { return 0; }

uint64_t unreached(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return result(-EINVAL);
}

uint64_t socket_uid(Invocation&, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) {
  return kOverflowUid;
}

using A = Argument;
using R = Returns;
constexpr std::array<A, 5> kTuple = {A::context, A::memory_read, A::size, A::any, A::any};
constexpr uint32_t kLookups = kXdp | kTc | kCgroupSkb | kStream | kCgroupAddress;
constexpr std::array kRows = {
    XNIC_HELPER(sk_lookup_tcp, kLookups, R::socket_or_null, kTuple, none),
    XNIC_HELPER(sk_lookup_udp, kLookups, R::socket_or_null, kTuple, none),
    XNIC_HELPER(skc_lookup_tcp, kLookups, R::socket_common_or_null, kTuple, none),
    XNIC_HELPER(sk_release, kLookups | kSkLookup, R::integer, {A::ended_socket}, unreached),
    XNIC_HELPER(sk_fullsock, kTc | kCgroupSkb, R::same_full_socket_or_null, {A::socket}, none),
    XNIC_HELPER(tcp_sock, kTc | kCgroupSkb | kCgroupSockopt | kSockOps, R::same_tcp_socket_or_null,
                {A::socket}, none),
    XNIC_HELPER(get_listener_sock, kTc | kCgroupSkb, R::listener_or_null, {A::socket}, none),
    XNIC_HELPER(sk_assign, kTc, R::integer, {A::context, A::socket, A::any}, unreached),
    XNIC_HELPER(tcp_check_syncookie, kXdp | kTc, R::integer,
                {A::socket, A::memory_read, A::size, A::memory_read, A::size}, unreached, kGplOnly),
    XNIC_HELPER(tcp_gen_syncookie, kXdp | kTc, R::integer,
                {A::socket, A::memory_read, A::size, A::memory_read, A::size}, unreached, kGplOnly),
    XNIC_HELPER(
        get_socket_cookie,
        kTc | kSocketFilter | kCgroupSkb | kStream | kCgroupSock | kCgroupAddress | kSockOps,
        R::integer, {A::context}, none),
    XNIC_HELPER(get_socket_uid, kTc | kSocketFilter | kCgroupSkb | kStream, R::integer,
                {A::context}, socket_uid),
};

}  // namespace

std::span<const Helper> socket_helpers() { return kRows; }

}  // namespace xnic::vm
