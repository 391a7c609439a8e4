#include "nic/profile.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>

namespace xnic::nic {
namespace {

std::string based(std::string_view lines) {
  return "based_on = \"generic-100g\"\n" + std::string(lines) + "\n";
}

std::string refusal(std::string_view text) {
  const auto profile = parse_profile(text, "my.toml");
  if (profile) return "accepted";
  EXPECT_EQ(profile.error().code, ExitCode::bad_input);
  return profile.error().message;
}

TEST(Profile, EveryBuiltInProfileLoadsByItsName) {
  ASSERT_FALSE(builtin_profiles().empty());
  for (const auto& builtin : builtin_profiles()) {
    const auto profile = load_profile(std::string(builtin.name));
    ASSERT_TRUE(profile) << profile.error().message;
    EXPECT_EQ(profile->name, builtin.name);
  }
}

TEST(Profile, GenericIsAHundredGigabitCardWithOneQueue) {
  const NicProfile profile = load_profile("generic-100g").value();
  EXPECT_EQ(profile.link_gbps.value, 100);
  EXPECT_EQ(profile.link_gbps.origin, Origin::spec);
  EXPECT_EQ(profile.queues.whole(), 1u);
  EXPECT_EQ(profile.ring_descriptors.whole(), 1024u);
  EXPECT_EQ(profile.napi_weight_packets.whole(), 64u);
}

TEST(Profile, ValuesThatWerePublishedNameTheirSource) {
  for (const auto& builtin : builtin_profiles()) {
    const NicProfile profile = load_profile(std::string(builtin.name)).value();
    for (const ProfileRow& row : profile_rows()) {
      const Quantity& quantity = profile.*row.field;
      EXPECT_GE(quantity.value, row.minimum) << row.key;
      EXPECT_LE(quantity.value, row.maximum) << row.key;
      const bool needs_source = quantity.origin != Origin::assumed;
      EXPECT_TRUE(!needs_source || !quantity.source.empty()) << row.key;
    }
  }
}

TEST(Profile, RowsNameEachFieldOnceAndSayWhatItIs) {
  std::set<std::string> names;
  for (const ProfileRow& row : profile_rows()) {
    EXPECT_TRUE(names.insert(fmt::format("{}.{}", row.table, row.key)).second) << row.key;
    EXPECT_FALSE(row.meaning.empty()) << row.key;
  }
}

TEST(Profile, AFileChangesSomeValuesOfABuiltInProfile) {
  const std::string path = fmt::format("{}profile-{}.toml", testing::TempDir(), getpid());
  std::ofstream(path) << based(
      "name = \"short ring\"\n[ring]\ndescriptors = { value = 64, origin = \"assumed\" }");
  const auto profile = load_profile(path);
  unlink(path.c_str());
  ASSERT_TRUE(profile) << profile.error().message;
  EXPECT_EQ(profile->name, "short ring");
  EXPECT_EQ(profile->ring_descriptors.whole(), 64u);
  EXPECT_EQ(profile->ring_descriptors.origin, Origin::assumed);
  EXPECT_EQ(profile->link_gbps.value, 100);
}

TEST(Profile, AListHasOneValueOrSeveral) {
  const auto weights = [](std::string_view value) {
    return parse_profile(
        based(fmt::format("[transmit]\nweights = {{ value = {}, origin = \"assumed\" }}", value)),
        "my.toml");
  };
  EXPECT_EQ(weights("3")->transmit_weights.list(), (std::vector<double>{3}));
  EXPECT_EQ(weights("[3, 1, 2]")->transmit_weights.list(), (std::vector<double>{3, 1, 2}));
  EXPECT_EQ(weights("[]").error().message, "my.toml:3:21: The list of transmit.weights is empty.");
  EXPECT_EQ(weights("[1, 0]").error().message,
            "my.toml:3:25: The value 0 of transmit.weights is outside 1 to 65536.");
  EXPECT_EQ(weights("[1, \"x\"]").error().message,
            "my.toml:3:25: The value of transmit.weights must be a number or a list of numbers.");
  const auto set = load_profile("generic-100g", {"transmit.weights=4,1"});
  EXPECT_EQ(set->transmit_weights.list(), (std::vector<double>{4, 1}));
  EXPECT_EQ(parse_profile(to_toml(*set), "again.toml")->transmit_weights.list(),
            (std::vector<double>{4, 1}));
  for (const char* wrong : {"transmit.weights=4,", "transmit.weights=", "transmit.weights=,1",
                            "transmit.weights=1,0", "ring.descriptors=1,2"}) {
    const auto refused = load_profile("generic-100g", {wrong});
    ASSERT_FALSE(refused) << wrong;
    EXPECT_EQ(refused.error().code, ExitCode::usage) << wrong;
  }
}

TEST(Profile, WrittenAsTomlItReadsAsItWas) {
  NicProfile profile = load_profile("generic-100g").value();
  profile.name = "a \"card\"\n\\";
  profile.poll_ns = {0.1, Origin::fitted, "caf\xc3\xa9 '7'"};
  const auto again = parse_profile(to_toml(profile), "again.toml");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->name, profile.name);
  EXPECT_EQ(again->description, profile.description);
  for (const ProfileRow& row : profile_rows()) {
    EXPECT_EQ((again.value().*row.field).value, (profile.*row.field).value) << row.key;
    EXPECT_EQ((again.value().*row.field).origin, (profile.*row.field).origin) << row.key;
    EXPECT_EQ((again.value().*row.field).source, (profile.*row.field).source) << row.key;
  }
}

TEST(Profile, RefusalsNameFileLineAndColumn) {
  EXPECT_EQ(refusal(based("[ring]\nsize = 3")),
            "my.toml:3:1: [ring] of a NIC profile has no key \"size\".");
  EXPECT_EQ(refusal(based("colour = \"blue\"")),
            "my.toml:2:1: A NIC profile has no key \"colour\".");
  EXPECT_EQ(refusal(based("[port]\nlink_gbps = { value = 0, origin = \"spec\" }")),
            "my.toml:3:23: The value 0 of port.link_gbps is outside 0.001 to 100000.");
  EXPECT_EQ(refusal(based("[ring]\ndescriptors = { value = -1, origin = \"spec\" }")),
            "my.toml:3:25: The value -1 of ring.descriptors is outside 1 to 1048576.");
  EXPECT_EQ(refusal(based("[ring]\ndescriptors = { value = 1.5, origin = \"spec\" }")),
            "my.toml:3:25: The value 1.5 of ring.descriptors must be a whole number.");
  EXPECT_EQ(refusal(based("[ring]\ndescriptors = { value = \"many\", origin = \"spec\" }")),
            "my.toml:3:25: The value of ring.descriptors must be a number.");
}

TEST(Profile, RefusesValuesWithoutAKnownOrigin) {
  EXPECT_EQ(refusal(based("[ring]\ndescriptors = { value = 64 }")),
            "my.toml:3:15: ring.descriptors lacks its origin; it must have the form { value = "
            "NUMBER, origin = \"ORIGIN\", source = \"TITLE\" }.");
  EXPECT_EQ(refusal(based("[ring]\ndescriptors = { value = 64, origin = \"guessed\" }")),
            "my.toml:3:38: The origin of ring.descriptors must be \"measured\", \"published\", "
            "\"spec\", \"assumed\" or \"fitted\".");
  EXPECT_EQ(refusal(based("[ring]\ndescriptors = 64")),
            "my.toml:3:15: ring.descriptors must have the form { value = NUMBER, origin = "
            "\"ORIGIN\", source = \"TITLE\" }.");
}

TEST(Profile, RefusesNumbersThatAreNone) {
  for (const char* value : {"nan", "inf", "-inf", "true", "[]"}) {
    const auto text = fmt::format("[port]\nlink_gbps = {{ value = {}, origin = \"spec\" }}", value);
    EXPECT_NE(refusal(based(text)), "accepted") << value;
  }
}

TEST(Profile, RefusesWhatIsMissingOrNotToml) {
  EXPECT_NE(refusal("name = \"bare\"")
                .find("port.link_gbps (bit rate of the port, each way) is "
                      "missing"),
            std::string::npos);
  EXPECT_EQ(refusal("based_on = \"other\""),
            "my.toml:1:12: based_on must be one of \"generic-100g\", \"agilio-cx-40g\".");
  EXPECT_EQ(refusal("[ring").rfind("my.toml:1:6: The file is not valid TOML: ", 0), 0u);
}

TEST(Profile, AFileThatIsNotThereIsNamedWithTheBuiltInNames) {
  const auto profile = load_profile("/nonexistent/card.toml");
  ASSERT_FALSE(profile);
  EXPECT_EQ(profile.error().message,
            "/nonexistent/card.toml: The NIC profile can't be read, and no built-in profile has "
            "this name (there is generic-100g, agilio-cx-40g).");
  EXPECT_FALSE(load_profile("/"));
}

TEST(Profile, DamagedTextIsRefusedOrReadButNeverCrashes) {
  std::mt19937 random(1);
  const std::string text(builtin_profiles()[0].text);
  int refused = 0;
  for (int i = 0; i < 500; ++i) {
    std::string damaged = text;
    for (int n = 0; n < 3; ++n) damaged[random() % damaged.size()] = static_cast<char>(random());
    if (i % 3 == 0) damaged.resize(random() % damaged.size());
    refused += !parse_profile(damaged, "damaged.toml");
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace xnic::nic
