#pragma once

#include <string>

#include "sim/attachment.h"

namespace xnic::sim {

// Why the packets of these programs have to be run by one thread, for what they leave would depend
// on which is first: a clause that names the program or map. Empty if nothing is known to.
std::string one_thread_reason(const Attachments& attachments);

}  // namespace xnic::sim
