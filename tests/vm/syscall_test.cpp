// bpf(2): what each command answers to good and odd attributes, held against the running kernel
// call by call. Commands that do not exist here yet are left out of the comparison.
#include "vm/syscall.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>

#include "tests/support/bpf_host.h"
#include "vm/interpreter.h"

namespace xnic::vm {
namespace {

using test::address_of;
using test::Bytes;
using test::Descriptor;

// A BTF blob with no types: header and an empty string (include/uapi/linux/btf.h).
Bytes empty_btf() {
  return {0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0};
}

// The same questions to one kernel or the other.
class Asker {
 public:
  explicit Asker(test::BpfHost& host)
      : host_(host),
        map_(host.create_map(BPF_MAP_TYPE_HASH, 4, 8, 2)),
        array_(host.create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 2)),
        program_(host.load(BPF_PROG_TYPE_XDP, {test::move(test::r0, 2), test::leave()})) {}

  test::BpfHost& host() { return host_; }
  uint32_t map() const { return static_cast<uint32_t>(map_.fd()); }
  uint32_t array() const { return static_cast<uint32_t>(array_.fd()); }
  uint32_t program() const { return static_cast<uint32_t>(program_.fd()); }

  // 0 or -errno. Where the answer is a descriptor, it is closed.
  long ask(uint32_t command, bpf_attr attr, uint32_t size = sizeof(bpf_attr)) {
    return settle(command, host_.bpf(command, &attr, size));
  }
  long settle(uint32_t command, long answer) {
    if (answer < 0) return answer;
    switch (command) {
      case BPF_MAP_CREATE:
      case BPF_PROG_LOAD:
      case BPF_BTF_LOAD:
      case BPF_PROG_GET_FD_BY_ID:
      case BPF_MAP_GET_FD_BY_ID:
      case BPF_BTF_GET_FD_BY_ID:
        close(static_cast<int>(answer));
        return 0;
      default:
        return answer;
    }
  }

 private:
  test::BpfHost& host_;
  Descriptor map_;
  Descriptor array_;
  Descriptor program_;
};

class SyscallAgainstKernel : public testing::Test {
 protected:
  void SetUp() override {
    XNIC_NEEDS_REAL_KERNEL();
    ours_.emplace(emulated_);
    theirs_.emplace(real_);
  }

  void same(const std::string& what, const std::function<long(Asker&)>& question) {
    EXPECT_EQ(question(*ours_), question(*theirs_)) << what;
  }

