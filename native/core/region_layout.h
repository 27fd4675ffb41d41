// The layout of a region's file.

#ifndef SEKERING_CORE_REGION_LAYOUT_H_
#define SEKERING_CORE_REGION_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/news.h"
#include "core/region.h"
#include "core/sealed.h"

namespace sekering {

// More than twice the records, so that a search ends soon.
inline constexpr uint32_t kTableSize = 2 * 8192;
static_assert(kRecordsMax < kTableSize / 2);

inline constexpr uint64_t kMagic = 0x33676E6972656B65;  // "ekering3"
inline constexpr size_t kPage = 4096;
inline constexpr size_t kLine = 64;
inline constexpr size_t kHotBytes = size_t{48} << 20;
inline constexpr size_t kColdBytes = size_t{512} << 20;

struct RegionHeader {
  Cell magic;
  Cell used;                            // Used
  Cell participants[kParticipantsMax];  // process:32 | incarnation:32
  Cell bells[kParticipantsMax];         // the name of each one's Doorbell, or 0
  Cell rung[kParticipantsMax];          // whether it has rung (core/news.h)
  Cell moves;                           // how often damaged records were replaced
  Cell news[kNewsGroups];               // how often records of each group have changed
  Cell table[kTableSize];               // SlotWord
};
static_assert(sizeof(RegionHeader) ==
              (3 + 3 * kParticipantsMax + kNewsGroups + kTableSize) * sizeof(Cell));

/// What is known of a record; its hot cells follow. Written once, before it can be found.
struct Record {
  uint64_t check;  // of all that follows
  uint32_t kind;
  uint32_t name_length;
  char name[kRecordNameMax + 1];
  Description description;
  uint64_t hot_cells;
  uint64_t cold_cells;
  uint64_t cold_offset;
};
static_assert(sizeof(Record) % sizeof(Cell) == 0);

constexpr size_t RoundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

inline constexpr size_t kHotAt = RoundUp(sizeof(RegionHeader), kPage);
inline constexpr size_t kColdAt = kHotAt + kHotBytes;
inline constexpr size_t kFileBytes = kColdAt + kColdBytes;

constexpr size_t HotBytesOf(size_t hot_cells) {
  return RoundUp(sizeof(Record) + hot_cells * sizeof(Cell), kLine);
}
constexpr size_t ColdBytesOf(size_t cold_cells) {
  return RoundUp(cold_cells * sizeof(Cell), kPage);
}

inline uint64_t Hash(const void* data, size_t bytes, uint64_t hash = 0xCBF29CE484222325) {
  const auto* p = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i) hash = (hash ^ p[i]) * 0x100000001B3;  // FNV-1a
  return hash;
}

/// A place of the table: the offset of a record, or 0 for none.
inline constexpr unsigned kOffsetBits = 32;
constexpr uint64_t SlotWord(uint32_t slot, uint64_t offset) {
  return Sealed<kOffsetBits>(offset, slot);
}
constexpr bool IsSlotWord(uint32_t slot, uint64_t word) {
  return IsSealed<kOffsetBits>(word, slot);
}

/// How much is handed out, all in one word, so that a participant takes its parts together or not
/// at all.
struct Used {
  uint64_t hot;   // bytes from kHotAt
  uint64_t cold;  // bytes from kColdAt
  uint64_t records;

  static constexpr unsigned kHotBits = 20;
  static constexpr unsigned kColdBits = 18;
  static constexpr unsigned kRecordBits = 13;
  static constexpr unsigned kBits = kHotBits + kColdBits + kRecordBits;

  constexpr uint64_t Word() const {
    return Sealed<kBits>(records << (kHotBits + kColdBits) | cold / kPage << kHotBits | hot / kLine,
                         kTableSize);
  }
  static constexpr bool IsWord(uint64_t word) {
    const Used used = Of(word);
    return IsSealed<kBits>(word, kTableSize) && used.hot <= kHotBytes && used.cold <= kColdBytes &&
           used.records <= kRecordsMax;
  }
  static constexpr Used Of(uint64_t word) {
    return {ValueOf<kHotBits>(word) * kLine, ValueOf<kColdBits>(word >> kHotBits) * kPage,
            ValueOf<kRecordBits>(word >> (kHotBits + kColdBits))};
  }
};
static_assert(kHotBytes / kLine < 1 << Used::kHotBits);
static_assert(kColdBytes / kPage < 1 << Used::kColdBits);
static_assert(kRecordsMax < 1 << Used::kRecordBits);

/// The words of a new region's header, by index. The others are 0.
constexpr uint64_t FirstWord(size_t index) {
  constexpr size_t kMagicAt = offsetof(RegionHeader, magic) / sizeof(Cell);
  constexpr size_t kUsedAt = offsetof(RegionHeader, used) / sizeof(Cell);
  constexpr size_t kTableAt = offsetof(RegionHeader, table) / sizeof(Cell);
  if (index == kMagicAt) return kMagic;
  if (index == kUsedAt) return Used{0, 0, 0}.Word();
  return index < kTableAt ? 0 : SlotWord(static_cast<uint32_t>(index - kTableAt), 0);
}

inline uint64_t RecordCheck(const Record& record) {
  constexpr size_t kFrom = offsetof(Record, kind);
  return Hash(reinterpret_cast<const char*>(&record) + kFrom, sizeof(Record) - kFrom);
}

/// Whether a record is whole. Its numbers are only used after this.
inline bool IsSound(const Record& record, size_t offset) {
  return record.name_length <= kRecordNameMax && record.check == RecordCheck(record) &&
         record.hot_cells <= (kColdAt - offset - sizeof(Record)) / sizeof(Cell) &&
         record.cold_offset >= kColdAt && record.cold_offset <= kFileBytes &&
         record.cold_cells <= (kFileBytes - record.cold_offset) / sizeof(Cell);
}

inline bool IsNamed(const Record& record, std::string_view name) {
  return name == std::string_view(record.name, record.name_length);
}

}  // namespace sekering

#endif  // SEKERING_CORE_REGION_LAYOUT_H_
