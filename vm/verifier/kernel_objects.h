#pragma once

#include <tl/expected.hpp>

#include "vm/verifier/environment.h"
#include "vm/verifier/requirements.h"

// Pointers to objects of the kernel, by the kernel's own types (BTF): what may be read through
// them, and what that gives.
namespace xnic::vm::verifier {

// A pointer to a struct of that id; id 0: to something of no type.
Register kernel_object(uint32_t struct_id, Trust trust);
// The same by name; of no type where the kernel's types have no such struct.
Register kernel_object(const Environment& env, std::string_view name, Trust trust);

// The struct that the kernel has behind the context of programs of a type; empty if it has none.
std::string_view kernel_context_of(uint32_t type);

// The address of a variable or function of the kernel, by the id of its type.
Register kernel_symbol(const Environment& env, uint32_t type_id);

// Whether objects of the kernel that are freed after a grace period stay for now.
bool in_read_side_section(const Environment& env);

// Whether a struct of that name lies at an offset of a struct: itself, or a member however deep.
bool has_struct_at(const Environment& env, uint32_t struct_id, uint32_t offset,
                   std::string_view name);
// Whether it is a socket by the kernel's types that helpers for sockets take.
bool is_kernel_socket(const Environment& env, const Register& r);

// Whether Linux vouches for the object while the program runs: it was acquired, or given as it is.
bool is_trusted(const Register& r);

Verdict require_kernel_object(const Environment& env, uint32_t number, int64_t offset,
                              uint32_t size, Direction direction);
// What a read that is permitted gives.
Register loaded_from_kernel_object(Environment& env, const Register& base, int64_t offset,
                                   uint32_t size);

// The same for a read through a pointer to a map: of the kernel's struct for maps of its type.
Verdict require_map_object(const Environment& env, uint32_t number, int64_t offset, uint32_t size,
                           Direction direction);
Register loaded_from_map_object(Environment& env, const Register& base, int64_t offset,
                                uint32_t size);

// The arguments of a program whose context are values of the kernel's types, one every 8 bytes: of
// a tracepoint (tp_btf), iterator or member of a struct_ops. None where its type has another
// context.
tl::expected<std::vector<Register>, Refusal> typed_arguments(const Environment& env);
// The member of a struct of functions that the program stands for; empty for other types.
std::string_view member_stood_for(const Environment& env);
// Whether the program stands for a function of the kernel that returns nothing.
bool stands_for_void(const Environment& env);

}  // namespace xnic::vm::verifier
