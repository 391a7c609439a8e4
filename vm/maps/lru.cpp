// The replacement of LRU maps, in Linux's way: see LruLists. The order in which the lists look at
// nodes is Linux's too, so that one CPU's history of updates evicts the same elements there and
// here; what Linux leaves open is which CPU a user-space update runs on.
// Test: tests/vm/lru_test.cpp, and against the kernel tests/vm/map_kernel_test.cpp.
#include "vm/maps/lru.h"

#include <algorithm>

namespace xnic::vm {
namespace {

constexpr uint32_t kMaxBatch = 128;  // free nodes that a CPU takes from the common lists at once
constexpr uint32_t kOwnBatch = 4;    // nodes that a CPU evicts at once from lists of its own

}  // namespace

LruLists::LruLists(LruOwner& owner, uint32_t nodes, uint32_t cpus, bool common)
    : owner_(owner),
      common_(common),
      batch_(common ? std::clamp(nodes / cpus / 2, 1u, kMaxBatch) : kOwnBatch),
      scans_(common ? kMaxBatch : kOwnBatch),
      lists_(common ? 1 : cpus),
      locals_(common ? cpus : 0) {
  for (Lists& lists : lists_) lists.unborn = common ? nodes : nodes / cpus;
  for (uint32_t cpu = 0; cpu < locals_.size(); ++cpu) locals_[cpu].next_steal = cpu;
}

void LruLists::Ring::push_front(LruNode* from, LruNode* to) {
  from->previous = &head;
  to->next = head.next;
  head.next->previous = to;
  head.next = from;
}

void LruLists::unlink(LruNode* from, LruNode* to) {
  from->previous->next = to->next;
  to->next->previous = from->previous;
}

void LruLists::step_back_from(Lists& lists, const LruNode* node) {
  if (lists.rotation == node) lists.rotation = node->previous;
}

void LruLists::move(Lists& lists, LruNode* node, Kind to) {
  --lists.counts[node->list];
  ++lists.counts[to];
  node->list = to;
  node->unmark();
  step_back_from(lists, node);
  unlink(node);
  lists.rings[to].push_front(node);
}

LruNode* LruLists::pop_free(Lists& lists) {
  if (!lists.rings[kFree].empty()) {
    LruNode* node = lists.rings[kFree].first();
    unlink(node);
    --lists.counts[kFree];
    return node;
  }
  if (lists.unborn == 0) return nullptr;
  LruNode* node = owner_.new_node();
  if (node == nullptr) return nullptr;
  --lists.unborn;
  node->cpu = static_cast<uint32_t>(&lists - lists_.data());
  return node;
}

void LruLists::rotate(Lists& lists) {
  if (lists.counts[kInactive] < lists.counts[kActive]) rotate_active(lists);
  rotate_inactive(lists);
}

void LruLists::rotate_active(Lists& lists) {
  Ring& active = lists.rings[kActive];
  const LruNode* newest = active.first();
  LruNode* node = active.last();
  for (uint32_t i = 0; i < scans_ && node != &active.head; ++i) {
    LruNode* newer = node->previous;
    const bool was_newest = node == newest;
    move(lists, node, node->marked() ? kActive : kInactive);
    if (was_newest) break;
    node = newer;
  }
}

void LruLists::rotate_inactive(Lists& lists) {
  Ring& inactive = lists.rings[kInactive];
  if (inactive.empty()) return;
  // Once around, from where the last look ended to the node that it looked at last.
  LruNode* const stop =
      lists.rotation->next != &inactive.head ? lists.rotation->next : inactive.head.next;
  LruNode* node = lists.rotation;
  LruNode* newer = &inactive.head;
  for (uint32_t i = 0; i < scans_;) {
    if (node == &inactive.head) {
      node = node->previous;
      continue;
    }
    newer = node->previous;
    const bool at_stop = node == stop;
    if (node->marked()) move(lists, node, kActive);
    if (at_stop) break;
    node = newer;
    ++i;
  }
  lists.rotation = newer;
}

void LruLists::evict(Lists& lists, LruNode* node, Kind kind) {
  owner_.evict(node);
  step_back_from(lists, node);
  --lists.counts[node->list];
  if (kind == kFree) ++lists.counts[kFree];
  node->list = kind;
}

void LruLists::shrink(Lists& lists, uint32_t wanted, Ring& free, Kind kind) {
  Ring& inactive = lists.rings[kInactive];
  uint32_t evicted = 0;
  LruNode* oldest = nullptr;  // that is evicted
  LruNode* newest = nullptr;
  LruNode* node = inactive.last();
  for (uint32_t i = 0; i < scans_ && evicted < wanted && node != &inactive.head; ++i) {
    LruNode* newer = node->previous;
    if (newer != &inactive.head) owner_.fetch(newer);
    if (node->marked()) {
      move(lists, node, kActive);
    } else {
      evict(lists, node, kind);
      if (oldest == nullptr) oldest = node;
      newest = node;
      ++evicted;
    }
    node = newer;
  }
  if (evicted == 0) {
    Ring& from = !inactive.empty() ? inactive : lists.rings[kActive];
    if (from.empty()) return;
    oldest = newest = from.last();
    evict(lists, oldest, kind);
  }
  // Those that were not evicted have left the row.
  unlink(newest, oldest);
  free.push_front(newest, oldest);
}

LruNode* LruLists::take(uint32_t cpu) { return common_ ? take_common(cpu) : take_own(cpu); }

LruNode* LruLists::take_own(uint32_t cpu) {
  Lists& lists = lists_[cpu];
  rotate(lists);
  LruNode* node = pop_free(lists);
  if (node == nullptr) {
    shrink(lists, kOwnBatch, lists.rings[kFree], kFree);
    node = pop_free(lists);
  }
  if (node == nullptr) return nullptr;
  node->unmark();
  node->list = kInactive;
  ++lists.counts[kInactive];
  lists.rings[kInactive].push_front(node);
  return node;
}

// What this CPU added since the last refill joins the common lists, then free nodes come back.
void LruLists::refill(Local& local) {
  Lists& lists = lists_[0];
  for (LruNode* node = local.pending.last(); node != &local.pending.head;) {
    LruNode* newer = node->previous;
    node->list = kInactive;
    if (node->marked()) {
      node->list = kActive;
      node->unmark();
      unlink(node);
      lists.rings[kActive].push_front(node);
    }
    ++lists.counts[node->list];
    node = newer;
  }
  if (!local.pending.empty()) {
    LruNode* newest = local.pending.first();
    LruNode* oldest = local.pending.last();
    unlink(newest, oldest);
    lists.rings[kInactive].push_front(newest, oldest);
  }
  rotate(lists);
  uint32_t got = 0;
  while (got < batch_) {
    LruNode* node = pop_free(lists);
    if (node == nullptr) break;
    node->list = kLocalFree;
    local.free.push_front(node);
    ++got;
  }
  if (got < batch_) shrink(lists, batch_ - got, local.free, kLocalFree);
}

// Free, or pending and not used again, or just pending: the oldest.
LruNode* LruLists::steal(Local& from) {
  if (!from.free.empty()) {
    LruNode* node = from.free.first();
    unlink(node);
    return node;
  }
  if (from.pending.empty()) return nullptr;
  LruNode* victim = from.pending.last();
  for (LruNode* node = victim; node != &from.pending.head; node = node->previous) {
    if (node->marked()) continue;
    victim = node;
    break;
  }
  owner_.evict(victim);
  unlink(victim);
  return victim;
}

LruNode* LruLists::take_common(uint32_t cpu) {
  Local& local = locals_[cpu];
  if (local.free.empty()) refill(local);
  LruNode* node = nullptr;
  if (!local.free.empty()) {
    node = local.free.first();
    unlink(node);
  } else {
    const auto cpus = static_cast<uint32_t>(locals_.size());
    for (uint32_t i = 0; i < cpus && node == nullptr; ++i) {
      node = steal(locals_[local.next_steal]);
      local.next_steal = (local.next_steal + 1) % cpus;
    }
  }
  if (node == nullptr) return nullptr;
  node->cpu = cpu;
  node->list = kLocalPending;
  node->unmark();
  local.pending.push_front(node);
  return node;
}

void LruLists::give_back(LruNode* node) {
  if (node->list == kLocalPending) {
    unlink(node);
    node->list = kLocalFree;
    node->unmark();
    locals_[node->cpu].free.push_front(node);
    return;
  }
  move(lists_[common_ ? 0 : node->cpu], node, kFree);
}

}  // namespace xnic::vm
