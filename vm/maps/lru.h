#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace xnic::vm {

// What an LRU map's element carries for LruLists. In one list at any time.
struct LruNode {
  LruNode* previous;
  LruNode* next;
  uint32_t cpu;
  uint8_t list;
  // Looked up or updated since the lists last looked at it. Set without the owner's lock.
  std::atomic<bool> referenced;

  bool marked() const { return referenced.load(std::memory_order_relaxed); }
  void mark() {
    if (!marked()) referenced.store(true, std::memory_order_relaxed);
  }
  void unmark() { referenced.store(false, std::memory_order_relaxed); }
};

// The map's side of LruLists.
class LruOwner {
 public:
  virtual ~LruOwner() = default;
  // A node that was never used; null without memory. Asked for at most `nodes` times.
  virtual LruNode* new_node() = 0;
  // The node's element may be next to leave the map.
  virtual void fetch(const LruNode* node) = 0;
  // The node's element is to leave the map.
  virtual void evict(LruNode* node) = 0;
};

// Which elements of an LRU map are free, and which make room when none is. Works as Linux does
// (kernel documentation, "BPF_MAP_TYPE_HASH, with PERCPU and LRU Variants"): not an exact order of
// use, but an active and an inactive list between which nodes move by their `referenced` mark,
// looked at a few at a time. With `common` lists, each CPU takes free nodes from them in batches
// of nodes / CPUs / 2 (1 to 128) and keeps what it added to itself until the next batch; without
// (BPF_F_NO_COMMON_LRU) each CPU has nodes / CPUs of its own. The owner locks.
class LruLists {
 public:
  LruLists(LruOwner& owner, uint32_t nodes, uint32_t cpus, bool common);
  LruLists(const LruLists&) = delete;
  LruLists& operator=(const LruLists&) = delete;

  // A node for an element that is added on this CPU; evicts elements if it has to. Null without
  // memory.
  LruNode* take(uint32_t cpu);
  // The node's element has left the map, by deletion.
  void give_back(LruNode* node);

 private:
  enum Kind : uint8_t { kActive, kInactive, kFree, kLocalFree, kLocalPending };

  // A ring of nodes around a head that is none.
  struct Ring {
    LruNode head{};
    Ring() { head.previous = head.next = &head; }
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    bool empty() const { return head.next == &head; }
    LruNode* first() { return head.next; }
    LruNode* last() { return head.previous; }
    void push_front(LruNode* node) { push_front(node, node); }
    // A chain of nodes that are in no ring.
    void push_front(LruNode* from, LruNode* to);
  };

  // One set of active and inactive nodes: all CPUs share one, or each has its own.
  struct Lists {
    Ring rings[3];  // by Kind, up to kFree
    uint32_t counts[3] = {};
    uint32_t unborn = 0;  // free nodes that were never made
    // Where the next look at the inactive nodes begins; goes from the oldest to the newest.
    LruNode* rotation = &rings[kInactive].head;
  };

  struct Local {
    Ring free;
    Ring pending;
    uint32_t next_steal = 0;
  };

  static void unlink(LruNode* node) { unlink(node, node); }
  // A chain of nodes, which keep their order.
  static void unlink(LruNode* from, LruNode* to);
  static void step_back_from(Lists& lists, const LruNode* node);
  static void move(Lists& lists, LruNode* node, Kind to);
  LruNode* pop_free(Lists& lists);

  void rotate(Lists& lists);
  void rotate_active(Lists& lists);
  void rotate_inactive(Lists& lists);
  // Evicts up to `wanted` nodes and moves them to `free`; at least one if there is any.
  void shrink(Lists& lists, uint32_t wanted, Ring& free, Kind kind);
  // The node stays where it is in its ring.
  void evict(Lists& lists, LruNode* node, Kind kind);

  LruNode* take_common(uint32_t cpu);
  LruNode* take_own(uint32_t cpu);
  void refill(Local& local);
  LruNode* steal(Local& from);

  LruOwner& owner_;
  bool common_;
  uint32_t batch_;
  uint32_t scans_;
  std::vector<Lists> lists_;
  std::vector<Local> locals_;
};

}  // namespace xnic::vm
