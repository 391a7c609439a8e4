#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct btf;

namespace xnic::vm {

class LocalTypes;

// A BTF blob as BPF_BTF_LOAD took it, and the few questions that xnic asks of it. Parsing is
// libbpf's.
class Btf {
 public:
  // Null if libbpf finds the blob malformed.
  static std::shared_ptr<Btf> parse(std::span<const uint8_t> blob);
  ~Btf();
  Btf(const Btf&) = delete;
  Btf& operator=(const Btf&) = delete;

  std::span<const uint8_t> blob() const { return blob_; }
  // For libbpf's BTF functions; lives as long as this object.
  const btf* parsed() const { return parsed_; }
  uint32_t type_count() const;
  // Empty for an unknown offset or type.
  std::string_view string_at(uint32_t offset) const;
  std::string_view type_name(uint32_t type_id) const;
  // True for a BTF_KIND_FUNC of static linkage, of global linkage.
  bool is_static_function(uint32_t type_id) const;
  bool is_global_function(uint32_t type_id) const;
  // The id of the BTF_KIND_FUNC of that name, 0 if there is none.
  uint32_t function_id(std::string_view name) const;
  bool is_function(uint32_t type_id) const;
  bool is_variable(uint32_t type_id) const;
  // The id of the struct of that name, 0 if there is none.
  uint32_t struct_id(std::string_view name) const;
  // Whether a BTF_KIND_FUNC returns an integer or an enum.
  bool returns_number(uint32_t type_id) const;

  // Looks for the structs of which programs make objects: 0, or the -errno with which Linux
  // refuses the BTF. Without it there are none.
  int find_local_types();
  LocalTypes* local_types() const { return local_types_.get(); }

  uint32_t id = 0;  // given by the Kernel

 private:
  Btf(std::vector<uint8_t> blob, btf* parsed);

  std::vector<uint8_t> blob_;
  btf* parsed_;
  std::unique_ptr<LocalTypes> local_types_;
};

}  // namespace xnic::vm