  Interpreter engine_;
  Kernel kernel_{engine_};
  test::EmulatedKernel emulated_{kernel_};
  test::RealKernel real_;
  std::optional<Asker> ours_;
  std::optional<Asker> theirs_;
};

constexpr std::array<uint32_t, 17> kCommands = {
    BPF_MAP_CREATE,       BPF_MAP_LOOKUP_ELEM,    BPF_MAP_UPDATE_ELEM,  BPF_MAP_DELETE_ELEM,
    BPF_MAP_GET_NEXT_KEY, BPF_MAP_FREEZE,         BPF_PROG_LOAD,        BPF_PROG_TEST_RUN,
    BPF_BTF_LOAD,         BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_GET_NEXT_ID, BPF_MAP_GET_NEXT_ID,
    BPF_BTF_GET_NEXT_ID,  BPF_PROG_GET_FD_BY_ID,  BPF_MAP_GET_FD_BY_ID, BPF_BTF_GET_FD_BY_ID,
    BPF_PROG_BIND_MAP};

TEST_F(SyscallAgainstKernel, RefusesUnknownCommands) {
  for (const uint32_t command : {64u, 1000u, 0x7fffffffu, 0xffffffffu}) {
    same(fmt::format("command {}", command), [&](Asker& a) { return a.ask(command, {}); });
  }
}

TEST_F(SyscallAgainstKernel, AnswersEmptyAttributesOfEverySizeAlike) {
  for (const uint32_t command : kCommands) {
    if (command == BPF_PROG_GET_NEXT_ID || command == BPF_MAP_GET_NEXT_ID ||
        command == BPF_BTF_GET_NEXT_ID) {
      continue;  // depends on what else is loaded
    }
    for (uint32_t size = 0; size <= sizeof(bpf_attr); size += 4) {
      same(fmt::format("command {}, {} zero bytes", command, size),
           [&](Asker& a) { return a.ask(command, {}, size); });
    }
  }
}

TEST_F(SyscallAgainstKernel, RefusesBytesPastTheLastAttributeOfACommand) {
  for (const uint32_t command : kCommands) {
    if (command == BPF_PROG_LOAD || command == BPF_MAP_CREATE || command == BPF_BTF_LOAD) continue;
    const uint32_t last = sizeof(bpf_attr) - 1;
    same(fmt::format("command {}, last byte set", command), [&](Asker& a) {
      bpf_attr attr{};
      reinterpret_cast<uint8_t*>(&attr)[last] = 1;
      return a.ask(command, attr);
    });
  }
}

TEST_F(SyscallAgainstKernel, TakesLargerAttributesIfTheTailIsZero) {
  struct Large {
    bpf_attr known;
    uint8_t tail[300];
  };
  for (const uint32_t command : kCommands) {
    if (command == BPF_PROG_GET_NEXT_ID || command == BPF_MAP_GET_NEXT_ID ||
        command == BPF_BTF_GET_NEXT_ID) {
      continue;
    }
    for (const int at : {-1, 250, 299}) {
      same(fmt::format("command {}, byte {} of the tail", command, at), [&](Asker& a) {
        Large large{};
        if (at >= 0) large.tail[at] = 1;
        return a.settle(command, a.host().bpf(command, &large, sizeof large));
      });
    }
  }
  same("more than a page", [](Asker& a) {
    Bytes huge(8192);
    return a.host().bpf(BPF_MAP_CREATE, huge.data(), 8192);
  });
  same("no attributes", [](Asker& a) { return a.host().bpf(BPF_MAP_CREATE, nullptr, 8); });
}

TEST_F(SyscallAgainstKernel, RefusesDescriptorsThatAreNoMap) {
  for (const uint32_t command : {BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM,
                                 BPF_MAP_GET_NEXT_KEY, BPF_MAP_FREEZE}) {
    uint64_t key = 0;
    uint64_t value = 0;
    for (const int which : {0, 1, 2, 3}) {
      same(fmt::format("command {}, descriptor kind {}", command, which), [&](Asker& a) {
        bpf_attr attr{};
        const std::array<uint32_t, 4> descriptors = {0xffffffff, 1, 100000, a.program()};
        attr.map_fd = descriptors.at(static_cast<size_t>(which));
        if (command != BPF_MAP_FREEZE) {
          attr.key = address_of(&key);
          attr.value = address_of(&value);
        }
        if (command == BPF_MAP_DELETE_ELEM) attr.value = 0;
        return a.ask(command, attr);
      });
    }
  }
  for (const uint32_t command : {BPF_PROG_TEST_RUN, BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_BIND_MAP}) {
    for (const uint32_t fd : {0xffffffffu, 1u, 100000u}) {
      same(fmt::format("command {}, descriptor {}", command, fd), [&](Asker& a) {
        bpf_attr attr{};
        if (command == BPF_PROG_TEST_RUN) attr.test.prog_fd = fd;
        if (command == BPF_OBJ_GET_INFO_BY_FD) attr.info.bpf_fd = fd;
        if (command == BPF_PROG_BIND_MAP) attr.prog_bind_map.prog_fd = fd;
        return a.ask(command, attr);
      });
    }
  }
  same("a map where a program is wanted", [](Asker& a) {
    bpf_attr attr{};
    attr.test.prog_fd = a.map();
    return a.ask(BPF_PROG_TEST_RUN, attr);
  });
  same("an unknown program id", [](Asker& a) {
    bpf_attr attr{};
    attr.prog_id = 0xfffffff0;
    return a.ask(BPF_PROG_GET_FD_BY_ID, attr);
  });
  same("an unknown map id", [](Asker& a) {
    bpf_attr attr{};
    attr.map_id = 0xfffffff0;
    return a.ask(BPF_MAP_GET_FD_BY_ID, attr);
  });
  same("odd flags for a map by id", [](Asker& a) {
    bpf_attr attr{};
    attr.map_id = 1;
    attr.open_flags = 1u << 20;
    return a.ask(BPF_MAP_GET_FD_BY_ID, attr);
  });
  same("an unknown BTF id", [](Asker& a) {
    bpf_attr attr{};
    attr.btf_id = 0xfffffff0;
    return a.ask(BPF_BTF_GET_FD_BY_ID, attr);
  });
}

TEST_F(SyscallAgainstKernel, AnswersElementCommandsAlike) {
  for (const bool array : {false, true}) {
    const auto element = [&](uint32_t command, const uint32_t* key, const uint64_t* value,
                             uint64_t flags) {
      return [=](Asker& a) {
        bpf_attr attr{};
        attr.map_fd = array ? a.array() : a.map();
        attr.key = address_of(key);
        attr.value = address_of(value);
        attr.flags = flags;
        return a.ask(command, attr);
      };
    };
    uint32_t key = 1;
    uint64_t value = 7;
    for (const uint64_t flags : {0ull, 1ull, 2ull, 3ull, 4ull, 8ull, 1ull << 40}) {
      same("update", element(BPF_MAP_UPDATE_ELEM, &key, &value, flags));
      same("lookup", element(BPF_MAP_LOOKUP_ELEM, &key, &value, flags));
    }
    same("no key", element(BPF_MAP_LOOKUP_ELEM, nullptr, &value, 0));
    same("no value", element(BPF_MAP_LOOKUP_ELEM, &key, nullptr, 0));
    same("update without key", element(BPF_MAP_UPDATE_ELEM, nullptr, &value, 0));
    same("update without value", element(BPF_MAP_UPDATE_ELEM, &key, nullptr, 0));
    same("delete without key", element(BPF_MAP_DELETE_ELEM, nullptr, nullptr, 0));
    same("first key", element(BPF_MAP_GET_NEXT_KEY, nullptr, &value, 0));
    same("key after the only one", element(BPF_MAP_GET_NEXT_KEY, &key, &value, 0));
    same("no room for the next key", element(BPF_MAP_GET_NEXT_KEY, nullptr, nullptr, 0));
    same("delete with a value", element(BPF_MAP_DELETE_ELEM, &key, &value, 0));
    same("delete", element(BPF_MAP_DELETE_ELEM, &key, nullptr, 0));
    same("delete again", element(BPF_MAP_DELETE_ELEM, &key, nullptr, 0));
    uint32_t far = 1000;
    same("out of range", element(BPF_MAP_LOOKUP_ELEM, &far, &value, 0));
  }
}

TEST_F(SyscallAgainstKernel, FreezesAMapOnceAndThenRefusesToWriteIt) {
  const auto freeze = [](Asker& a) {
    bpf_attr attr{};
    attr.map_fd = a.array();
    return a.ask(BPF_MAP_FREEZE, attr);
  };
  same("freeze", freeze);
  same("freeze again", freeze);
  uint32_t key = 0;
  uint64_t value = 0;
  for (const uint32_t command :
       {BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_LOOKUP_ELEM, BPF_MAP_GET_NEXT_KEY}) {
    same(fmt::format("command {} on a frozen map", command), [&](Asker& a) {
      bpf_attr attr{};
      attr.map_fd = a.array();
      attr.key = address_of(&key);
      if (command != BPF_MAP_DELETE_ELEM) attr.value = address_of(&value);
      return a.ask(command, attr);
    });
  }
}

TEST_F(SyscallAgainstKernel, ObeysTheAccessFlagsOfAMap) {
  constexpr uint32_t kReadOnly = BPF_F_RDONLY;
  constexpr uint32_t kWriteOnly = BPF_F_WRONLY;
  constexpr uint32_t kReadOnlyProgram = BPF_F_RDONLY_PROG;
  constexpr uint32_t kWriteOnlyProgram = BPF_F_WRONLY_PROG;
  for (const uint32_t flags :
       {kReadOnly, kWriteOnly, kReadOnly | kWriteOnly, kReadOnlyProgram, kWriteOnlyProgram}) {
    for (const uint32_t command : {BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_FREEZE}) {
      same(fmt::format("flags {}, command {}", flags, command), [&](Asker& a) {
        const Descriptor map = a.host().create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1, flags);
        if (map.error() != 0) return map.error();
        uint32_t key = 0;
        uint64_t value = 0;
        bpf_attr attr{};
        attr.map_fd = static_cast<uint32_t>(map.fd());
        if (command != BPF_MAP_FREEZE) {
          attr.key = address_of(&key);
          attr.value = address_of(&value);
        }
        return a.ask(command, attr);
      });
    }
  }
}

