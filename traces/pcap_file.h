#pragma once

#include <memory>
#include <string>

#include "traces/reader.h"

namespace xnic::traces {

// A reader for a plain pcap file of Ethernet frames (version 2.4, either byte order, micro- or
// nanoseconds) that gives the records that libpcap gives, many times faster. Null for everything
// else, files that cannot be opened or are cut within their header too: libpcap answers those.
std::unique_ptr<Reader> open_pcap_file(const std::string& path, const ReaderOptions& options);

}  // namespace xnic::traces
