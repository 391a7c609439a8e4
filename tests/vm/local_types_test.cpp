// Types of which programs make objects: which of them BPF_BTF_LOAD takes, here and on the real
// kernel; and the life of objects.
#include "vm/local_types.h"

#include <bpf/btf.h>
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/bpf_host.h"
#include "vm/btf.h"
#include "vm/graph.h"
#include "vm/interpreter.h"
#include "vm/kernel.h"

namespace xnic::test {
namespace {

// BTF with the kernel's types; `add` adds structs of a program.
class Types {
 public:
  Types() : btf_(btf__new_empty()) {
    word = btf__add_int(btf_, "unsigned long", 8, 0);
    half = btf__add_int(btf_, "unsigned int", 4, 0);
    lock = opaque("bpf_spin_lock", half, 1);
    list_head = opaque("bpf_list_head", word, 2);
    list_node = opaque("bpf_list_node", word, 3);
    rb_root = opaque("bpf_rb_root", word, 2);
    rb_node = opaque("bpf_rb_node", word, 4);
    refcount = opaque("bpf_refcount", half, 1);
  }
  ~Types() { btf__free(btf_); }
  Types(const Types&) = delete;
  Types& operator=(const Types&) = delete;

  struct Member {
    std::string name;
    int type;
    uint32_t offset;
    std::string holds{};  // of a root: "TYPE:NODE"
  };
  int add(const char* name, uint32_t size, const std::vector<Member>& members) {
    const int id = btf__add_struct(btf_, name, size);
    for (const Member& member : members) {
      btf__add_field(btf_, member.name.c_str(), member.type, member.offset * 8, 0);
    }
    int number = 0;
    for (const Member& member : members) {
      if (!member.holds.empty()) {
        btf__add_decl_tag(btf_, ("contains:" + member.holds).c_str(), id, number);
      }
      ++number;
    }
    return id;
  }
  int array(int type, uint32_t count) { return btf__add_array(btf_, half, type, count); }
  int kptr(int type, const char* tag = "kptr") {
    return btf__add_ptr(btf_, btf__add_type_tag(btf_, tag, type));
  }

  std::vector<uint8_t> blob() const {
    uint32_t size = 0;
    const auto* bytes = static_cast<const uint8_t*>(btf__raw_data(btf_, &size));
    return {bytes, bytes + size};
  }

  int word, half, lock, list_head, list_node, rb_root, rb_node, refcount;

 private:
  int opaque(const char* name, int type, uint32_t count) {
    const int bytes = type == half ? 4 : 8;
    const int id = btf__add_struct(btf_, name, count * static_cast<uint32_t>(bytes));
    for (uint32_t i = 0; i < count; ++i) {
      btf__add_field(btf_, ("part" + std::to_string(i)).c_str(), type,
                     i * 8 * static_cast<uint32_t>(bytes), 0);
    }
    return id;
  }

