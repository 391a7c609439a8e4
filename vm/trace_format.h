#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace xnic::vm {

// bpf_trace_printk's formatting: what the kernel's bpf_bprintf_prepare accepts. Gives the length
// of the text or -EINVAL. Strings are read as the kernel's probe reads do: a bad address prints
// nothing and never faults. Test: tests/vm/trace_format_test.cpp.
// Of the text, what fits into `room` bytes with its NUL is kept.
inline constexpr size_t kTraceRoom = 1024;
int format_trace(std::string& text, std::string_view format, std::span<const uint64_t> arguments,
                 size_t room = kTraceRoom);

}  // namespace xnic::vm
