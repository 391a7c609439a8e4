#pragma once

#include <string>

namespace xnic::test {

// docs/compatibility.md from FOLDER/results/**/*.json, which xnic_corpus try wrote, and
// FOLDER/objects/**/*.log, the compiler's words about what did not build. Without dates, in the
// order of names: the same findings give the same text.
std::string compatibility_report(const std::string& folder);

}  // namespace xnic::test
