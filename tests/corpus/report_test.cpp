// The table against findings that are written by hand.
#include "tests/corpus/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace xnic::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CorpusReport : public testing::Test {
 protected:
  CorpusReport()
      : folder_(fs::temp_directory_path() / ("xnic-report-" + std::to_string(getpid()))) {}
  ~CorpusReport() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  std::string report() const { return compatibility_report(folder_.string()); }

 private:
  fs::path folder_;
};

TEST_F(CorpusReport, CountsWhatLinuxTakesWhatLoadsHereAndWhatAgrees) {
  write("results/shop/a.json", R"({"error":"","programs":[
    {"name":"same","type":"xdp","step":"done","linux":"","xnic":"","compared":7,"needs":[]},
    {"name":"other","type":"xdp","step":"done","linux":"","xnic":"","compared":7,"differing":2,
     "difference":"packet 3, return_code: xnic 1, Linux 2"},
    {"name":"clock","type":"xdp","step":"done","linux":"","xnic":"","compared":7,"excused":7,
     "excuse":"data: time"},
    {"name":"absent","type":"xdp","step":"done","linux":"","xnic":"EINVAL","needs":["helper x"]},
    {"name":"wrong","type":"xdp","step":"done","linux":"EACCES: leak","xnic":""}]})");
  write("objects/shop/b.log", "b.c:3:4: error: no such header\n");
  const std::string text = report();
  EXPECT_THAT(text, HasSubstr("| shop | 2 | 1 | 5 | 4 | 3 | 2 | 1 |\n"));
  EXPECT_THAT(text, HasSubstr("| helper x | 1 | 1 | 1 |\n"));
  EXPECT_THAT(text,
              HasSubstr("| shop/a | other | 2 | 7 | packet 3, return\\_code: xnic 1, Linux 2 |"));
  EXPECT_THAT(text, HasSubstr("| shop/a | clock | 7 | data: time |\n"));
  EXPECT_THAT(text, HasSubstr("| shop/a | wrong | EACCES: leak |\n"));
  EXPECT_THAT(text, HasSubstr("| shop/b | no such header |\n"));
}

TEST_F(CorpusReport, NamesTheStepAtWhichAProgramCrashed) {
  write("results/shop/a.json", R"({"error":"","programs":[
    {"name":"bad","type":"xdp","step":"run","linux":"","xnic":"","ended":"crashes: Aborted"}]})");
  EXPECT_THAT(report(), HasSubstr("| shop/a | bad | run | crashes: Aborted |\n"));
  EXPECT_THAT(report(), HasSubstr("| shop | 1 | 1 | 1 | 1 | 1 | 0 | 0 |\n"));
}

}  // namespace
}  // namespace xnic::test
