// Ring buffers, with the kernel's arithmetic: a record is refused when the oldest unread or
// uncommitted one would be less than a ring away. In the kernel the second copy of the data is the
// same memory as the first, so that a record that wraps is in one piece; a memfd cannot show a page
// twice, so records are written into both copies. The spare page in front of the shared ones holds
// the address of the map: with the page offset of a record's header it leads from a record to its
// ring, as in the kernel.
// What it leaves out: BPF_MAP_TYPE_USER_RINGBUF, dynptrs, BPF_F_RB_OVERWRITE.
// Test: tests/vm/ringbuf_test.cpp, and against the kernel tests/vm/events_kernel_test.cpp.
#include "vm/maps/ringbuf.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include "vm/maps/memory.h"

namespace xnic::vm {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kHeaderBytes = BPF_RINGBUF_HDR_SZ;
constexpr uint64_t kMaxRecord = UINT32_MAX / 4;
// Of struct bpf_ringbuf: a page of its own, the consumer's, the producer's, data.
constexpr uint64_t kConsumerPage = 1;
constexpr uint64_t kProducerPage = 2;
constexpr uint64_t kDataPage = 3;

constexpr uint64_t record_bytes(uint64_t size) { return round_up_8(size + kHeaderBytes); }

uint64_t load_position(const uint8_t* at) {
  return std::atomic_ref(*std::bit_cast<uint64_t*>(at)).load(std::memory_order_acquire);
}

void store_position(uint8_t* at, uint64_t position) {
  std::atomic_ref(*std::bit_cast<uint64_t*>(at)).store(position, std::memory_order_release);
}

uint32_t load_length(const uint8_t* header) {
  return std::atomic_ref(*std::bit_cast<uint32_t*>(header)).load(std::memory_order_acquire);
}

}  // namespace

