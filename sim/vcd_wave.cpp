#include "sim/vcd_wave.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace xnic::sim {
namespace {

// Printable characters from '!' on, as few as do.
std::string identifier(uint32_t place) {
  std::string code;
  do {
    code += static_cast<char>('!' + place % 94);
    place /= 94;
  } while (place != 0);
  return code;
}

}  // namespace

Result<std::unique_ptr<VcdWave>> VcdWave::create(const std::string& path, nic::Picoseconds start,
                                                 nic::Picoseconds end) {
  auto file = traces::OutputFile::create(path);
  if (!file) return tl::unexpected(file.error());
  return std::unique_ptr<VcdWave>(new VcdWave(std::move(*file), start, end));
}

void VcdWave::begin(const std::vector<Place>& places) {
  levels_.assign(places.size(), 0);
  std::string text = "$timescale 1ps $end\n$scope module xnic $end\n";
  for (uint32_t place = 0; place < places.size(); ++place) {
    std::string name = places[place].name;
    std::ranges::replace(name, ' ', '_');
    text += fmt::format("$var integer 32 {} {} $end\n", identifier(place), name);
  }
  write(text + "$upscope $end\n$enddefinitions $end\n");
}

// What is there when the window begins.
void VcdWave::open_window() {
  open_ = true;
  now_ = start_;
  write(fmt::format("#{}\n$dumpvars\n", start_));
  for (uint32_t place = 0; place < levels_.size(); ++place) change(place);
  write("$end\n");
}

void VcdWave::level(uint32_t place, nic::Picoseconds time, uint32_t packets) {
  if (time >= end_) return;
  if (time > start_ && !open_) open_window();
  levels_[place] = packets;
  if (!open_) return;
  if (time != now_) write(fmt::format("#{}\n", now_ = time));
  change(place);
}

void VcdWave::change(uint32_t place) {
  write(fmt::format("b{:b} {}\n", levels_[place], identifier(place)));
}

void VcdWave::write(const std::string& text) {
  if (error_) return;
  const auto written = file_->write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  if (!written) error_ = written.error();
}

Result<void> VcdWave::finish() {
  if (!open_) open_window();
  write(fmt::format("#{}\n", end_));
  if (error_) return tl::unexpected(*error_);
  return file_->finish();
}

}  // namespace xnic::sim
