// What `xnic doctor` says of machines that are folders: /sys as Documentation/ABI describes it.
#include "sim/doctor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "tests/traces/support.h"

namespace xnic::sim {
namespace {

namespace fs = std::filesystem;
using State = Finding::State;

class Doctor : public testing::Test {
 protected:
  // A machine on which nothing is to be mended.
  Doctor() : root_(folder_ / "machine") {
    put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512");
    put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "500");
    put("sys/kernel/iommu_groups/0/type", "DMA");
    put("sys/module/vfio_pci/refcnt", "1");
    put("sys/devices/system/cpu/isolated", "2-5");
    put("sys/devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance");
    put("sys/devices/system/node/node0/cpulist", "0-3");
    put("sys/devices/system/node/node1/cpulist", "4-7");
    nic("0000:01:00.0", "vfio-pci", 0);
    put("sys/bus/pci/devices/0000:00:1f.2/class", "0x010601");
  }

  void put(const fs::path& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  void nic(const std::string& address, const std::string& driver, int node) {
    const fs::path device = fs::path("sys/bus/pci/devices") / address;
    put(device / "class", "0x020000");
    put(device / "numa_node", std::to_string(node));
    fs::remove(root_ / device / "driver");
    if (!driver.empty()) fs::create_symlink("../drivers/" + driver, root_ / device / "driver");
  }
  std::vector<Finding> examine(std::vector<int> cpus = {3}, std::vector<std::string> devices = {},
                               bool is_root = true) {
    return sim::examine({.root = root_,
                         .is_root = is_root,
                         .cpus = std::move(cpus),
                         .devices = std::move(devices)});
  }
  static const Finding& about(const std::vector<Finding>& findings, const std::string& subject) {
    static const Finding none{.subject = "nothing of it", .words = "", .command = ""};
    for (const Finding& one : findings) {
      if (one.subject == subject) return one;
    }
    ADD_FAILURE() << "nothing about " << subject;
    return none;
  }

  traces::TemporaryFolder folder_;
  fs::path root_;
};

TEST_F(Doctor, FindsAllWellWhereItIs) {
  for (const Finding& one : examine()) {
    EXPECT_EQ(one.state, State::ok) << one.subject << ": " << one.words;
    EXPECT_EQ(one.command, "") << one.subject;
  }
}

TEST_F(Doctor, FailsWithoutHugepagesOrRights) {
  put("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0");
  EXPECT_EQ(about(examine(), "hugepages").state, State::fail);
  put("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
  const auto findings = examine();
  EXPECT_EQ(about(findings, "hugepages").state, State::fail);
  EXPECT_NE(about(findings, "hugepages").command, "");
  EXPECT_EQ(about(examine({3}, {}, false), "permissions").state, State::fail);
}

TEST_F(Doctor, WarnsOfDevicesThatAreTheKernels) {
  nic("0000:02:00.0", "ixgbe", 0);
  nic("0000:03:00.0", "mlx5_core", 0);
  nic("0000:04:00.0", "", 0);
  const auto findings = examine();
  EXPECT_EQ(about(findings, "device 0000:01:00.0").state, State::ok);
  EXPECT_EQ(about(findings, "device 0000:02:00.0").state, State::warn);
  EXPECT_EQ(about(findings, "device 0000:02:00.0").command,
            "dpdk-devbind.py -b vfio-pci 0000:02:00.0");
  EXPECT_EQ(about(findings, "device 0000:03:00.0").state, State::ok);
  EXPECT_EQ(about(findings, "device 0000:04:00.0").state, State::warn);
  // One that is asked for has to be right.
  const auto asked = examine({3}, {"02:00.0"});
  EXPECT_EQ(about(asked, "device 0000:02:00.0").state, State::fail);
  EXPECT_EQ(about(examine({3}, {"09:00.0"}), "device 09:00.0").state, State::fail);
}

TEST_F(Doctor, WarnsOfCpusThatAreFarSharedOrSlow) {
  put("sys/devices/system/cpu/cpu6/cpufreq/scaling_governor", "powersave");
  const auto findings = examine({3, 6});
  const auto far = std::ranges::count_if(findings, [](const Finding& one) {
    return one.subject == "device 0000:01:00.0" && one.state == State::warn;
  });
  EXPECT_EQ(far, 1);
  EXPECT_EQ(about(findings, "isolcpus").state, State::warn);
  EXPECT_EQ(about(findings, "governor").state, State::warn);
  EXPECT_NE(about(findings, "governor").words.find("CPU 6"), std::string::npos);
}

TEST_F(Doctor, WarnsWithoutIommuOrVfio) {
  fs::remove_all(root_ / "sys/kernel/iommu_groups");
  fs::remove_all(root_ / "sys/module/vfio_pci");
  const auto findings = examine();
  EXPECT_EQ(about(findings, "IOMMU").state, State::warn);
  EXPECT_EQ(about(findings, "vfio-pci").state, State::warn);
}

}  // namespace
}  // namespace xnic::sim
