#include "vm/verifier/explored.h"

#include <algorithm>
#include <cerrno>

#include "vm/verifier/iterators.h"
#include "vm/verifier/precision.h"
#include "vm/verifier/pruning.h"

namespace xnic::vm::verifier {
namespace {

constexpr size_t kManySteps = 40;
constexpr size_t kManyTurns = 64;
constexpr uint32_t kMostRounds = 64;

}  // namespace

bool Explored::key_of(const State& state, StayKey& key) const {
  for (uint32_t f = 0; f <= state.depth(); ++f) {
    const uint32_t loop = env_.flow.places[state.index_in(f)].loop;
    if (loop == 0) continue;
    key.clear();
    for (uint32_t outer = 0; outer < f; ++outer) key.push_back(state.index_in(outer));
    key.push_back(loop);
    return true;
  }
  return false;
}

bool Explored::has_open_turns(const State& state) {
  StayKey key;
  if (stays_.empty() || !key_of(state, key)) return false;
  const auto stay = stays_.find(key);
  return stay != stays_.end() && !stay->second.turns.empty();
}

void Explored::enter_loop(State& state) {
  StayKey key;
  if (!key_of(state, key)) return;
  Stay& stay = stays_[key];
  if (stay.entry == nullptr) stay.entry = &state;
}

// All paths from the first checkpoint in the loop have ended. Those that ended as an older state
// inside the loop now learn what became precise behind it, until nothing changes or, as in Linux,
// that takes too many rounds.
void Explored::leave_loop(State& state) {
  StayKey key;
  if (stays_.empty() || !key_of(state, key)) return;
  const auto found = stays_.find(key);
  if (found == stays_.end() || found->second.entry != &state) return;
  Stay& stay = found->second;
  bool changed = true;
  for (uint32_t round = 0; changed; ++round) {
    if (round > kMostRounds) {
      for (auto& [like, turn] : stay.turns) mark_everything_precise(*turn);
      break;
    }
    changed = false;
    for (auto& [like, turn] : stay.turns) {
      changed = hand_on_precision(env_, *like, *turn) || changed;
    }
  }
  stay.turns.clear();
  stay.entry = nullptr;
}

// Forgets what no path from the state reads, so that more states are like it.
void Explored::clean(State& state) {
  state.cleaned = true;
  for (uint32_t f = 0; f <= state.depth(); ++f) {
    Frame& frame = state.frames[f];
    const uint32_t live = env_.flow.places[state.index_in(f)].live;
    for (uint32_t i = 0; i < kFramePointer; ++i) {
      if ((live >> i & 1) == 0) frame[i] = {};
    }
    for (uint32_t slot = 0; slot < frame.stack.size(); ++slot) {
      if (!env_.liveness.is_alive(state, f, slot)) frame.stack[slot] = {};
    }
  }
}

void Explored::release(State& state) {
  // A turn of a loop may still have to learn from it.
  if (state.listed || state.branches != 0 || has_open_turns(state)) return;
  const size_t place = state.place;
  std::swap(owned_[place], owned_.back());
  owned_[place]->place = place;
  owned_.pop_back();
}

void Explored::end_path(State& last) {
  State* state = last.parent;
  while (state != nullptr) {
    if (--state->branches != 0) return;
    leave_loop(*state);
    State* parent = state->parent;
    release(*state);
    state = parent;
  }
}

State* Explored::last_at(State* from, const State& like, uint32_t index) {
  for (State* state = from; state != nullptr; state = state->parent) {
    if (state->index == index && same_call_sites(*state, like)) return state;
  }
  return nullptr;
}

// A register of the innermost frame that changes tells that the loop gets on.
bool Explored::may_loop(const State& old) const {
  const State& now = *env_.now;
  if (old.frames.size() != now.frames.size()) return false;
  for (uint32_t i = 0; i < kFramePointer; ++i) {
    const Register& a = old.frame()[i];
    const Register& b = now.frame()[i];
    if (a.type != b.type || a.offset != b.offset || !(a.number == b.number)) return false;
  }
  return true;
}

// Whether the present path may end because of `old`; `is_turn` if it is one more turn of a loop
// whose other paths are still followed.
tl::expected<bool, Refusal> Explored::ends_at(State& old, bool& is_turn, bool& add) {
  State& now = *env_.now;
  const Place& place = env_.flow.places[env_.index];
  is_turn = false;
  if (old.branches == 0) {
    is_turn = has_open_turns(old);
    return is_like(env_, old, now, is_turn ? Likeness::within : Likeness::enough);
  }
  const bool counted = opcode(env_.insn()).kind == Kind::may_goto;
  const bool other_callback = old.frame().in_async_callback;
  if (place.iterates) {
    if (is_like(env_, old, now, Likeness::within) && has_active_iterator(now)) {
      return is_turn = true;
    }
  } else if (place.calls_back) {
    if (is_like(env_, old, now, Likeness::within)) return is_turn = true;
  } else if (!other_callback) {
    if (counted && old.may_goto_depth != now.may_goto_depth &&
        is_like(env_, old, now, Likeness::within)) {
      return is_turn = true;
    }
    if (may_loop(old) && is_like(env_, old, now, Likeness::exact) &&
        !has_moved_iterator(old, now) && old.may_goto_depth == now.may_goto_depth &&
        old.callback_depth == now.callback_depth) {
      return tl::unexpected(
          Refusal{-EINVAL, fmt::format("infinite loop detected at insn {}", env_.index)});
    }
  }
  const bool often = env_.spec.flags & BPF_F_TEST_STATE_FREQ;
  if (!often && !place.checkpoint && now.steps.size() <= kManySteps &&
      jumps_ - jumps_before_ < 20 && instructions_ - instructions_before_ < 100) {
    add = false;
  }
  return false;
}

tl::expected<Explored::Answer, Refusal> Explored::visit() {
  State& now = *env_.now;
  const Place& place = env_.flow.places[env_.index];
  const bool force = (env_.spec.flags & BPF_F_TEST_STATE_FREQ) != 0 || place.checkpoint ||
                     now.steps.size() > kManySteps;
  bool add = force || (jumps_ - jumps_before_ >= 2 && instructions_ - instructions_before_ >= 8);
  std::vector<State*>& states = kept_with(now);
  most_of_an_instruction_ = std::max(most_of_an_instruction_, static_cast<uint32_t>(states.size()));
  for (size_t i = states.size(); i-- > 0;) {
    State& old = *states[i];
    if (old.index != env_.index) continue;
    if (old.branches == 0 && !old.cleaned && same_call_sites(old, now) && !has_open_turns(old)) {
      clean(old);
    }
  }
  for (size_t i = states.size(); i-- > 0;) {
    State& old = *states[i];
    if (old.index != env_.index) continue;
    bool is_turn = false;
    const auto ends = ends_at(old, is_turn, add);
    if (!ends) return tl::unexpected(ends.error());
    if (*ends) {
      ++old.hits;
      if (place.jump_target) env_.step();
      hand_on_precision(env_, old, now);
      if (is_turn) {
        StayKey key;
        if (key_of(old, key)) {
          Stay& stay = stays_[key];
          StatePointer end = env_.states.copy(now);
          stay.turns.emplace_back(&old, std::move(end));
        }
      }
      return Answer::seen;
    }
    if (add) ++old.misses;
    const uint32_t patience = place.checkpoint && old.branches > 0 ? kManyTurns : 3;
    if (old.misses > old.hits * patience + patience) {
      old.listed = false;
      states.erase(states.begin() + static_cast<ptrdiff_t>(i));
      release(old);
    }
  }
  if (!add) return Answer::go_on;
  instructions_before_ = instructions_;
  jumps_before_ = jumps_;
  State& checkpoint = keep();
  states.push_back(&checkpoint);
  enter_loop(checkpoint);
  return Answer::go_on;
}

// By instruction and innermost call site, so that calls of a function from many places do not push
// each other out.
std::vector<State*>& Explored::kept_with(const State& state) {
  return heads_[(env_.index ^ state.frame().call_site) % heads_.size()];
}

// Makes a checkpoint of the present state, from which the path goes on.
State& Explored::keep() {
  State& now = *env_.now;
  now.for_each([](Register& r) { r.precise = false; });
  StatePointer made = env_.states.copy(now);
  State& checkpoint = *made;
  checkpoint.index = env_.index;
  checkpoint.branches = 1;
  checkpoint.hits = checkpoint.misses = 0;
  checkpoint.cleaned = false;
  checkpoint.listed = true;
  now.parent = &checkpoint;
  now.steps.clear();
  now.first_index = env_.index;
  now.at_entry = false;
  checkpoint.place = owned_.size();
  owned_.push_back(std::move(made));
  ++total_;
  peak_ = std::max(peak_, static_cast<uint32_t>(owned_.size()));
  return checkpoint;
}

}  // namespace xnic::vm::verifier
