#include "sim/events.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sim/json.h"
#include "vm/interpreter.h"

namespace xnic::sim {
namespace {

// The object events.o at its hook, with a reader that keeps the lines.
class EventReaderTest : public testing::Test {
 protected:
  void attach() {
    AttachRequest request;
    request.object = XNIC_OBJECTS "/events.o";
    auto made = attach_programs(kernel_, request);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    attachments_ = std::move(*made);
  }
  Result<std::unique_ptr<EventReader>> create(const std::vector<std::string>& types) {
    return EventReader::create(kernel_, attachments_, types,
                               [&](std::string_view line) { lines_.push_back(Json::parse(line)); });
  }
  std::string_view run(EventReader* reader, uint8_t first_byte, uint64_t now_ns, uint32_t cpu = 0) {
    std::vector<uint8_t> bytes(60, 0);
    bytes[0] = first_byte;
    bytes[12] = 0x86;
    bytes[13] = 0xdd;
    vm::Packet packet(bytes);
    vm::Environment environment;
    environment.now_ns = now_ns;
    environment.cpu = cpu;
    if (reader != nullptr) {
      environment.record = [reader](vm::Map& map, const vm::Environment& at) {
        reader->read(map, at);
      };
    }
    return (*attachments_.hooks.of(vm::kNicIfindex))[static_cast<size_t>(vm::HookPoint::xdp_native)]
        .run(packet, environment)
        .verdict;
  }

  vm::Interpreter engine_;
  vm::Kernel kernel_{engine_, {.possible_cpus = 3}};
  Attachments attachments_{kernel_};
  std::vector<Json> lines_;
};

TEST_F(EventReaderTest, GivesEachRecordWithTimeMapCpuAndBytes) {
  attach();
  auto reader = create({});
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  EXPECT_EQ(run(reader->get(), 0x42, 1234, 2), "XDP_PASS");
  ASSERT_EQ(lines_.size(), 3u);
  EXPECT_EQ(lines_[0], Json::parse(R"({"sim_ns":1234,"map":"ring","cpu":2,
      "bytes":"3c000000dd864201"})"));
  EXPECT_EQ(lines_[1], Json::parse(R"({"sim_ns":1234,"map":"ring","cpu":2,
      "bytes":"8877665544332211"})"));
  // 4 bytes of data, 14 of the packet, 2 of padding.
  EXPECT_EQ(lines_[2], Json::parse(R"({"sim_ns":1234,"map":"samples","cpu":2,
      "bytes":"01efcdab42000000000000000000000086dd0000"})"));
}

TEST_F(EventReaderTest, DecodesTheTypeThatIsGivenForAMap) {
  attach();
  auto reader = create({"ring=struct arrival"});
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  run(reader->get(), 0x42, 0);
  ASSERT_FALSE(lines_.empty());
  EXPECT_EQ(lines_[0]["value"],
            Json::parse(R"({"length":60,"protocol":34525,"first_byte":66,"kind":1})"));
}

TEST_F(EventReaderTest, LeavesOutWhatWasDiscardedAndKeepsTheRingFromFilling) {
  attach();
  auto reader = create({});
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(run(reader->get(), 0xdd, 0), "XDP_PASS");
  EXPECT_EQ(lines_.size(), 2000u);
}

TEST_F(EventReaderTest, IsMissedWhenThereIsNone) {
  attach();
  int passed = 0;
  while (passed < 1000 && run(nullptr, 0x42, 0) == "XDP_PASS") ++passed;
  // Two records of 16 bytes each in a ring of 4096, of which one byte stays free.
  EXPECT_EQ(passed, 127);
}

TEST_F(EventReaderTest, NamesAnUnknownTypeOrMap) {
  attach();
  const auto type = create({"ring=struct departure"});
  ASSERT_FALSE(type.has_value());
  EXPECT_EQ(type.error().code, ExitCode::usage);
  EXPECT_NE(type.error().message.find("departure"), std::string::npos) << type.error().message;
  const auto map = create({"rung=struct arrival"});
  ASSERT_FALSE(map.has_value());
  EXPECT_EQ(map.error().code, ExitCode::usage);
  EXPECT_FALSE(create({"ring"}).has_value());
}

}  // namespace
}  // namespace xnic::sim
