// The comparison with the real kernel must find what differs: here the kernel gets another build of
// the object than xnic, so that the differences are known beforehand.
#include "sim/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "sim/commands/command.h"
#include "sim/json.h"
#include "vm/interpreter.h"

namespace xnic::sim {
namespace {

const std::string kObjects = XNIC_TEST_OBJECTS;
const std::string kCaptures = XNIC_CAPTURES;

std::vector<NumberedPacket> packets() {
  return {{1, Bytes(64, 0x20)}, {5, Bytes(100, 0x21)}, {6, Bytes(4, 0x22)}};
}

class ComparisonTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_real_kernel(); !why.empty()) GTEST_SKIP() << why;
  }

  // Compares twin 0 here with `twin` in the kernel.
  ComparisonResult compare(const std::string& twin, const std::string& program,
                           const Witnesses* witnesses = nullptr) {
    const PinnedToCpu0 pinned;
    auto ours = KernelSide::emulated(kObjects + "/twin0.o", engine_, 1);
    auto kernel = KernelSide::real(kObjects + "/" + twin);
    EXPECT_TRUE(ours) << ours.error().message;
    EXPECT_TRUE(kernel) << kernel.error().message;
    if (!ours || !kernel) return {};
    Comparison comparison(**ours, **kernel, {.program = program}, witnesses);
    comparison.run("here", packets());
    return comparison.result();
  }

  // The same with witnesses, each of its own side's twin.
  ComparisonResult compare_with_witnesses(const std::string& twin, const std::string& program) {
    const PinnedToCpu0 pinned;
    auto witnesses = call_witnesses(kObjects + "/twin0.o", engine_, 1);
    auto of_kernel = call_witnesses(kObjects + "/" + twin, engine_, 1);
    EXPECT_TRUE(witnesses && of_kernel);
    if (!witnesses || !of_kernel) return {};
    witnesses->kernel = std::move(of_kernel->kernel);
    return compare(twin, program, &*witnesses);
  }

  vm::Interpreter engine_;
};

TEST_F(ComparisonTest, FindsNothingInTheSameProgram) {
  const auto result = compare("twin0.o", "same");
  EXPECT_EQ(result.compared, 2u);
  EXPECT_EQ(result.maps, 4u);
  EXPECT_TRUE(result.differences.empty());
  EXPECT_TRUE(result.excused.empty());
}

TEST_F(ComparisonTest, FindsAnotherReturnCodeOfEveryPacket) {
  const auto result = compare("twin1.o", "answer");
  ASSERT_EQ(result.differences.size(), 2u);
  const Difference& second = result.differences[1];
  EXPECT_EQ(second.program, "answer");
  EXPECT_EQ(second.packet, 5u);
  EXPECT_EQ(second.field, "return_code");
  EXPECT_EQ(second.ours, "2");
  EXPECT_EQ(second.kernel, "3");
}

TEST_F(ComparisonTest, FindsTheFirstByteThatDiffers) {
  const auto result = compare("twin1.o", "bytes");
  ASSERT_EQ(result.differences.size(), 2u);
  EXPECT_EQ(result.differences[0].field, "data");
  EXPECT_EQ(result.differences[0].offset, 3u);
  EXPECT_TRUE(result.differences[0].ours.starts_with("1020"));
  EXPECT_TRUE(result.differences[0].kernel.starts_with("1120"));
}

TEST_F(ComparisonTest, FindsAnotherValueInAMap) {
  const auto result = compare("twin1.o", "count");
  ASSERT_EQ(result.differences.size(), 1u);
  const Difference& found = result.differences[0];
  EXPECT_EQ(found.field, "map counts");
  EXPECT_EQ(found.packet, 0u);
  EXPECT_EQ(found.key, "01000000");
  EXPECT_EQ(found.ours.substr(0, 2), "02");
  EXPECT_EQ(found.kernel.substr(0, 2), "04");
}

TEST_F(ComparisonTest, ListsPacketsThatTestRunRefuses) {
  const auto result = compare("twin0.o", "same");
  const auto refused = std::find_if(result.not_comparable.begin(), result.not_comparable.end(),
                                    [](const NotComparable& n) { return n.what == "packets"; });
  ASSERT_NE(refused, result.not_comparable.end());
  EXPECT_EQ(refused->first_packet, 6u);
  EXPECT_EQ(refused->error, -EINVAL);
}

TEST_F(ComparisonTest, ListsProgramsOfOtherTypes) {
  const auto result = compare("twin0.o", "same");
  ASSERT_FALSE(result.not_comparable.empty());
  EXPECT_EQ(result.not_comparable[0].what, "program");
  EXPECT_EQ(result.not_comparable[0].name, "foreign");
}

TEST_F(ComparisonTest, ExcusesTimeThatAProgramWrites) {
  const auto result = compare_with_witnesses("twin0.o", "clock");
  EXPECT_TRUE(result.differences.empty());
  ASSERT_EQ(result.excused.size(), 1u);
  EXPECT_EQ(result.excused[0].field, "map stamps");
  EXPECT_TRUE(result.excused[0].reason.starts_with("time: ")) << result.excused[0].reason;
}

TEST_F(ComparisonTest, ExcusesNothingWithoutWitnesses) {
  const auto result = compare("twin0.o", "clock");
  EXPECT_EQ(result.differences.size(), 1u);
  EXPECT_TRUE(result.excused.empty());
}