  btf* btf_;
};

struct Row {
  const char* what;
  std::function<void(Types&)> add;
};

std::vector<Row> rows() {
  return {
      {"a list",
       [](Types& t) {
         t.add("item", 24, {{"node", t.list_node, 0}});
         t.add("owner", 24, {{"head", t.list_head, 0, "item:node"}, {"lock", t.lock, 16}});
       }},
      {"a list without a lock",
       [](Types& t) {
         t.add("item", 24, {{"node", t.list_node, 0}});
         t.add("owner", 16, {{"head", t.list_head, 0, "item:node"}});
       }},
      {"a list that says nothing of what it holds",
       [](Types& t) {
         t.add("item", 24, {{"node", t.list_node, 0}});
         t.add("owner", 24, {{"head", t.list_head, 0}, {"lock", t.lock, 16}});
       }},
      {"a list of a struct that does not exist",
       [](Types& t) {
         t.add("owner", 24, {{"head", t.list_head, 0, "item:node"}, {"lock", t.lock, 16}});
       }},
      {"a list of a struct without that node",
       [](Types& t) {
         t.add("item", 24, {{"node", t.list_node, 0}});
         t.add("owner", 24, {{"head", t.list_head, 0, "item:other"}, {"lock", t.lock, 16}});
       }},
      {"a list whose node is none",
       [](Types& t) {
         t.add("item", 32, {{"node", t.list_node, 0}, {"a", t.word, 24}});
         t.add("owner", 24, {{"head", t.list_head, 0, "item:a"}, {"lock", t.lock, 16}});
       }},
      {"a list of a tree's nodes",
       [](Types& t) {
         t.add("item", 32, {{"node", t.rb_node, 0}});
         t.add("owner", 24, {{"head", t.list_head, 0, "item:node"}, {"lock", t.lock, 16}});
       }},
      {"a tag without a node",
       [](Types& t) {
         t.add("item", 24, {{"node", t.list_node, 0}});
         t.add("owner", 24, {{"head", t.list_head, 0, "item"}, {"lock", t.lock, 16}});
       }},
      {"a tree",
       [](Types& t) {
         t.add("item", 32, {{"node", t.rb_node, 0}});
         t.add("owner", 24, {{"root", t.rb_root, 0, "item:node"}, {"lock", t.lock, 16}});
       }},
      {"two locks",
       [](Types& t) {
         t.add("owner", 8, {{"a", t.lock, 0}, {"b", t.lock, 4}});
       }},
      {"two counts",
       [](Types& t) {
         t.add("owner", 8, {{"a", t.refcount, 0}, {"b", t.refcount, 4}});
       }},
      {"an array of locks",
       [](Types& t) {
         t.add("owner", 8, {{"a", t.array(t.lock, 2), 0}});
       }},
      {"an array of nodes",
       [](Types& t) {
         t.add("owner", 48, {{"a", t.array(t.list_node, 2), 0}});
       }},
      {"nodes of a list and of a tree, uncounted",
       [](Types& t) {
         t.add("item", 56, {{"a", t.list_node, 0}, {"b", t.rb_node, 24}});
       }},
      {"nodes of a list and of a tree, counted",
       [](Types& t) {
         t.add("item", 64, {{"a", t.list_node, 0}, {"b", t.rb_node, 24}, {"c", t.refcount, 56}});
       }},
      {"a list of lists",
       [](Types& t) {
         t.add("item", 24, {{"node", t.list_node, 0}});
         t.add("middle", 48,
               {{"node", t.list_node, 0},
                {"head", t.list_head, 24, "item:node"},
                {"lock", t.lock, 40}});
         t.add("owner", 24, {{"head", t.list_head, 0, "middle:node"}, {"lock", t.lock, 16}});
       }},
      {"a list of its own kind",
       [](Types& t) {
         t.add("item", 48,
               {{"node", t.list_node, 0},
                {"head", t.list_head, 24, "item:node"},
                {"lock", t.lock, 40}});
       }},
      {"a kptr to a struct of the program",
       [](Types& t) {
         const int target = t.add("item", 8, {{"a", t.word, 0}});
         t.add("owner", 8, {{"p", t.kptr(target), 0}});
       }},
      {"a kptr to a number",
       [](Types& t) {
         t.add("owner", 8, {{"p", t.kptr(t.word), 0}});
       }},
      {"a list of what holds a kptr to its own kind",
       [](Types& t) {
         const int item = t.add("item", 8, {{"a", t.word, 0}});
         t.add("chain", 32, {{"node", t.list_node, 0}, {"p", t.kptr(item), 24}});
       }},
  };
}

class LocalTypes : public testing::Test {
 protected:
  static long load(BpfHost& host, const Types& types) {
    const std::vector<uint8_t> blob = types.blob();
    bpf_attr attributes{};
    attributes.btf = address_of(blob.data());
    attributes.btf_size = static_cast<uint32_t>(blob.size());
    const Descriptor made(host.bpf(BPF_BTF_LOAD, attributes));
    return made.error();
  }

