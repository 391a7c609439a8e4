#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vm/result.h"

namespace xnic::nic {

// How a value of a profile was come by.
enum class Origin : uint8_t {
  measured,   // by this project
  published,  // by others
  spec,       // a standard's or a product's documentation
  assumed,    // plausible, nothing better is known
  fitted,     // chosen so that the model meets published figures
};
std::string_view origin_name(Origin origin);

// One value of a profile; its unit is in the name of the field that holds it.
struct Quantity {
  double value = 0;
  Origin origin = Origin::assumed;
  std::string source;          // title of the publication, standard or driver
  std::vector<double> rest{};  // of rows that hold lists: what follows the first value

  // Of rows that hold whole numbers.
  uint32_t whole() const { return static_cast<uint32_t>(value); }
  // All values of a list.
  std::vector<double> list() const {
    std::vector<double> all = {value};
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  }
};

// A card and the host that it sits in. The rows of nic/profile.cpp say what each field means and
// which values it may take.
struct NicProfile {
  std::string name;
  std::string description;

  Quantity link_gbps;
  Quantity pause;
  Quantity pause_quanta;
  Quantity parser_latency_ns;
  Quantity queues;
  Quantity queue_packets;
  Quantity offload_core;
  Quantity offload_cores;
  Quantity offload_threads;
  Quantity offload_keeps_order;
  Quantity offload_fixed_ns;
  Quantity offload_clock_mhz;
  Quantity offload_instruction_cycles;
  Quantity offload_helper_cycles;
  Quantity offload_map_cycles;

  Quantity lane_gtps;
  Quantity lanes;
  Quantity acknowledge_interval_bytes;
  Quantity credit_update_interval_bytes;
  Quantity max_payload_bytes;
  Quantity max_read_request_bytes;
  Quantity write_header_bytes;
  Quantity read_request_header_bytes;
  Quantity completion_header_bytes;
  Quantity read_completion_bytes;
  Quantity write_latency_ns;
  Quantity read_latency_ns;
  Quantity read_tags;
  Quantity posted_header_credits;
  Quantity posted_data_credits;
  Quantity credit_latency_ns;
  Quantity staging_gbps;

  Quantity iommu_entries;
  Quantity iommu_page_kib;
  Quantity iommu_walk_ns;
  Quantity iommu_walkers;

  Quantity ddio_kib;
  Quantity cpu_miss_ns;
  Quantity card_miss_ns;
  Quantity dram_gbps;
  Quantity numa_ns;

  Quantity ring_descriptors;
  Quantity ring_completion_bytes;
  Quantity ring_descriptor_bytes;
  Quantity ring_prefetch_descriptors;
  Quantity ring_fetch_descriptors;
  Quantity transmit_scheduler;
  Quantity transmit_weights;
  Quantity transmit_descriptor_bytes;
  Quantity transmit_fetch_descriptors;
  Quantity transmit_completion_bytes;
  Quantity transmit_writeback_descriptors;
  Quantity interrupt_latency_ns;
  Quantity interrupt_moderation_ns;
  Quantity interrupt_moderation_packets;

  Quantity cores;
  Quantity napi_weight_packets;
  Quantity poll_ns;
  Quantity packet_ns;
  Quantity hook_ns;
  Quantity instruction_ns;
  Quantity xdp_pass_ns;
  Quantity xdp_tx_ns;
  Quantity xdp_redirect_ns;
  Quantity build_skb_ns;
  Quantity receive_skb_ns;
  Quantity page_ns;
  Quantity free_skb_ns;
  Quantity forward_ns;
};

// One value as the file names it: [table] key = { value = 1, origin = "spec", source = "..." }.
struct ProfileRow {
  std::string_view table;
  std::string_view key;
  Quantity NicProfile::*field;
  bool whole;  // only whole numbers
  double minimum;
  double maximum;
  std::string_view meaning;
  std::span<const std::string_view> choices = {};  // the value is the index of one of these words
  bool list = false;                               // one or several values
};
std::span<const ProfileRow> profile_rows();

// A profile that the program brings along, as TOML text.
struct BuiltinProfile {
  std::string_view name;
  std::string_view text;
};
std::span<const BuiltinProfile> builtin_profiles();

// Reads a profile from TOML; `file` is its name in errors. `based_on = "NAME"` takes the values
// that the text leaves out from a built-in profile. Errors (bad_input) name file, line and column.
Result<NicProfile> parse_profile(std::string_view text, std::string_view file);

// A built-in profile by its name, or else a file by its path. Then `changes` are made, each
// TABLE.KEY=VALUE, as --set has them; what they set is of assumed origin. Errors: bad_input for
// the profile, usage for a change.
Result<NicProfile> load_profile(const std::string& name_or_path,
                                const std::vector<std::string>& changes = {});

// The profile as a file that parse_profile() reads, each value with its meaning.
std::string to_toml(const NicProfile& profile);

}  // namespace xnic::nic
