// What xnic prog says of objects whose source is known, and of one that does not load.
#include "sim/object_listing.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "sim/disassembly.h"

namespace xnic::sim {
namespace {

const ListedProgram* find(const ObjectListing& listing, const std::string& name) {
  const auto found = std::find_if(listing.programs.begin(), listing.programs.end(),
                                  [&](const ListedProgram& p) { return p.name == name; });
  return found == listing.programs.end() ? nullptr : &*found;
}

TEST(ObjectListing, NamesWhatTheExampleFirewallHolds) {
  const auto listing = list_object(XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_TRUE(listing->btf);
  EXPECT_EQ(listing->refusal, "");
  ASSERT_EQ(listing->programs.size(), 1u);
  const ListedProgram& program = listing->programs[0];
  EXPECT_EQ(program.name, "firewall");
  EXPECT_EQ(program.section, "xdp");
  EXPECT_EQ(program.type, "xdp");
  EXPECT_EQ(program.hook, "xdp.native");
  EXPECT_EQ(program.tag.size(), 16u);
  EXPECT_EQ(program.helpers, std::vector<std::string>{"bpf_map_lookup_elem"});
  EXPECT_EQ(program.maps.size(), 4u);
  ASSERT_EQ(listing->maps.size(), 4u);
  EXPECT_EQ(listing->maps[1].name, "blocked_networks");
  EXPECT_EQ(listing->maps[1].type, "lpm_trie");
  EXPECT_EQ(listing->maps[1].key_type, "network_v4");
  EXPECT_EQ(listing->maps[1].key_size, 8u);
  EXPECT_EQ(listing->maps[1].flags, static_cast<uint32_t>(BPF_F_NO_PREALLOC));
}

TEST(ObjectListing, DisassemblyShowsSourceLinesAndMaps) {
  const auto listing = list_object(XNIC_EXAMPLE_OBJECT);
  ASSERT_TRUE(listing);
  const std::string text = disassembly(listing->programs[0]);
  EXPECT_NE(text.find("; int firewall(struct xdp_md* context) {"), std::string::npos);
  EXPECT_NE(text.find("firewall.bpf.c:"), std::string::npos);
  EXPECT_NE(text.find("= map[protocol_packet"), std::string::npos) << text;
}

TEST(ObjectListing, ListsAnObjectThatDoesNotLoad) {
  const auto listing = list_object(std::string(XNIC_TEST_OBJECTS) + "/unloadable.o");
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_NE(listing->refusal, "");
  EXPECT_TRUE(listing->btf);
  const ListedProgram* program = find(*listing, "reads");
  ASSERT_NE(program, nullptr);
  EXPECT_EQ(program->type, "xdp");
  EXPECT_EQ(program->tag, "");
  EXPECT_EQ(program->helpers,
            (std::vector<std::string>{"bpf_map_lookup_elem", "bpf_get_socket_cookie"}));
  EXPECT_EQ(program->maps, std::vector<std::string>{"counts"});
  ASSERT_EQ(listing->maps.size(), 1u);
  EXPECT_EQ(listing->maps[0].value_type, "__u64");
  EXPECT_EQ(disassembly(*program).empty(), false);
}

TEST(ObjectListing, ListsLegacyMapsOfAnObjectThatDoesNotLoad) {
  const auto listing = list_object(std::string(XNIC_TEST_OBJECTS) + "/legacy_unloadable.o");
  ASSERT_TRUE(listing) << listing.error().message;
  EXPECT_NE(listing->refusal, "");
  ASSERT_EQ(listing->maps.size(), 4u);
  const auto outer = std::ranges::find(listing->maps, "outer", &ListedMap::name);
  ASSERT_NE(outer, listing->maps.end());
  EXPECT_EQ(outer->type, "array_of_maps");
  const ListedProgram* program = find(*listing, "asks");
  ASSERT_NE(program, nullptr);
  EXPECT_EQ(program->maps, std::vector<std::string>{"old_counts"});
}

TEST(ObjectListing, AnUnknownFileIsBadInput) {
  const auto path =
      std::filesystem::temp_directory_path() / ("xnic_listing_" + std::to_string(getpid()) + ".o");
  EXPECT_EQ(list_object(path.string()).error().code, ExitCode::bad_input);
  std::ofstream(path) << "no ELF file at all";
  EXPECT_EQ(list_object(path.string()).error().code, ExitCode::bad_input);
  std::filesystem::remove(path);
}

TEST(HelperName, IsThatOfTheKernelsHeader) {
  EXPECT_EQ(helper_name(1), "bpf_map_lookup_elem");
  EXPECT_EQ(helper_name(BPF_FUNC_redirect_map), "bpf_redirect_map");
  EXPECT_EQ(helper_name(9999), "helper 9999");
  EXPECT_EQ(helper_name(0), "helper 0");
}

}  // namespace
}  // namespace xnic::sim