class RingBuffer::Pages {
 public:
  static tl::expected<std::unique_ptr<Pages>, int> make(int memfd, uint64_t data_bytes) {
    const uint64_t shared = kPage * (kDataPage - kConsumerPage) + 2 * data_bytes;
    if (shared > kMaxMapBytes) return tl::unexpected(-ENOMEM);
    if (memfd >= 0 && ftruncate(memfd, static_cast<off_t>(shared)) != 0) {
      return tl::unexpected(-errno);
    }
    constexpr int kAccess = PROT_READ | PROT_WRITE;
    void* base =
        mmap(nullptr, kPage + shared, kAccess, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return tl::unexpected(-ENOMEM);
    std::unique_ptr<Pages> pages(new Pages(static_cast<uint8_t*>(base), kPage + shared));
    if (memfd >= 0 && mmap(pages->page(kConsumerPage), shared, kAccess,
                           MAP_SHARED | MAP_FIXED | MAP_NORESERVE, memfd, 0) == MAP_FAILED) {
      return tl::unexpected(-ENOMEM);
    }
    return pages;
  }
  ~Pages() { munmap(base_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  uint8_t* page(uint64_t number) const { return base_ + number * kPage; }
  uint64_t shared_bytes() const { return bytes_ - kPage; }

 private:
  Pages(uint8_t* base, uint64_t bytes) : base_(base), bytes_(bytes) {}

  uint8_t* base_;
  uint64_t bytes_;
};

RingBuffer::RingBuffer(const MapSpec& spec, const MapContext& context, std::unique_ptr<Pages> pages)
    : Map(spec, context.possible_cpus),
      pages_(std::move(pages)),
      data_(pages_->page(kDataPage)),
      mask_(spec.max_entries - 1) {
  RingBuffer* self = this;
  std::memcpy(pages_->page(0), &self, sizeof self);
}

RingBuffer::~RingBuffer() = default;

RingBuffer& RingBuffer::of_record(const uint8_t* record) {
  uint32_t page_offset;
  std::memcpy(&page_offset, record - sizeof page_offset, sizeof page_offset);
  const uint64_t header = std::bit_cast<uint64_t>(record) - kHeaderBytes;
  const uint64_t base = (header & ~(kPage - 1)) - page_offset * kPage;
  return **std::bit_cast<RingBuffer**>(base);
}

void RingBuffer::write_header(uint64_t position, uint32_t length) {
  const auto page =
      static_cast<uint32_t>(static_cast<uint64_t>(at(position) - pages_->page(0)) / kPage);
  std::memcpy(at(position) + sizeof length, &page, sizeof page);
  std::atomic_ref(*std::bit_cast<uint32_t*>(at(position))).store(length, std::memory_order_release);
  std::memcpy(at(position) + mask_ + 1, at(position), kHeaderBytes);
}

uint8_t* RingBuffer::reserve(uint64_t size) {
  if (size > kMaxRecord) return nullptr;
  const uint64_t bytes = record_bytes(size);
  if (bytes > mask_ + 1) return nullptr;
  const std::lock_guard lock(producer_);
  const uint64_t consumer = load_position(pages_->page(kConsumerPage));
  const uint64_t producer = load_position(pages_->page(kProducerPage));
  while (pending_ < producer) {
    const uint32_t length = load_length(at(pending_));
    if ((length & BPF_RINGBUF_BUSY_BIT) != 0) break;
    pending_ += record_bytes(length & ~BPF_RINGBUF_DISCARD_BIT);
  }
  const uint64_t end = producer + bytes;
  if (end - consumer > mask_ || end - pending_ > mask_) return nullptr;
  write_header(producer, static_cast<uint32_t>(size) | BPF_RINGBUF_BUSY_BIT);
  store_position(pages_->page(kProducerPage), end);
  return at(producer) + kHeaderBytes;
}

// The program wrote in one piece from the first copy on; what went past its end lies in the second.
void RingBuffer::copy_to_other_half(uint64_t start, uint64_t bytes) {
  const uint64_t ring = mask_ + 1;
  const uint64_t in_first = start < ring ? std::min(bytes, ring - start) : 0;
  if (in_first != 0) std::memcpy(data_ + ring + start, data_ + start, in_first);
  const uint64_t wrapped = std::max(start, ring);
  std::memcpy(data_ + wrapped - ring, data_ + wrapped, bytes - in_first);
}

void RingBuffer::commit(uint8_t* record, uint64_t flags, bool discard) {
  const auto position = static_cast<uint64_t>(record - kHeaderBytes - data_);
  const uint32_t size = load_length(at(position)) & ~BPF_RINGBUF_BUSY_BIT;
  copy_to_other_half(position + kHeaderBytes, size);
  write_header(position, discard ? size | BPF_RINGBUF_DISCARD_BIT : size);
  // A reader that is at this record has found nothing to read and may sleep.
  const bool reader_is_here = (load_position(pages_->page(kConsumerPage)) & mask_) == position;
  if ((flags & BPF_RB_FORCE_WAKEUP) != 0 || (reader_is_here && (flags & BPF_RB_NO_WAKEUP) == 0)) {
    wakeup_.notify();
  }
}

int RingBuffer::output(std::span<const uint8_t> bytes, uint64_t flags) {
  if ((flags & ~uint64_t{BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP}) != 0) return -EINVAL;
  uint8_t* record = reserve(bytes.size());
  if (record == nullptr) return -EAGAIN;
  std::copy(bytes.begin(), bytes.end(), record);
  commit(record, flags, false);
  return 0;
}

uint64_t RingBuffer::query(uint64_t what) const {
  const uint64_t consumer = load_position(pages_->page(kConsumerPage));
  const uint64_t producer = load_position(pages_->page(kProducerPage));
  switch (what) {
    case BPF_RB_AVAIL_DATA:
      return producer - consumer;
    case BPF_RB_RING_SIZE:
      return mask_ + 1;
    case BPF_RB_CONS_POS:
      return consumer;
    case BPF_RB_PROD_POS:
      return producer;
    default:
      return 0;
  }
}

template <class Visit, class Passed>
void RingBuffer::for_each_ready(Visit visit, Passed passed) const {
  uint64_t position = load_position(pages_->page(kConsumerPage));
  while (position < load_position(pages_->page(kProducerPage))) {
    const uint32_t length = load_length(at(position));
    if ((length & BPF_RINGBUF_BUSY_BIT) != 0) return;
    const uint32_t size = length & ~BPF_RINGBUF_DISCARD_BIT;
    if (size == length) visit(std::span<const uint8_t>(at(position) + kHeaderBytes, size));
    position += record_bytes(size);
    passed(position);
  }
}

void RingBuffer::consume(const std::function<void(std::span<const uint8_t>)>& visit) {
  for_each_ready(
      visit, [this](uint64_t position) { store_position(pages_->page(kConsumerPage), position); });
}

std::vector<std::vector<uint8_t>> RingBuffer::contents() {
  std::vector<std::vector<uint8_t>> records;
  for_each_ready([&](std::span<const uint8_t> r) { records.emplace_back(r.begin(), r.end()); },
                 [](uint64_t) {});
  return records;
}

int RingBuffer::restore_contents(std::span<const std::vector<uint8_t>> records) {
  for (const std::vector<uint8_t>& record : records) {
    if (const int error = output(record, 0); error != 0) return error;
  }
  return 0;
}

int RingBuffer::check_mmap(uint64_t length, int protection, uint64_t offset) const {
  // Only the consumer's position is user space's to write.
  if ((protection & PROT_WRITE) != 0 && (offset != 0 || length > kPage)) return -EPERM;
  const uint64_t end = pages_->shared_bytes();
  return offset > end || length > end - offset ? -EINVAL : 0;
}

int RingBuffer::update(const uint8_t*, const uint8_t*, uint64_t, uint32_t) {
  return -kErrorNotSupported;
}
int RingBuffer::erase(const uint8_t*) { return -kErrorNotSupported; }
int RingBuffer::user_lookup(const uint8_t*, uint8_t*, uint64_t) { return -kErrorNotSupported; }
int RingBuffer::user_update(const uint8_t*, const uint8_t*, uint64_t) {
  return -kErrorNotSupported;
}
int RingBuffer::next_key(const uint8_t*, uint8_t*) { return -kErrorNotSupported; }

int check_ringbuf(const MapSpec& spec) {
  if ((spec.flags & ~uint32_t{BPF_F_NUMA_NODE}) != 0 || spec.map_extra != 0) return -EINVAL;
  if (spec.key_size != 0 || spec.value_size != 0) return -EINVAL;
  return std::has_single_bit(spec.max_entries) && spec.max_entries % kPage == 0 ? 0 : -EINVAL;
}

tl::expected<std::shared_ptr<Map>, int> create_ringbuf(const MapSpec& spec,
                                                       const MapContext& context) {
  return RingBuffer::Pages::make(context.memory_fd, spec.max_entries)
      .map([&](std::unique_ptr<RingBuffer::Pages>&& pages) -> std::shared_ptr<Map> {
        return std::make_shared<RingBuffer>(spec, context, std::move(pages));
      });
}

}  // namespace xnic::vm
