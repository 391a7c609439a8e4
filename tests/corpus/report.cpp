// The table of the corpus as Markdown: counts first, then what is missing and how much each thing
// would unlock, then every program by name that Linux takes and xnic does not, differences, and
// what did not build.
#include "tests/corpus/report.h"

#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace xnic::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Row {
  std::string object;  // "linux-6.12/selftests/test_tunnel_kern"
  std::string program;
  std::string type;
  bool linux_takes_it = false;
  bool linux_answered = false;
  bool loads_here = false;
  std::string linux_words;
  std::string words;  // why it does not load here
  std::vector<std::string> needs;
  uint64_t compared = 0;
  uint64_t differing = 0;
  std::string difference;
  uint64_t excused = 0;
  std::string excuse;
  std::string ended;  // how its process ended, if not well
  std::string step;

  bool agrees() const {
    return linux_takes_it && loads_here && differing == 0 && ended.empty() && compared > 0;
  }
};

struct Counts {
  size_t sources = 0;
  size_t objects = 0;
  size_t programs = 0;
  size_t linux_takes = 0;
  size_t here = 0;  // of those that Linux takes
  size_t agree = 0;
  size_t differ = 0;

  void add(const Row& row) {
    programs++;
    linux_takes += row.linux_takes_it;
    here += row.linux_takes_it && row.loads_here;
    agree += row.agrees();
    differ += row.differing != 0;
  }
  void add(const Counts& other) {
    sources += other.sources;
    objects += other.objects;
    programs += other.programs;
    linux_takes += other.linux_takes;
    here += other.here;
    agree += other.agree;
    differ += other.differ;
  }
};

struct Unbuilt {
  std::string object;
  std::string words;
};

struct Corpus {
  std::map<std::string, Counts> origins;  // "linux-6.12/selftests"
  std::vector<Row> rows;
  std::vector<Unbuilt> unbuilt;
  std::vector<Unbuilt> unopened;
};

std::string cell(std::string text) {
  constexpr size_t kLongest = 160;
  if (text.size() > kLongest) text = text.substr(0, kLongest) + "...";
  std::string safe;
  for (const char c : text) {
    if (c == '|' || c == '<' || c == '*' || c == '_') safe += '\\';
    safe += c == '\n' ? ' ' : c;
  }
  return safe;
}

// Numbers out: what is left says of what kind a refusal is.
std::string kind_of(const Row& row) {
  if (!row.needs.empty()) return fmt::format("{}", fmt::join(row.needs, ", "));
  static const std::regex kPlace("^([^:]*: )?[0-9]+: .*: ");
  static const std::regex kNumber("-?(0x[0-9a-f]+|[0-9]+)");
  static const std::regex kQuoted("'[^']*'");
  std::string words = std::regex_replace(row.words, kPlace, "$1");
  words = std::regex_replace(words, kQuoted, "'...'");
  return std::regex_replace(words, kNumber, "N");
}

std::vector<fs::path> files_below(const fs::path& folder, std::string_view suffix) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(folder, error)) {
    if (entry.path().extension() == suffix) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::string first_error_line(const fs::path& log) {
  std::ifstream in(log);
  std::string line;
  while (std::getline(in, line)) {
    const size_t at = line.find("error: ");
    if (at != line.npos) return line.substr(at + 7);
  }
  return "the compiler does not say why";
}

Row row_of(const std::string& object, const json& found) {
  Row row;
  row.object = object;
  row.program = found.value("name", "?");
  row.type = found.value("type", "?");
  row.step = found.value("step", "start");
  row.ended = found.value("ended", "");
  row.linux_answered = found.contains("linux");
  row.linux_words = found.value("linux", "");
  row.linux_takes_it = row.linux_answered && row.linux_words.empty();
  row.words = found.value("xnic", row.ended);
  row.loads_here = found.contains("xnic") && row.words.empty();
  row.needs = found.value("needs", std::vector<std::string>{});
  row.compared = found.value("compared", uint64_t{0});
  row.differing = found.value("differing", uint64_t{0});
  row.difference = found.value("difference", "");
  row.excused = found.value("excused", uint64_t{0});
  row.excuse = found.value("excuse", "");
  return row;
}

Corpus read(const fs::path& folder) {
  Corpus corpus;
  for (const fs::path& path : files_below(folder / "objects", ".log")) {
    const fs::path name = fs::relative(path, folder / "objects").replace_extension();
    corpus.origins[name.parent_path().string()].sources++;
    corpus.unbuilt.push_back({name.string(), first_error_line(path)});
  }
  for (const fs::path& path : files_below(folder / "results", ".json")) {
    const fs::path name = fs::relative(path, folder / "results").replace_extension();
    std::ifstream in(path);
    const json found = json::parse(in, nullptr, false);
    if (!found.is_object()) continue;
    Counts& counts = corpus.origins[name.parent_path().string()];
    counts.sources++;
    counts.objects++;
    const std::string error = found.value("ended", found.value("error", ""));
    if (!error.empty()) corpus.unopened.push_back({name.string(), error});
    for (const json& program : found.value("programs", json::array())) {
      corpus.rows.push_back(row_of(name.string(), program));
      counts.add(corpus.rows.back());
    }
  }
  return corpus;
}

void write_counts(std::string& out, const Corpus& corpus) {
  out +=
      "| from | sources | objects | programs | Linux takes | of these xnic takes | agree | differ "
      "|\n|---|--:|--:|--:|--:|--:|--:|--:|\n";
  const auto line = [&](const std::string& name, const Counts& counts) {
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", name, counts.sources,
                       counts.objects, counts.programs, counts.linux_takes, counts.here,
                       counts.agree, counts.differ);
  };
  Counts all;
  for (const auto& [origin, counts] : corpus.origins) {
    line(origin, counts);
    all.add(counts);
  }
  line("all", all);
}

