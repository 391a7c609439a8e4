#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace xnic::sim {

// Keys keep the order in which they are written.
using Json = nlohmann::ordered_json;

// A JSON string literal; bytes that are not UTF-8 are replaced.
inline std::string json_string(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace xnic::sim
