#pragma once

#include <string>

#include "vm/local_types.h"
#include "vm/verifier/environment.h"

namespace xnic::vm::verifier {

// The kernel's own fields in what a pointer leads to: a map's value or an object of the program.
const ValueFields& fields_of(const Environment& env, const Register& r);
// As the kernel's log says it, with the name of the object's type: "ptr_node".
std::string object_name(const Environment& env, const Register& r);

// What is read from a kptr of a map's value.
Register loaded_kptr(Environment& env, const ValueFields& fields, const SpecialField& field);

// Whether the path is in a function that a tree asks for the order of its nodes.
bool is_in_tree_callback(const Environment& env);
// Sets the arguments of that function, for a call of bpf_rbtree_add.
void enter_tree_callback(const Environment& env, const Frame& caller, Frame& callee);

// The lock is given back: what lists and trees own must not be used any more.
void end_critical_section(State& state);
// What was read from maps may be freed.
void end_rcu_section(State& state);

}  // namespace xnic::vm::verifier