TEST_F(SyscallAgainstKernel, TakesAndRefusesNamesAlike) {
  for (const std::string name :
       {"", "a", "under_score.dot", "fifteen_letters", "sixteen_letters_", "with space", "dash-ed",
        "tab\t", "\x7f", "\xe4", "9lives", "a/b"}) {
    same("map " + name, [&](Asker& a) {
      bpf_attr attr{};
      attr.map_type = BPF_MAP_TYPE_ARRAY;
      attr.key_size = attr.value_size = 4;
      attr.max_entries = 1;
      std::memcpy(attr.map_name, name.data(), std::min(name.size(), sizeof attr.map_name));
      return a.ask(BPF_MAP_CREATE, attr);
    });
    same("program " + name, [&](Asker& a) {
      const test::Instructions program = {test::move(test::r0, 0), test::leave()};
      bpf_attr attr{};
      attr.prog_type = BPF_PROG_TYPE_XDP;
      attr.insns = address_of(program.data());
      attr.insn_cnt = 2;
      attr.license = address_of("GPL");
      std::memcpy(attr.prog_name, name.data(), std::min(name.size(), sizeof attr.prog_name));
      return a.ask(BPF_PROG_LOAD, attr);
    });
  }
}

TEST_F(SyscallAgainstKernel, AnswersOddMapCreationsAlike) {
  using Change = void (*)(bpf_attr&);
  const Change changes[] = {
      [](bpf_attr&) {},
      [](bpf_attr& a) { a.map_type = 0; },
      [](bpf_attr& a) { a.map_type = 1000; },
      [](bpf_attr& a) { a.key_size = 0; },
      [](bpf_attr& a) { a.value_size = 0; },
      [](bpf_attr& a) { a.max_entries = 0; },
      [](bpf_attr& a) { a.map_flags = 1u << 31; },
      [](bpf_attr& a) { a.map_flags = BPF_F_NUMA_NODE, a.numa_node = 0; },
      [](bpf_attr& a) { a.map_flags = BPF_F_NUMA_NODE, a.numa_node = 1000; },
      [](bpf_attr& a) { a.numa_node = 5; },
      [](bpf_attr& a) { a.inner_map_fd = 5; },
      [](bpf_attr& a) { a.map_ifindex = 77; },
      [](bpf_attr& a) { a.btf_fd = 1; },
      [](bpf_attr& a) { a.btf_key_type_id = 1; },
      [](bpf_attr& a) { a.btf_value_type_id = 1; },
      [](bpf_attr& a) { a.btf_key_type_id = a.btf_value_type_id = 1; },
      [](bpf_attr& a) { a.btf_vmlinux_value_type_id = 1; },
      [](bpf_attr& a) { a.map_extra = 1; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    for (const bpf_map_type type : {BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH}) {
      same(fmt::format("change {} of type {}", i, static_cast<int>(type)), [&](Asker& a) {
        bpf_attr attr{};
        attr.map_type = type;
        attr.key_size = attr.value_size = 4;
        attr.max_entries = 1;
        changes[i](attr);
        return a.ask(BPF_MAP_CREATE, attr);
      });
    }
  }
}

TEST_F(SyscallAgainstKernel, AnswersOddProgramLoadsAlike) {
  using Change = void (*)(bpf_attr&);
  static std::array<char, 256> log;
  static const test::Instructions many(5000, test::move(test::r0, 0));
  const Change changes[] = {
      [](bpf_attr&) {},
      [](bpf_attr& a) { a.prog_type = 0; },
      [](bpf_attr& a) { a.prog_type = 1000; },
      [](bpf_attr& a) { a.insn_cnt = 0; },
      [](bpf_attr& a) { a.insn_cnt = 1; },
      [](bpf_attr& a) { a.insn_cnt = 1'000'001; },
      [](bpf_attr& a) { a.insns = 0; },
      [](bpf_attr& a) { a.license = 0; },
      [](bpf_attr& a) { a.license = address_of(""); },
      [](bpf_attr& a) { a.license = address_of("Proprietary"); },
      [](bpf_attr& a) { a.prog_flags = 1u << 30; },
      [](bpf_attr& a) { a.prog_flags = BPF_F_XDP_HAS_FRAGS; },
      [](bpf_attr& a) { a.prog_flags = BPF_F_STRICT_ALIGNMENT; },
      [](bpf_attr& a) { a.prog_flags = BPF_F_ANY_ALIGNMENT; },
      [](bpf_attr& a) { a.prog_flags = BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT; },
      [](bpf_attr& a) { a.prog_flags = BPF_F_SLEEPABLE; },
      [](bpf_attr& a) { a.expected_attach_type = BPF_XDP; },
      [](bpf_attr& a) { a.expected_attach_type = 1000; },
      [](bpf_attr& a) { a.kern_version = 5; },
      [](bpf_attr& a) { a.attach_btf_id = 3; },
      [](bpf_attr& a) { a.attach_prog_fd = 1; },
      [](bpf_attr& a) { a.prog_ifindex = 12345; },
      [](bpf_attr& a) { a.log_level = 1; },
      [](bpf_attr& a) { a.log_level = 100; },
      [](bpf_attr& a) {
        a.log_level = 1, a.log_size = sizeof log, a.log_buf = address_of(log.data());
      },
      [](bpf_attr& a) {
        a.log_level = 8, a.log_size = sizeof log, a.log_buf = address_of(log.data());
      },
      [](bpf_attr& a) { a.log_size = sizeof log, a.log_buf = address_of(log.data()); },
      [](bpf_attr& a) { a.log_level = 1, a.log_size = sizeof log; },
      [](bpf_attr& a) { a.log_level = 1, a.log_buf = address_of(log.data()); },
      [](bpf_attr& a) { a.func_info_cnt = 1; },
      [](bpf_attr& a) { a.line_info_cnt = 1; },
      [](bpf_attr& a) { a.prog_btf_fd = 1; },
      [](bpf_attr& a) { a.core_relo_cnt = 1; },
      [](bpf_attr& a) { a.fd_array = 8; },
  };
  for (size_t i = 0; i < std::size(changes); ++i) {
    for (const bpf_prog_type type : {BPF_PROG_TYPE_XDP, BPF_PROG_TYPE_SCHED_CLS}) {
      same(fmt::format("change {} of type {}", i, static_cast<int>(type)), [&](Asker& a) {
        const test::Instructions program = {test::move(test::r0, 0), test::leave()};
        bpf_attr attr{};
        attr.prog_type = type;
        attr.insns = address_of(program.data());
        attr.insn_cnt = 2;
        attr.license = address_of("GPL");
        changes[i](attr);
        if (attr.insn_cnt > 2) attr.insns = address_of(many.data()), attr.insn_cnt = 1'000'001;
        return a.ask(BPF_PROG_LOAD, attr);
      });
    }
  }
}

TEST_F(SyscallAgainstKernel, AnswersGoodAndBadBtfAlike) {
  const auto load = [](Bytes blob) {
    return [blob](Asker& a) {
      bpf_attr attr{};
      attr.btf = address_of(blob.data());
      attr.btf_size = static_cast<uint32_t>(blob.size());
      return a.ask(BPF_BTF_LOAD, attr);
    };
  };
  Bytes with_int = {0x9f, 0xeb, 1, 0, 24, 0, 0,  0, 0, 0, 0, 0,   16,  0,   0,
                    0,    16,   0, 0, 0,  5, 0,  0, 0, 1, 0, 0,   0,   0,   0,
                    0,    1,    4, 0, 0,  0, 32, 0, 0, 1, 0, 'i', 'n', 't', 0};
  same("one int", load(with_int));
  same("no types", load(empty_btf()));
  same("nothing", load({}));
  same("garbage", load(Bytes(64, 0x5a)));
  for (size_t cut = 1; cut < with_int.size(); ++cut) {
    same(fmt::format("cut to {} bytes", cut),
         load(Bytes(with_int.begin(), with_int.begin() + static_cast<ptrdiff_t>(cut))));
  }
  for (const size_t at : {0u, 2u, 4u, 8u, 12u, 16u, 20u}) {
    Bytes changed = with_int;
    changed[at] ^= 0x40;
    same(fmt::format("header byte {} changed", at), load(changed));
  }
  same("too large", [](Asker& a) {
    bpf_attr attr{};
    attr.btf = address_of("");
    attr.btf_size = 1u << 30;
    return a.ask(BPF_BTF_LOAD, attr);
  });
  same("no address", [](Asker& a) {
    bpf_attr attr{};
    attr.btf_size = 64;
    return a.ask(BPF_BTF_LOAD, attr);
  });
}

TEST_F(SyscallAgainstKernel, AnswersInfoRequestsOfEveryLengthAlike) {
  for (const bool of_map : {true, false}) {
    for (uint32_t length = 0; length <= 320; length += 8) {
      for (const uint8_t filler : {uint8_t{0}, uint8_t{1}}) {
        // Linux 6.18 has fields behind the ones of this header, with errors of their own.
        if (of_map && filler != 0 && length > sizeof(bpf_map_info) && length <= 104) continue;
        std::array<long, 2> written{};
        int turn = 0;
        same(fmt::format("info of {} bytes of {}", length, filler), [&](Asker& a) {
          Bytes room(400, 0);
          if (of_map || filler == 0) std::fill(room.begin(), room.begin() + length, filler);
          if (!of_map && filler == 1 && length > 240) room[length - 1] = 1;
          bpf_attr attr{};
          attr.info.bpf_fd = of_map ? a.map() : a.program();
          attr.info.info_len = length;
          attr.info.info = address_of(room.data());
          const long answer = a.host().bpf(BPF_OBJ_GET_INFO_BY_FD, attr);
          written.at(static_cast<size_t>(turn++)) = attr.info.info_len;
          return answer;
        });
        if (length <= 80) {
          EXPECT_EQ(written[0], written[1]) << length;
        }
      }
    }
  }
}

TEST_F(SyscallAgainstKernel, DescribesAMapAsLinuxDoes) {
  std::array<bpf_map_info, 2> infos{};
  size_t turn = 0;
  same("info", [&](Asker& a) {
    bpf_attr create{};
    create.map_type = BPF_MAP_TYPE_LPM_TRIE;
    create.key_size = 8;
    create.value_size = 12;
    create.max_entries = 17;
    create.map_flags = BPF_F_NO_PREALLOC;
    std::strcpy(create.map_name, "routes");
    const Descriptor map(a.host().bpf(BPF_MAP_CREATE, create));
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(map.fd());
    attr.info.info_len = sizeof(bpf_map_info);
    attr.info.info = address_of(&infos.at(turn));
    const long answer = a.host().bpf(BPF_OBJ_GET_INFO_BY_FD, attr);
    infos.at(turn++).id = 0;
    return answer;
  });
  EXPECT_EQ(std::memcmp(&infos[0], &infos[1], sizeof infos[0]), 0);
}

TEST(Syscall, FindsObjectsByIdInTheOrderOfTheirMaking) {
  Interpreter engine;
  Kernel kernel(engine);
  test::EmulatedKernel host(kernel);
  const Descriptor first = host.create_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1);
  const Descriptor second = host.create_map(BPF_MAP_TYPE_ARRAY, 4, 16, 1);
  std::vector<uint32_t> value_sizes;
  bpf_attr walk{};
  while (host.bpf(BPF_MAP_GET_NEXT_ID, walk) == 0) {
    bpf_attr by_id{};
    by_id.map_id = walk.next_id;
    const Descriptor found(host.bpf(BPF_MAP_GET_FD_BY_ID, by_id));
    bpf_map_info info{};
    bpf_attr attr{};
    attr.info.bpf_fd = static_cast<uint32_t>(found.fd());
    attr.info.info_len = sizeof info;
    attr.info.info = address_of(&info);
    ASSERT_EQ(host.bpf(BPF_OBJ_GET_INFO_BY_FD, attr), 0);
    EXPECT_EQ(info.id, walk.next_id);
    value_sizes.push_back(info.value_size);
    walk.start_id = walk.next_id;
  }
  EXPECT_EQ(value_sizes, (std::vector<uint32_t>{8, 16}));
}

TEST(Syscall, LandsInTheKernelInScopeAndOnlyThere) {
  Interpreter engine;
  Kernel outer(engine);
  Kernel inner(engine);
  const auto create = [] {
    bpf_attr attr{};
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 1;
    return Descriptor(syscall(__NR_bpf, BPF_MAP_CREATE, &attr, sizeof attr));
  };
  const KernelScope outer_scope(outer);
  {
    const KernelScope inner_scope(inner);
    const Descriptor map = create();
    EXPECT_NE(inner.map_by_fd(map.fd()), nullptr);
    EXPECT_EQ(outer.map_by_fd(map.fd()), nullptr);
  }
  const Descriptor map = create();
  EXPECT_NE(outer.map_by_fd(map.fd()), nullptr);
  EXPECT_EQ(syscall(__NR_bpf, 1000, nullptr, 0), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST(Syscall, LeavesOtherSystemCallsAlone) {
  Interpreter engine;
  Kernel kernel(engine);
  const KernelScope scope(kernel);
  EXPECT_EQ(syscall(__NR_getpid), getpid());
}

}  // namespace
}  // namespace xnic::vm
