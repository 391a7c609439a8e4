#pragma once

#include <functional>
#include <vector>

#include "sim/generator.h"

namespace xnic::sim {

struct SearchOptions {
  double most_loss = 0;        // share of the frames that may be lost; 0 searches the NDR
  double resolution = 0.005;   // share of the result at which the search ends
  uint32_t confirmations = 2;  // trials at the result that must pass, too
};

// One trial of a search, as it went.
struct SearchStep {
  double rate = 0;  // frames a second that were asked for
  TrialResult result;
  bool passed = false;
};

struct SearchResult {
  double rate = 0;  // frames a second; 0 where no rate passed
  std::vector<SearchStep> steps;
  TrialResult at_rate;  // the last trial at it
};

// The highest rate, at most `most` frames a second, at which not more than that is lost (RFC 2544,
// section 26.1), by bisection. A trial passes if it loses no more and the generator kept the pace,
// by 99 %. `trial` runs one at a rate.
SearchResult search_rate(const SearchOptions& options, double most,
                         const std::function<TrialResult(double rate)>& trial);

}  // namespace xnic::sim