  vm::Interpreter interpreter_;
  vm::Kernel kernel_{interpreter_, {}};
  EmulatedKernel ours_{kernel_};
};

TEST_F(LocalTypes, AreRefusedWhereLinuxRefusesThem) {
  XNIC_NEEDS_REAL_KERNEL();
  RealKernel theirs;
  int refused = 0;
  for (const Row& row : rows()) {
    Types types;
    row.add(types);
    const long linux_says = load(theirs, types);
    EXPECT_EQ(load(ours_, types), linux_says) << row.what;
    refused += linux_says != 0 ? 1 : 0;
  }
  EXPECT_GT(refused, 8);
}

TEST_F(LocalTypes, KeepAnObjectForAsLongAsItHasAnOwner) {
  Types types;
  const int item = types.add(
      "item", 40,
      {{"node", types.list_node, 0}, {"owners", types.refcount, 24}, {"number", types.word, 32}});
  const int owner =
      types.add("owner", 24, {{"head", types.list_head, 0, "item:node"}, {"lock", types.lock, 16}});
  const auto btf = vm::Btf::parse(types.blob());
  ASSERT_NE(btf, nullptr);
  ASSERT_EQ(btf->find_local_types(), 0);
  vm::LocalTypes& local = *btf->local_types();
  uint8_t* one = local.make(static_cast<uint32_t>(item), 40);
  ASSERT_NE(one, nullptr);
  EXPECT_TRUE(vm::add_owner(one));
  vm::drop_owner(one);
  const auto at = [](uint8_t* object) { return reinterpret_cast<uintptr_t>(object); };
  EXPECT_EQ(local.object_around(at(one) + 39).start, one);
  EXPECT_EQ(local.object_around(at(one) + 40).start, nullptr);

  uint8_t* list = local.make(static_cast<uint32_t>(owner), 24);
  ASSERT_NE(list, nullptr);
  ASSERT_TRUE(vm::push_to_list(list, one, true));
  EXPECT_TRUE(vm::add_owner(one));
  // The list's share goes with it, the other stays.
  vm::drop_owner(list);
  EXPECT_EQ(local.object_around(at(list)).start, nullptr);
  EXPECT_EQ(local.object_around(at(one)).start, one);
  vm::drop_owner(one);
  EXPECT_EQ(local.object_around(at(one)).start, nullptr);
  // Nobody can own it any more, until its memory is that of another object of its type.
  EXPECT_FALSE(vm::add_owner(one));
  EXPECT_EQ(local.make(static_cast<uint32_t>(item), 40), one);
  EXPECT_EQ(local.make(static_cast<uint32_t>(item), vm::LocalTypes::kMostBytes + 1), nullptr);
}

// Another CPU deletes the value of a map while a program holds its lock.
TEST_F(LocalTypes, ListsAreEmptiedUnderTheirLock) {
  Types types;
  const int item = types.add("item", 24, {{"node", types.list_node, 0}});
  const int owner =
      types.add("owner", 24, {{"head", types.list_head, 0, "item:node"}, {"lock", types.lock, 16}});
  const auto btf = vm::Btf::parse(types.blob());
  ASSERT_NE(btf, nullptr);
  ASSERT_EQ(btf->find_local_types(), 0);
  vm::LocalTypes& local = *btf->local_types();
  const vm::ValueFields& fields = local.fields_of(static_cast<uint32_t>(owner));
  std::array<uint64_t, 3> value{};
  auto* list = reinterpret_cast<uint8_t*>(value.data());
  uint8_t* const lock = list + fields.spin_lock_offset();
  uint8_t* one = local.make(static_cast<uint32_t>(item), 24);
  uint8_t* other = local.make(static_cast<uint32_t>(item), 24);

  vm::lock_value(lock);
  ASSERT_TRUE(vm::push_to_list(list, one, true));
  std::thread deletes([&] { vm::free_owned(list, fields); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(vm::end_of_list(list, true), one);
  EXPECT_TRUE(vm::push_to_list(list, other, true));
  vm::unlock_value(lock);
  deletes.join();
  EXPECT_EQ(vm::end_of_list(list, true), nullptr);
  for (uint8_t* object : {one, other}) {
    EXPECT_EQ(local.object_around(reinterpret_cast<uintptr_t>(object)).start, nullptr);
  }
}

}  // namespace
}  // namespace xnic::test