// What stops programs that Linux takes, the most frequent first.
void write_missing(std::string& out, const Corpus& corpus) {
  struct Weight {
    size_t programs = 0;
    size_t alone = 0;
    std::set<std::string> objects;
  };
  std::map<std::string, Weight> weights;
  for (const Row& row : corpus.rows) {
    if (!row.linux_takes_it || row.loads_here) continue;
    const auto reasons = row.needs.empty() ? std::vector{kind_of(row)} : row.needs;
    for (const std::string& reason : reasons) {
      Weight& weight = weights[reason];
      weight.programs++;
      weight.alone += reasons.size() == 1;
      weight.objects.insert(row.object);
    }
  }
  std::vector<std::pair<std::string, Weight>> sorted(weights.begin(), weights.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.programs > b.second.programs;
  });
  out +=
      "\n## What is missing\n\nOf programs that Linux takes and xnic does not, how many need it, "
      "and how many need nothing else.\n\n| what | programs | it alone | objects |\n"
      "|---|--:|--:|--:|\n";
  for (const auto& [reason, weight] : sorted) {
    out += fmt::format("| {} | {} | {} | {} |\n", cell(reason), weight.programs, weight.alone,
                       weight.objects.size());
  }
}

void write_refused_here(std::string& out, const Corpus& corpus) {
  out +=
      "\n## Programs that Linux takes and xnic does not\n\n| object | program | reason |\n"
      "|---|---|---|\n";
  for (const Row& row : corpus.rows) {
    if (!row.linux_takes_it || row.loads_here) continue;
    out += fmt::format("| {} | {} | {} |\n", cell(row.object), cell(row.program),
                       cell(row.needs.empty() ? row.words : kind_of(row)));
  }
}

void write_differences(std::string& out, const Corpus& corpus) {
  out +=
      "\n## Differences\n\n| object | program | fields that differ | packets | the first |\n"
      "|---|---|--:|--:|---|\n";
  for (const Row& row : corpus.rows) {
    if (row.differing == 0) continue;
    out += fmt::format("| {} | {} | {} | {} | {} |\n", cell(row.object), cell(row.program),
                       row.differing, row.compared, cell(row.difference));
  }
}

void write_excused(std::string& out, const Corpus& corpus) {
  out +=
      "\n## Left open by Linux\n\nPrograms that agree but for what differs between runs of one "
      "kernel, too.\n\n| object | program | fields | the first |\n|---|---|--:|---|\n";
  for (const Row& row : corpus.rows) {
    if (row.excused == 0 || row.differing != 0) continue;
    out += fmt::format("| {} | {} | {} | {} |\n", cell(row.object), cell(row.program), row.excused,
                       cell(row.excuse));
  }
}

void write_ended(std::string& out, const Corpus& corpus) {
  out +=
      "\n## Crashes and hangs\n\n| object | program | step | what happened |\n|---|---|---|---|\n";
  for (const Row& row : corpus.rows) {
    if (row.ended.empty()) continue;
    out += fmt::format("| {} | {} | {} | {} |\n", cell(row.object), cell(row.program), row.step,
                       cell(row.ended));
  }
}

void write_refused_by_linux(std::string& out, const Corpus& corpus) {
  size_t both = 0;
  std::vector<const Row*> here_only;
  for (const Row& row : corpus.rows) {
    if (!row.linux_answered || row.linux_takes_it) continue;
    if (row.loads_here) {
      here_only.push_back(&row);
    } else {
      both++;
    }
  }
  out += fmt::format(
      "\n## Programs that Linux refuses\n\nMost are tests of the verifier that are meant to be "
      "refused. Both refuse {}; xnic takes these {}:\n\n| object | program | Linux says |\n"
      "|---|---|---|\n",
      both, here_only.size());
  for (const Row* row : here_only) {
    out += fmt::format("| {} | {} | {} |\n", cell(row->object), cell(row->program),
                       cell(row->linux_words));
  }
}

void write_list(std::string& out, const char* title, const std::vector<Unbuilt>& list) {
  out += fmt::format("\n## {}\n\n| object | reason |\n|---|---|\n", title);
  for (const Unbuilt& row : list) {
    out += fmt::format("| {} | {} |\n", cell(row.object), cell(row.words));
  }
}

}  // namespace

std::string compatibility_report(const std::string& folder) {
  const Corpus corpus = read(folder);
  utsname name{};
  uname(&name);
  const std::string release = name.release;
  const size_t dot = release.find('.');
  const std::string version = release.substr(0, release.find_first_not_of("0123456789", dot + 1));
  std::string out = fmt::format(
      "# Compatibility\n\nWritten by `./dev corpus`: the XDP and tc programs of the kernel's "
      "samples "
      "and selftests, and those that Debian's xdp-tools ship. Each is loaded alone into Linux {} "
      "and "
      "into xnic. What both take runs over every packet of the shipped captures on both: return "
      "code, bytes and context are compared for each, the maps at the end. Programs of devmap and "
      "cpumap entries are neither agreed nor "
      "different: BPF_PROG_TEST_RUN refuses to run them. "
      "[differences.md](differences.md) names what is known to differ, and why.\n\n",
      version);
  write_counts(out, corpus);
  write_missing(out, corpus);
  write_refused_here(out, corpus);
  write_differences(out, corpus);
  write_excused(out, corpus);
  write_ended(out, corpus);
  write_refused_by_linux(out, corpus);
  write_list(out, "Objects that cannot be opened", corpus.unopened);
  write_list(out, "Sources that do not build", corpus.unbuilt);
  return out;
}

}  // namespace xnic::test