TEST_F(ComparisonTest, ExcusesRandomNumbersThatAProgramReturns) {
  const auto result = compare_with_witnesses("twin0.o", "chance");
  EXPECT_TRUE(result.differences.empty());
  ASSERT_FALSE(result.excused.empty());
  EXPECT_TRUE(result.excused[0].reason.starts_with("random numbers or hash order: "));
}

TEST_F(ComparisonTest, ExcusesTheOrderOfAHash) {
  const auto result = compare_with_witnesses("twin0.o", "order");
  EXPECT_TRUE(result.differences.empty());
  ASSERT_FALSE(result.excused.empty());
  EXPECT_TRUE(result.excused[0].reason.starts_with("random numbers or hash order: "));
}

TEST_F(ComparisonTest, ExcusesAddressesAndFindsAByteThatDiffersBehindThem) {
  const auto same = compare_with_witnesses("twin0.o", "address");
  EXPECT_TRUE(same.differences.empty());
  for (const Difference& d : same.excused) {  // none if the bytes happen to be the same
    EXPECT_TRUE(d.reason.starts_with("addresses: ")) << d.reason;
  }
  const auto other = compare_with_witnesses("twin1.o", "address");
  ASSERT_EQ(other.differences.size(), 2u);
  EXPECT_EQ(other.differences[0].offset, 16u);
  EXPECT_TRUE(other.differences[0].ours.starts_with("30"));
}

TEST_F(ComparisonTest, FindsACountThatDiffersBesideATimeThatMay) {
  const auto result = compare_with_witnesses("twin1.o", "visit");
  EXPECT_TRUE(result.excused.empty());
  ASSERT_EQ(result.differences.size(), 1u);
  EXPECT_EQ(result.differences[0].field, "map visits");
  EXPECT_EQ(result.differences[0].offset, 8u);
  EXPECT_EQ(result.differences[0].ours.substr(0, 2), "02");
  EXPECT_EQ(result.differences[0].kernel.substr(0, 2), "04");
}

TEST_F(ComparisonTest, FindsAByteThatDiffersBehindRandomOnes) {
  const auto result = compare_with_witnesses("twin1.o", "chance_and_bytes");
  ASSERT_EQ(result.differences.size(), 2u);
  EXPECT_EQ(result.differences[0].field, "data");
  EXPECT_EQ(result.differences[0].offset, 9u);
  EXPECT_TRUE(result.differences[0].ours.starts_with("20"));
  EXPECT_TRUE(result.differences[0].kernel.starts_with("21"));
}

TEST_F(ComparisonTest, DoesNotExcuseAProgramForReadingTheClock) {
  const auto result = compare_with_witnesses("twin1.o", "slow");
  EXPECT_TRUE(result.excused.empty());
  EXPECT_EQ(result.differences.size(), 2u);
}

TEST_F(ComparisonTest, LoadsLegacyMapsOnBothSidesAndFillsTheirMapsOfMaps) {
  const PinnedToCpu0 pinned;
  auto ours = KernelSide::emulated(kObjects + "/legacy_maps.o", engine_, 1);
  auto kernel = KernelSide::real(kObjects + "/legacy_maps.o");
  ASSERT_TRUE(ours) << ours.error().message;
  ASSERT_TRUE(kernel) << kernel.error().message;
  Comparison comparison(**ours, **kernel);
  comparison.run("here", packets());
  EXPECT_TRUE(comparison.result().differences.empty());
  EXPECT_EQ(comparison.result().maps, 4u);
  const auto counts = (*kernel)->contents(*(*kernel)->map("inner"));
  ASSERT_TRUE(counts);
  EXPECT_EQ(counts->at({2, 0, 0, 0}), (Bytes{2, 0, 0, 0, 0, 0, 0, 0})) << "the slot is empty";
}

TEST_F(ComparisonTest, TheCommandFindsNoDifferenceInTheExample) {
  std::vector<std::string> words = {"diff", XNIC_EXAMPLE_OBJECT, "-r",    kCaptures + "/dns.pcap",
                                    "-j",   "--against",         "kernel"};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  testing::internal::CaptureStdout();
  const auto code = diff_command(static_cast<int>(argv.size()), argv.data());
  const std::string text = testing::internal::GetCapturedStdout();
  ASSERT_TRUE(code) << code.error().message;
  EXPECT_EQ(*code, ExitCode::done);
  const Json json = Json::parse(text);
  EXPECT_EQ(json["compared"], json["captures"][0]["packets"]);
  EXPECT_EQ(json["differences"], Json::array());
  EXPECT_EQ(json["excused"], Json::array());
}

RunAnswer answer() {
  return {.error = 0,
          .code = 2,
          .data_size = 4,
          .data = {1, 2, 3, 4},
          .context_size = 2,
          .context = {8, 9}};
}

TEST(Differences, AnErrorIsTheOnlyDifferenceThatCounts) {
  RunAnswer other = answer();
  other.error = -EINVAL;
  other.code = 7;
  const auto found = differences(answer(), other);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].field, "errno");
}

TEST(Differences, NamesEveryFieldThatDiffers) {
  RunAnswer other = answer();
  other.code = 0xffffffff;
  other.data = {1, 2, 3};
  other.data_size = 3;
  other.context = {8, 7};
  const auto found = differences(answer(), other);
  std::vector<std::string> fields;
  for (const FieldDifference& f : found) fields.push_back(f.field);
  EXPECT_EQ(fields, (std::vector<std::string>{"return_code", "data_size", "data", "context"}));
  EXPECT_EQ(found[0].kernel, "-1");
  EXPECT_EQ(found[2].offset, 3u);
  EXPECT_EQ(found[2].kernel, "");
}

}  // namespace
}  // namespace xnic::sim
