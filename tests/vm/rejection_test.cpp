// Every refusal of the verifier has a category, and the names of categories are apart.
#include "vm/rejection.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace xnic::vm {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// The first string of each call of refuse() and reject() in the verifier's sources.
std::vector<std::string> refusals() {
  std::vector<std::string> all;
  const std::regex call(R"re((?:refuse|reject)\([^;"]*?((?:"(?:[^"\\]|\\.)*"\s*)+))re");
  const std::filesystem::path folder = XNIC_SOURCE "/vm";
  std::vector<std::filesystem::path> files = {folder / "verifier.cpp"};
  for (const auto& entry : std::filesystem::directory_iterator(folder / "verifier")) {
    if (entry.path().extension() == ".cpp") files.push_back(entry.path());
  }
  for (const auto& file : files) {
    const std::string text = text_of(file);
    for (std::sregex_iterator at(text.begin(), text.end(), call), end; at != end; ++at) {
      all.push_back(std::regex_replace((*at)[1].str(), std::regex(R"("\s*"|^"|"\s*$)"), ""));
    }
  }
  return all;
}

TEST(Categories, CoverTheWordsOfEveryRefusal) {
  const auto all = refusals();
  EXPECT_GT(all.size(), 100);
  for (const std::string& words : all) {
    // Words that come from elsewhere, which has its own.
    if (words == "{}" || words.starts_with("{} {}")) continue;
    EXPECT_NE(category_of(words), Category::other) << words;
  }
}

TEST(Categories, HaveEachTheirRowAndName) {
  std::set<std::string_view> names;
  for (uint8_t i = 0; i <= static_cast<uint8_t>(Category::other); ++i) {
    const CategoryRow& row = row_of(static_cast<Category>(i));
    EXPECT_EQ(row.category, static_cast<Category>(i));
    EXPECT_FALSE(row.title.empty());
    names.insert(row.name);
  }
  EXPECT_EQ(names.size(), categories().size());
}

// Words that Linux 6.18 wrote into its log of refused programs.
TEST(Categories, KnowTheWordsOfLinux) {
  const std::pair<std::string_view, Category> rows[] = {
      {"R0 !read_ok", Category::uninitialised_register},
      {"R0 invalid mem access 'map_value_or_null'", Category::null_pointer},
      {"R1 invalid mem access 'scalar'", Category::pointer_use},
      {"invalid access to packet, off=14 size=1, R2(id=0,off=14,r=14)\n"
       "R2 offset is outside of the packet",
       Category::packet_access},
      {"misaligned stack access off 0+-12+0 size 8", Category::alignment},
      {"infinite loop detected at insn 2", Category::loop},
      {"BPF program is too large. Processed 1000001 insn", Category::loop},
      {"Unreleased reference id=2 alloc_insn=6\nBPF_EXIT instruction in main prog would lead to "
       "reference leak",
       Category::reference_leak},
      {"BPF_EXIT instruction in main prog cannot be used inside bpf_spin_lock-ed region",
       Category::lock},
      {"program of this type cannot use helper bpf_skb_pull_data#39", Category::not_allowed},
      {"invalid write to stack R10 off=-520 size=8", Category::stack_access},
      {"write into map forbidden, value_size=8 off=0 size=8", Category::read_only},
  };
  for (const auto& [words, category] : rows) EXPECT_EQ(category_of(words), category) << words;
}

TEST(WordsOfARejection, SayInstructionAndDisassemblyWhereThereIsNoLine) {
  Rejection rejection;
  rejection.category = Category::stack_access;
  rejection.place = CodePlace{.instruction = 3,
                              .disassembly = "r0 = *(u64 *)(r10 +8)",
                              .file = {},
                              .line = 0,
                              .column = 0,
                              .text = {}};
  rejection.reason = rejection.said = "because";
  EXPECT_EQ(words_of(rejection),
            "stack access out of bounds\n"
            "instruction 3: r0 = *(u64 *)(r10 +8)\n"
            "Reason: because");
}

}  // namespace
}  // namespace xnic::vm
