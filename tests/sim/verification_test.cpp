#include "sim/verification.h"

#include <gtest/gtest.h>

namespace xnic::sim {
namespace {

// Lines as Linux 6.18 writes them: the last one goes on behind a jump.
TEST(WordsOfLinux, AreFoundBehindAJumpToo) {
  EXPECT_EQ(reason_in_log("6: (bf) r6 = r0                       ; R0=scalar(id=2)\n"
                          "7: (55) if r1 != 0x4d goto pc-7 BPF program is too large. "
                          "Processed 1000001 insn\n"
                          "processed 1000001 insns (limit 1000000) max_states_per_insn 4\n"),
            "BPF program is too large. Processed 1000001 insn");
  EXPECT_EQ(reason_in_log("5: (2d) if r3 > r2 goto pc+7          ; R2=pkt_end()\n"
                          "7: (55) if r1 != 0x4d goto pc-7 1: R0=scalar() R10=fp0\n"
                          "1: (71) r2 = *(u8 *)(r1 +12)\n"
                          "R1 invalid mem access 'scalar'\n"),
            "R1 invalid mem access 'scalar'");
}

}  // namespace
}  // namespace xnic::sim
